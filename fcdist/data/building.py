"""How `prepare` makes a token store: read → render and tokenise, in processes → split → mix → publish in one rename.

Conversations pass through in blocks and are written as they come, so memory holds a few blocks and the index.
"""

import contextlib
import gc
import itertools
import logging
import os
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from fcdist.config.run_folder import store_dir
from fcdist.config.types import Config, DataConfig
from fcdist.data.mixing import choose_validation, mix, require_both_sides
from fcdist.data.offering import WITH_TOOLS, ToolOffers
from fcdist.data.prefixes import choose_places, prefix_groups, sort_prefixes
from fcdist.data.store import FILES, ROLES, STORE, VERSION, TokenStore, open_store, store_fingerprint
from fcdist.data.store_writing import Block, DropFile, StoreFiles, Tokens, remember
from fcdist.data.tokenizing import encoder, runs, tokenize_runs
from fcdist.errors import DataError, FcdistError
from fcdist.protocols.rendering import Renderer, drop_thoughts
from fcdist.protocols.single_pass import Passes, Rendered, UnsteadyTemplateError
from fcdist.schema.conversation import Conversation, Tool
from fcdist.schema.shards import file_sha256, write_json
from fcdist.sources.reading import read_source
from fcdist.sources.records import count_records

log = logging.getLogger(__name__)

BLOCK = 256
"""Conversations that are tokenised and written at once."""
BLOCKS_AHEAD = 4
"""Blocks under way for each worker process."""


