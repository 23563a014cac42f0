"""The store: reused when nothing changed, rebuilt when something did, refused when torn or stale; nothing is cut."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import chat, small_config, small_renderer, tool_conversation, weather, with_data, write_jsonl

from fcdist.config.types import SourceConfig
from fcdist.data.store import build_store, open_store, store_fingerprint
from fcdist.data.tokenizing import encoder, tokenize
from fcdist.errors import DataError, ShardError


@pytest.fixture(scope="module")
def renderer():
    return small_renderer()


@pytest.fixture(scope="module")
def built(tmp_path_factory, renderer):
    """A store nobody changes."""
    cfg = small_config(tmp_path_factory.mktemp("built"), validation_fraction=0.1)
    return cfg, build_store(cfg, renderer)


def stamp(store):
    return (store.folder / "store.json").stat().st_mtime_ns


def test_examples_are_the_tokens_of_their_conversation(built, renderer):
    _, store = built
    for row in range(len(store)):
        (segments,) = renderer.render(store.conversation(row))
        expected = tokenize(segments, encoder(renderer.tokenizer))
        example = store.example(row)
        assert example.input_ids.tolist() == expected.input_ids.tolist()
        assert example.kinds.tolist() == expected.kinds.tolist()
        assert store.lengths[row] == len(expected.input_ids) and store.num_targets[row] == expected.num_targets
        assert (store.source(row) == "chats") == bool(store.is_general[row])
    assert not store.lengths.flags.writeable and isinstance(store._tokens, np.memmap)


def test_ratio_split_and_counts(built):
    _, store = built
    validation = open_store(store.folder, "validation")
    assert store.is_general.sum() == 2 * (~store.is_general).sum() and store.facts["mix"]["achieved"] == 2.0
    assert len(validation) == 4  # 10 % of 12 and of 30
    ids = [{s.conversation(row).id for row in range(len(s))} for s in (store, validation)]
    assert not ids[0] & ids[1]
    assert {store.category(row) for row in range(len(store))} == {"general", "single"}


def test_examples_of_one_tool_set_share_their_prefix_and_group(built, renderer):
    _, store = built
    groups: dict[int, set[tuple[int, ...]]] = {}
    tool_sets: dict[int, set[tuple[str, ...]]] = {}
    for row in range(len(store)):
        prefix = tuple(store.example(row).input_ids[: store.prefix_lens[row]].tolist())
        groups.setdefault(int(store.groups[row]), set()).add(prefix)
        tool_sets.setdefault(int(store.groups[row]), set()).add(tuple(t.name for t in store.conversation(row).tools))
        text = renderer.tokenizer.decode(list(prefix))
        assert all(tool.name in text for tool in store.conversation(row).tools)
        assert store.conversation(row).messages[0].content not in text
    assert all(len(prefixes) == 1 for prefixes in groups.values())
    assert all(len(names) == 1 for names in tool_sets.values()) and len(groups) == 4


def test_unchanged_is_reused_and_changed_is_rebuilt(tmp_path, renderer):
    cfg = small_config(tmp_path)
    first = stamp(build_store(cfg, renderer))
    assert stamp(build_store(cfg, renderer)) == first
    moved = with_data(cfg, num_workers=1, store_dir=str(tmp_path / "run" / "store"))
    assert stamp(build_store(moved, renderer)) == first
    second = stamp(build_store(replace(cfg, seed=8), renderer))
    write_jsonl(tmp_path / "chats.jsonl", [chat(i) for i in range(31)])
    third = stamp(build_store(replace(cfg, seed=8), renderer))
    assert len({first, second, third}) == 3
    assert not [p for p in (tmp_path / "run").iterdir() if p.name != "store"]


@pytest.mark.parametrize(
    "change",
    [
        lambda cfg: replace(cfg, seed=99),
        lambda cfg: replace(cfg, batch=replace(cfg.batch, seq_len=1024)),
        lambda cfg: replace(cfg, protocol=replace(cfg.protocol, thoughts=False)),
        lambda cfg: with_data(cfg, general_ratio=1.0),
        lambda cfg: with_data(cfg, validation_fraction=0.2),
    ],
)
def test_a_stale_store_is_refused(built, renderer, change):
    cfg, store = built
    open_store(store.folder, fingerprint=store_fingerprint(cfg, renderer), verify=True)
    with pytest.raises(DataError, match=r"stale token store.*fcdist prepare"):
        open_store(store.folder, fingerprint=store_fingerprint(change(cfg), renderer))


def test_another_template_makes_a_store_stale(built, renderer):
    cfg, store = built
    assert store_fingerprint(cfg, small_renderer("tagged")) != store.fingerprint == store_fingerprint(cfg, renderer)


def test_torn_stores_are_refused_and_rebuilt(tmp_path, renderer):
    cfg = small_config(tmp_path)
    folder = build_store(cfg, renderer).folder
    tokens = (folder / "tokens.npy").read_bytes()

    def refuses(match, **settings):
        with pytest.raises(DataError, match=match):
            open_store(folder, **settings)
        build_store(cfg, renderer)
        assert (folder / "tokens.npy").read_bytes() == tokens

    (folder / "tokens.npy").write_bytes(tokens[:-4])
    refuses(r"tokens\.npy: torn token store, the file has \d+ bytes instead of \d+")
    (folder / "train.npy").unlink()
    refuses(r"train\.npy: torn token store, the file is missing")
    (folder / "tokens.npy").write_bytes(tokens[:-4] + b"abcd")
    open_store(folder)
    refuses("bytes changed since it was written", verify=True)
    (folder / "store.json").write_text("{")
    refuses("torn token store")
    (folder / "store.json").unlink()
    refuses(r"no token store")


def test_the_same_bytes_with_any_number_of_workers(built, tmp_path, renderer):
    cfg, store = built
    other = build_store(with_data(cfg, num_workers=2, store_dir=str(tmp_path / "store")), renderer)
    for name in ("tokens.npy", "kinds.npy", "train.npy", "validation.npy"):
        assert (other.folder / name).read_bytes() == (store.folder / name).read_bytes()


def test_an_over_long_example_stops_or_is_dropped_but_never_cut(tmp_path, renderer):
    cfg = small_config(tmp_path, general_ratio=0.0)
    long = replace(
        chat(0), id="long-one", messages=(*chat(0).messages[:1], replace(chat(0).messages[1], content="x" * 3000))
    )
    write_jsonl(tmp_path / "chats.jsonl", [chat(1), long])
    with pytest.raises(
        DataError, match=r"chats: example long-one has 30\d\d tokens, batch\.seq_len is 2048.*over_length=drop"
    ):
        build_store(cfg, renderer)
    assert not Path(cfg.run_dir, "store").exists()
    store = build_store(with_data(cfg, over_length="drop"), renderer)
    assert len(store) == 13 and store.facts["dropped"] == {"chats": {"too_long": 1}}
    (dropped,) = [json.loads(line) for line in (store.folder / "dropped.jsonl").read_text().splitlines()]
    assert dropped["record"]["messages"][1]["content"] == "x" * 3000 and "3" in dropped["detail"]


def test_examples_without_targets_stop_or_are_dropped(tmp_path, renderer):
    cfg = small_config(tmp_path, general_ratio=0.0)
    mute = replace(chat(0), messages=(chat(0).messages[0], replace(chat(0).messages[1], weight=0)))
    write_jsonl(tmp_path / "chats.jsonl", [mute, chat(1)])
    with pytest.raises(DataError, match=r"no assistant turn has weight.*on_error=drop"):
        build_store(cfg, renderer)
    sources = {name: replace(source, on_error="drop") for name, source in cfg.data.sources.items()}
    store = build_store(with_data(cfg, sources=sources), renderer)
    assert store.facts["dropped"] == {"chats": {"no_target": 1}} and len(store) == 13


def test_empty_data_is_an_error(tmp_path, renderer):
    cfg = small_config(tmp_path)
    with pytest.raises(DataError, match=r"data\.sources is empty"):
        build_store(with_data(cfg, sources={}), renderer)
    (tmp_path / "none.jsonl").write_text("")
    empty = {"none": SourceConfig(path=str(tmp_path / "none.jsonl"))}
    with pytest.raises(DataError, match="the data set is empty"):
        build_store(with_data(cfg, sources=empty, general_ratio=0.0), renderer)
    tight = replace(cfg, batch=replace(cfg.batch, seq_len=8))
    with pytest.raises(DataError, match=r"no example is left of 42 conversations; dropped: too_long 42"):
        build_store(with_data(tight, over_length="drop"), renderer)


def test_an_invalid_line_is_named(tmp_path, renderer):
    cfg = small_config(tmp_path)
    bad = tool_conversation(1).to_wire()
    bad["tools"] = [weather("other").to_wire()]
    with (tmp_path / "calls.jsonl").open("a") as file:
        file.write(json.dumps(bad) + "\n")
    with pytest.raises(ShardError, match=r"calls\.jsonl:13: .*unknown tool"):
        build_store(cfg, renderer)


def test_repetition_stores_tokens_once(tmp_path, renderer):
    cfg = small_config(tmp_path, num_calls=5, num_chats=30, repeat=True)
    store = build_store(cfg, renderer)
    assert len(store) == 45 and (~store.is_general).sum() == 15
    assert (
        len(np.load(store.folder / "tokens.npy"))
        == store.lengths[store.is_general].sum() + np.unique(store._index[~store.is_general])["length"].sum()
    )


def test_other_files_are_not_replaced(tmp_path, renderer):
    cfg = small_config(tmp_path, store_dir=str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="holds other files"):
        build_store(cfg, renderer)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"
