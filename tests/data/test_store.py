"""The store: reused when nothing changed, rebuilt when something did, refused when torn or stale; nothing is cut."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conversations import chat, tool_conversation, weather, write_jsonl
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import small_config, small_renderer, with_data

from fcdist.config.types import SourceConfig
from fcdist.data import building
from fcdist.data.prefixes import prefix_groups, sort_prefixes
from fcdist.data.store import build_store, open_store, store_fingerprint
from fcdist.data.tokenizing import encoder, tokenize
from fcdist.errors import DataError, ShardError
from fcdist.protocols.single_pass import Passes, UnsteadyTemplateError


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


def test_the_same_bytes_with_any_number_of_workers(built, tmp_path, renderer, monkeypatch):
    cfg, store = built
    monkeypatch.setattr(building, "BLOCK", 5)
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
    calls = store._index[~store.is_general]
    five = calls[np.unique(calls["start"], return_index=True)[1]]
    num_tokens = len(np.load(store.folder / "tokens.npy"))
    assert len(five) == 5 and num_tokens == store.lengths[store.is_general].sum() + five["length"].sum()


def test_other_files_are_not_replaced(tmp_path, renderer):
    cfg = small_config(tmp_path, store_dir=str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(DataError, match="holds other files"):
        build_store(cfg, renderer)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


def test_places_and_common_are_those_of_the_splits_own_tokens(tmp_path, renderer):
    store = build_store(small_config(tmp_path, repeat=True, validation_fraction=0.2), renderer)
    for split in (store, open_store(store.folder, "validation")):
        place, common = sort_prefixes(split._tokens, split._index["start"], split.lengths)
        assert split.places.tolist() == place.tolist() and split.common.tolist() == common.tolist()
    rows = np.argsort(store.places)
    texts = [tuple(store.example(row).input_ids.tolist()) for row in rows]
    assert texts == sorted(texts) and len(set(texts)) < len(texts)
    for a, b, row in zip(texts, texts[1:], rows[1:], strict=False):
        shared = store.common[row]
        assert (a[:shared] == b[:shared] and a[shared : shared + 1] != b[shared : shared + 1]) or a == b


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 1), min_size=1, max_size=5), st.integers(0, 5)), min_size=1, max_size=20)
)
def test_prefix_groups_are_the_rows_with_equal_beginnings(drawn):
    rows = [tuple(row) for row, _ in drawn]
    prefix_lens = np.array([min(length, len(row)) for row, length in drawn], dtype=np.int32)
    lengths = np.array([len(row) for row in rows])
    tokens = np.array([token for row in rows for token in row], dtype=np.int32)
    groups = prefix_groups(*sort_prefixes(tokens, np.cumsum(lengths) - lengths, lengths), prefix_lens).tolist()
    seen: dict[tuple[int, ...], int] = {}
    assert groups == [seen.setdefault(row[:n], len(seen)) for row, n in zip(rows, prefix_lens.tolist(), strict=True)]


def test_tools_in_canonical_order_share_their_prompt(tmp_path, renderer):
    tools = (weather("street"), weather("city"))
    made = [replace(tool_conversation(i, tools[i % 2]), tools=tools[:: 1 - 2 * (i % 2)]) for i in range(6)]
    write_jsonl(tmp_path / "calls.jsonl", made)
    cfg = small_config(tmp_path / "other", general_ratio=0.0)
    source = SourceConfig(path=str(tmp_path / "calls.jsonl"))
    stores = [
        build_store(with_data(cfg, sources={"calls": source}, tool_order=order), renderer)
        for order in ("as_is", "sorted")
    ]
    assert [len(set(store.groups.tolist())) for store in stores] == [2, 1]
    names = {tuple(tool.name for tool in stores[1].conversation(row).tools) for row in range(6)}
    assert names == {("weather_by_city", "weather_by_street")}
    assert stores[0].fingerprint != stores[1].fingerprint


def test_a_store_of_an_earlier_version_is_refused_with_the_way_out(tmp_path, renderer):
    folder = build_store(small_config(tmp_path), renderer).folder
    facts = json.loads((folder / "store.json").read_text())
    (folder / "store.json").write_text(json.dumps(facts | {"version": 1}))
    with pytest.raises(DataError, match=r"store version 1, this program reads 2\. Run `fcdist prepare`"):
        open_store(folder)


def test_a_template_that_one_pass_misreads_is_rendered_turn_by_turn(tmp_path, renderer, monkeypatch, caplog):
    cfg = small_config(tmp_path)
    expected = build_store(cfg, renderer)
    exact = Passes.render

    def misread(self, conversation):
        if self._single and conversation.id == "chat-20":
            raise UnsteadyTemplateError("conversation 'chat-20'")
        return exact(self, conversation)

    monkeypatch.setattr(Passes, "render", misread)
    store = build_store(with_data(cfg, store_dir=str(tmp_path / "again")), renderer)
    assert (store.folder / "tokens.npy").read_bytes() == (expected.folder / "tokens.npy").read_bytes()
    assert "'chat-20'" in caplog.text and "turn by turn" in caplog.text


def with_uses(cfg, **uses):
    sources = {name: replace(source, use=uses.get(name, "auto")) for name, source in cfg.data.sources.items()}
    return with_data(cfg, sources=sources)


def test_a_validation_source_is_never_trained_on(tmp_path, renderer):
    cfg = small_config(tmp_path, validation_fraction=0.5, general_ratio=0)
    copies = [replace(chat(i), id=f"copy-{i}") for i in range(3)]
    held_out = write_jsonl(tmp_path / "held_out.jsonl", [*copies, chat(99)])
    sources = cfg.data.sources | {"held_out": SourceConfig(path=str(held_out), role="general", use="validation")}
    store = build_store(with_uses(with_data(cfg, sources=sources), held_out="validation", calls="train"), renderer)
    validation = open_store(store.folder, "validation")
    said = [{s.conversation(row).messages for row in range(len(s))} for s in (store, validation)]
    assert said[0].isdisjoint(said[1])
    assert {c.messages for c in (*copies, chat(99))} <= said[1]
    assert [sum(s.source(row) == "calls" for row in range(len(s))) for s in (store, validation)] == [12, 0]
    assert 0 < sum(store.source(row) == "chats" for row in range(len(store))) < 27


def test_something_must_be_left_to_train_on(tmp_path, renderer):
    cfg = small_config(tmp_path, general_ratio=0)
    with pytest.raises(DataError, match=r"every source \(calls, chats\) has use=validation"):
        build_store(with_uses(cfg, calls="validation", chats="validation"), renderer)
    with pytest.raises(DataError, match="needs both sides, but there is no general example"):
        build_store(with_uses(with_data(cfg, general_ratio=1.0), chats="validation"), renderer)
    sources = cfg.data.sources | {"again": cfg.data.sources["calls"]}
    del sources["chats"]
    with pytest.raises(DataError, match=r"every conversation also stands in a source with use=validation \(again\)"):
        build_store(with_uses(with_data(cfg, sources=sources), again="validation"), renderer)


def test_the_use_of_a_source_counts_in_the_fingerprint(tmp_path, renderer):
    cfg = small_config(tmp_path)
    kinds = {store_fingerprint(with_uses(cfg, chats=use), renderer) for use in ("auto", "train", "validation")}
    assert len(kinds) == 3
