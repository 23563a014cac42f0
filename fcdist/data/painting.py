"""A pack in the terminal: roles, positions, and every target in the colour of its kind."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from fcdist.data.batch import Kind
from fcdist.data.collating import find_trees
from fcdist.data.prefixes import lay_out
from fcdist.data.store import TokenStore

STYLES = {
    Kind.THOUGHT: "black on yellow",
    Kind.CALL: "black on green",
    Kind.ANSWER: "black on cyan",
    Kind.END: "white on red",
}
OPEN, CLOSE = "⟦", "⟧"


def paint_pack(
    store: TokenStore, pack: Sequence[int], min_shared_tokens: int, tokenizer: PreTrainedTokenizerBase, colour: bool
) -> Iterator[Text]:
    """Show a pack as the forest it is: what examples share once, then each branch.

    Args:
        store: where the rows are.
        pack: rows of the store, at least one.
        min_shared_tokens: as for `collate`.
        tokenizer: of the store.
        colour: False marks targets with ⟦…⟧ and the name of their kind, for pipes and files.

    Yields:
        For each segment a heading and its text. Runs of equal kind are styled and begin with the position id of their
        first token; a shared token that is a target of some examples only is shown as one.
    """
    trees = find_trees(store, pack, min_shared_tokens)
    lengths = np.array([len(example.input_ids) for example in trees.examples])
    forest = lay_out(lengths, trees.shared)
    num_tokens = int((lengths - trees.shared).sum())
    ids, kinds = np.zeros(num_tokens, dtype=np.int64), np.zeros(num_tokens, dtype=np.int8)
    through: list[list[int]] = [[] for _ in forest.start]
    ending: list[list[int]] = [[] for _ in forest.start]
    for i, (row, example) in enumerate(zip(trees.rows, trees.examples, strict=True)):
        places = forest.find(np.full(lengths[i], i), np.arange(lengths[i]))
        ids[places] = example.input_ids
        kinds[places] = np.maximum(kinds[places], example.kinds)
        chain = np.unique(np.searchsorted(forest.start, places, side="right") - 1).tolist()
        for segment in chain:
            through[segment].append(row)
        ending[chain[-1]].append(row)
    depth: list[int] = []
    for segment, parent in enumerate(forest.parent.tolist()):
        depth.append(depth[parent] + 1 if parent >= 0 else 0)
        start, end = int(forest.start[segment]), int(forest.end[segment])
        first = int(forest.first_position[segment])
        where = f"pack tokens {start}-{end - 1}, positions {first}-{first + end - start - 1}"
        margin = "│ " * depth[-1]
        if len(through[segment]) > 1:
            yield Text(f"{margin}── shared by {len(through[segment])} examples · {where}", style="bold")
        for row in ending[segment]:
            yield Text(f"{margin}── {_describe_row(store, row)} · {where}", style="bold")
        yield _paint_tokens(ids[start:end], kinds[start:end], first, tokenizer, colour)


def _paint_tokens(
    ids: np.ndarray, kinds: np.ndarray, position: int, tokenizer: PreTrainedTokenizerBase, colour: bool
) -> Text:
    painted = Text()
    for first, last in pairwise([0, *(np.flatnonzero(np.diff(kinds)) + 1).tolist(), len(kinds)]):
        text = str(tokenizer.decode(ids[first:last], skip_special_tokens=False, clean_up_tokenization_spaces=False))
        kind = Kind(int(kinds[first]))
        painted.append(f"[{position + first}]", style="dim")
        if kind is Kind.CONTEXT:
            painted.append(text)
        elif colour:
            painted.append(text, style=STYLES[kind])
        else:
            painted.append(f"{OPEN}{kind.name.lower()}:{text}{CLOSE}")
    return painted


def _describe_row(store: TokenStore, row: int) -> str:
    conversation = store.conversation(row)
    roles = " ".join(message.role for message in conversation.messages)
    length, targets = int(store.lengths[row]), int(store.num_targets[row])
    return (
        f"example {row} · {conversation.id} · {store.source(row)} / {store.category(row)} · {length} tokens · "
        f"{targets} targets ({targets / length:.0%}) · prefix {int(store.prefix_lens[row])} · {roles}"
    )


def paint_legend(colour: bool) -> Text:
    """Which colour or mark stands for what."""
    legend = Text("not trained on: plain · trained on: ")
    for kind, style in STYLES.items():
        legend.append(kind.name.lower() if colour else f"{OPEN}{kind.name.lower()}:…{CLOSE}", style if colour else "")
        legend.append(" ")
    legend.append("· [n] position id")
    return legend