def build(cfg: Config, renderer: Renderer) -> TokenStore:
    """See `fcdist.data.store.build_store`."""
    check_sources(cfg.data)
    folder = store_dir(cfg)
    if folder.is_dir() and any(folder.iterdir()) and not any((folder / name).exists() for name in (STORE, *FILES)):
        raise DataError(f"{folder} holds other files, which a new store would replace; set data.store_dir to another")
    fingerprint = store_fingerprint(cfg, renderer)
    try:
        return open_store(folder, fingerprint=fingerprint, verify=True)
    except DataError:  # absent, torn or stale: build it anew
        pass
    work = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        with _few_collections():
            try:
                facts = _write_store(cfg, renderer, _emptied(work))
            except UnsteadyTemplateError as error:
                log.warning("the chat template writes %s differently in one pass; rendering all turn by turn", error)
                facts = _write_store(cfg, renderer, _emptied(work), single_pass=False)
        files = {name: {"size": (work / name).stat().st_size, "sha256": file_sha256(work / name)} for name in FILES}
        write_json(work / STORE, {"version": VERSION, "fingerprint": fingerprint, "files": files, **facts})
        _publish(work, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return open_store(folder)


@contextlib.contextmanager
def _few_collections() -> Iterator[None]:
    """Let the collector leave out torch and transformers, 0.2 s each time, and go less often through the rest.

    Nearly nothing that is made here refers to itself, so there is little to collect.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def check_sources(data: DataConfig) -> None:
    """Raise DataError, before anything is read, if there is nothing to train on or a side of the ratio is missing."""
    if not data.sources:
        raise DataError("data.sources is empty; name at least one file or folder of conversations")
    roles = {source.role for source in data.sources.values() if source.use != "validation"}
    if not roles:
        raise DataError(
            f"every source ({', '.join(data.sources)}) has use=validation, so nothing is left to train on. Set "
            "data.sources.NAME.use to train or auto for at least one, or add a source"
        )
    require_both_sides(data.general_ratio, "general" in roles, "function_call" in roles)
    if data.general_tool_share and "function_call" not in roles:
        raise DataError(
            f"data.general_tool_share={data.general_tool_share:g} puts general chat under tool prompts of function-call"
            " data, and there is none to train on. Add a source with role: function_call, or set the share to 0"
        )


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _publish(work: Path, folder: Path) -> None:
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    if folder.exists():
        os.replace(folder, old)
    os.replace(work, folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_store(cfg: Config, renderer: Renderer, work: Path, single_pass: bool = True) -> dict[str, Any]:
    """Fill `work` with every file but store.json; return its facts."""
    tokenizer = TokenizeBlock(renderer, cfg.protocol.thoughts, single_pass)
    with StoreFiles(cfg, work) as files:
        for block, tokens in _tokenize(_read_blocks(cfg, files.drop), tokenizer, cfg.data.num_workers):
            files.write(block, tokens)
    files.check()
    index, conversations = files.index(), files.conversations
    tokens = np.load(work / "tokens.npy", mmap_mode="r")
    place, common = sort_prefixes(tokens, index["start"], index["length"])
    index["group"] = prefix_groups(place, common, index["prefix_len"])
    uses = [source.use for source in cfg.data.sources.values()]
    validates = choose_validation(
        conversations.digests, conversations.sources, uses, cfg.data.validation_fraction, cfg.seed
    )
    held_out = validates[index["conversation"]]
    rows = np.flatnonzero(~held_out)
    if not len(rows):
        raise DataError(
            "nothing is left to train on: every conversation also stands in a source with use=validation "
            f"({', '.join(name for name, source in cfg.data.sources.items() if source.use == 'validation')})"
        )
    chosen = mix(
        index["role"][rows] == ROLES.index("general"),
        index["length"][rows],
        cfg.data.general_ratio,
        cfg.data.ratio_unit,
        cfg.data.repeat,
        cfg.seed,
    )
    plain = np.array([name != WITH_TOOLS for name in files.categories])[index["category"]]
    for name, some in (("train", rows[chosen.rows]), ("validation", np.flatnonzero(held_out & plain))):
        split = index[some]
        split["place"], split["common"] = choose_places(place, common, some, index["length"])
        np.save(work / f"{name}.npy", split)
    return {
        "sources": list(cfg.data.sources),
        "categories": files.categories,
        "seq_len": cfg.batch.seq_len,
        "num_conversations": len(conversations),
        "dropped": {name: dict(counts) for name, counts in files.drop.counts.items()},
        "mix": {
            "unit": cfg.data.ratio_unit,
            "asked": cfg.data.general_ratio,
            "achieved": chosen.achieved if chosen.function_call else None,
            "general": chosen.general,
            "function_call": chosen.function_call,
            "left_out": len(rows) - int(np.count_nonzero(np.bincount(chosen.rows))),
        },
    }


class TokenizeBlock:
    """Conversations → Tokens; what is remembered of tool sets and words makes the later ones quicker."""

    def __init__(self, renderer: Renderer, thoughts: bool, single_pass: bool = True) -> None:
        self._passes = Passes(renderer, single_pass)
        self._encode = encoder(renderer.tokenizer)
        self._thoughts = thoughts

    def __call__(self, conversations: Sequence[Conversation]) -> Tokens:
        """Render, tokenise and mask. Raises UnsteadyTemplateError."""
        rendered, errors = self._render(conversations)
        runs_of = [list(runs(one.segments)) for _, one in rendered]
        self._encode.expect(run.text for some in runs_of for run in some)
        examples, places = [], []
        for (place, one), some in zip(rendered, runs_of, strict=True):
            try:
                examples.append(tokenize_runs(some, self._encode, one.prefix_chars))
            except FcdistError as error:
                errors.append((place, str(error)))
            else:
                places.append(place)
        return Tokens(
            np.concatenate([np.zeros(0, np.int32), *(example.input_ids for example in examples)]),
            np.concatenate([np.zeros(0, np.int8), *(example.kinds for example in examples)]),
            np.array([len(example.input_ids) for example in examples], dtype=np.int32),
            np.array([example.prefix_len for example in examples], dtype=np.int32),
            np.array(places, dtype=np.int64),
            errors,
        )

    def _render(
        self, conversations: Sequence[Conversation]
    ) -> tuple[list[tuple[int, Rendered]], list[tuple[int, str]]]:
        """(place, example) of all examples, (place, message) of conversations that cannot be rendered."""
        rendered: list[tuple[int, Rendered]] = []
        errors: list[tuple[int, str]] = []
        wanted = conversations if self._thoughts else [drop_thoughts(conversation) for conversation in conversations]
        self._passes.expect(wanted)
        for place, conversation in enumerate(wanted):
            try:
                rendered += [(place, one) for one in self._passes.render(conversation)]
            except FcdistError as error:
                errors.append((place, str(error)))
        return rendered, errors


_worker: TokenizeBlock | None = None
"""Of a worker process, which keeps what it remembers from block to block."""


def _start_worker(tokenizer: TokenizeBlock) -> None:
    global _worker
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker = tokenizer


def _work(conversations: Sequence[Conversation]) -> Tokens:
    assert _worker is not None
    return _worker(conversations)


def _tokenize(blocks: Iterator[Block], tokenizer: TokenizeBlock, num_workers: int) -> Iterator[tuple[Block, Tokens]]:
    """Blocks in their order with their tokens; in this process if there is one block only."""
    first = list(itertools.islice(blocks, 2))
    blocks = itertools.chain(first, blocks)
    if num_workers <= 1 or len(first) < 2:
        for block in blocks:
            yield block, tokenizer(block.conversations)
        return
    under_way: deque[tuple[Block, Future[Tokens]]] = deque()
    with ProcessPoolExecutor(num_workers, initializer=_start_worker, initargs=(tokenizer,)) as pool:
        try:
            for block in blocks:
                under_way.append((block, pool.submit(_work, block.conversations)))
                if len(under_way) > num_workers * BLOCKS_AHEAD:
                    done, future = under_way.popleft()
                    yield done, future.result()
            for done, future in under_way:
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _read_blocks(cfg: Config, dropped: DropFile) -> Iterator[Block]:
    """Read every source, and show how far it is."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    sort = _ToolOrder() if cfg.data.tool_order == "sorted" else None
    offers = ToolOffers(cfg.data.general_tool_share, cfg.batch.seq_len, cfg.seed)
    sources = list(enumerate(cfg.data.sources.items()))
    if cfg.data.general_tool_share:  # chat comes when the tool prompts are known
        sources.sort(key=lambda source: source[1][1].role == "general")
    number = 0
    console = Console(stderr=True)
    with Progress(*columns, console=console, refresh_per_second=2, disable=not console.is_terminal) as bar:
        for i, (name, source) in sources:
            task = bar.add_task(f"prepare {name}", total=count_records(source))
            conversations = read_source(source, name, cfg.seed, dropped)
            while some := list(itertools.islice(conversations, BLOCK)):
                some = [sort(c) for c in some] if sort else some
                if cfg.data.general_tool_share and source.use != "validation":
                    some = _offered(offers, some, source.role == "general")
                yield Block(number, [i] * len(some), some)
                number += len(some)
                bar.advance(task, len(some))
            bar.update(task, total=bar.tasks[task].completed)


def _offered(offers: ToolOffers, some: list[Conversation], is_general: bool) -> list[Conversation]:
    """General chat, part of it under prompts of the function-call conversations that passed before."""
    if is_general:
        return [offers.offer(conversation) for conversation in some]
    offers.collect(some)
    return some


class _ToolOrder:
    """Sorts tools by name; equal sets that were one object stay one."""

    def __init__(self) -> None:
        self._sorted: dict[int, tuple[tuple[Tool, ...], tuple[Tool, ...]]] = {}

    def __call__(self, conversation: Conversation) -> Conversation:
        known = self._sorted.get(id(conversation.tools))
        if known is None or known[0] is not conversation.tools:
            known = (conversation.tools, tuple(sorted(conversation.tools, key=lambda tool: tool.name)))
            remember(self._sorted, known)
        return replace(conversation, tools=known[1])
