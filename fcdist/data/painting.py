"""A pack in the terminal: roles, positions, and every target in the colour of its kind."""

from rich.text import Text
from transformers import PreTrainedTokenizerBase

from fcdist.data.batch import Kind
from fcdist.data.store import TokenStore

STYLES = {
    Kind.THOUGHT: "black on yellow",
    Kind.CALL: "black on green",
    Kind.ANSWER: "black on cyan",
    Kind.END: "white on red",
}
OPEN, CLOSE = "⟦", "⟧"


def paint_example(store: TokenStore, row: int, tokenizer: PreTrainedTokenizerBase, colour: bool) -> Text:
    """Decode one row.

    Args:
        store: where the row is.
        row: example to paint.
        tokenizer: of the store.
        colour: False marks targets with ⟦…⟧ and the name of their kind, for pipes and files.

    Returns:
        The whole text, each run of equal kind styled; runs begin with the position id of their first token.
    """
    example = store.example(row)
    kinds = example.kinds.tolist()
    painted = Text()
    first = 0
    while first < len(kinds):
        last = first
        while last < len(kinds) and kinds[last] == kinds[first]:
            last += 1
        ids = example.input_ids[first:last].tolist()
        text = str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        kind = Kind(kinds[first])
        painted.append(f"[{first}]", style="dim")
        if kind is Kind.CONTEXT:
            painted.append(text)
        elif colour:
            painted.append(text, style=STYLES[kind])
        else:
            painted.append(f"{OPEN}{kind.name.lower()}:{text}{CLOSE}")
        first = last
    return painted


def paint_heading(store: TokenStore, row: int, start: int) -> Text:
    """One line about a row: where it lies in the pack, what it is, its roles and counts."""
    conversation = store.conversation(row)
    roles = " ".join(message.role for message in conversation.messages)
    length, targets = int(store.lengths[row]), int(store.num_targets[row])
    return Text(
        f"── example {row} · {conversation.id} · {store.source(row)} / {store.category(row)} · pack tokens "
        f"{start}-{start + length - 1}, positions 0-{length - 1} · {targets} targets ({targets / length:.0%}) · prefix "
        f"{int(store.prefix_lens[row])} · {roles}",
        style="bold",
    )


def paint_legend(colour: bool) -> Text:
    """Which colour or mark stands for what."""
    legend = Text("not trained on: plain · trained on: ")
    for kind, style in STYLES.items():
        legend.append(kind.name.lower() if colour else f"{OPEN}{kind.name.lower()}:…{CLOSE}", style if colour else "")
        legend.append(" ")
    legend.append("· [n] position id")
    return legend
