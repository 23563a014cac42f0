"""The merge: what comes out depends on the conversations alone, and no leak stands between train and validation."""

import json
import tracemalloc
from collections import Counter
from functools import partial
from itertools import count

import pytest
from merge_fakes import called, chatted, tool, varied, write_shards
from mortality import is_killed_before

from data_pipeline import decontaminate
from data_pipeline import merge as merge_module
from data_pipeline.dedup import acts, shingles
from data_pipeline.merge import check_gates, main, merge
from data_pipeline.splitting import tool_set_digest
from fcdist.config.run_folder import write_config
from fcdist.config.types import Config, MergeConfig, SourceConfig
from fcdist.errors import GenerationError, ShardError
from fcdist.schema.conversation import Conversation
from fcdist.schema.shards import read_records, read_shard, shard_paths
from fcdist.sources.reading import read_source

EVERYTHING = ("openai", "sharegpt", "alpaca", "preference")
NAMES_INPUTS = {"claim.json", "merge.json", "data_card.md", "data_card.html"}
"""Files that say where the conversations came from."""


def config(folder, **settings):
    settings = {"decontaminate": (), "validation_fraction": 0.25, "shard_size": 20, **settings}
    return Config(merge=MergeConfig(inputs=(str(folder),), **settings))


def run(folder, out, **settings):
    return merge(config(folder, out_dir=str(out), **settings), out.parent, check=lambda c: None)


def contents(out, skip=frozenset()):
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in skip
    }


def kept(out, side):
    return [c for path in shard_paths(out / side) for c in read_shard(path)]


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    refused = [(chatted("no good", number=99), "grounding: invented")]
    return write_shards(tmp_path_factory.mktemp("in"), varied(60), [60], refused)


@pytest.mark.parametrize("sizes", [[30, 30], [1, 2, 50, 7]])
def test_files_do_not_depend_on_how_the_input_is_cut(shards, sizes, tmp_path):
    run(shards, tmp_path / "one", exports=EVERYTHING)
    other = write_shards(tmp_path / "cut", varied(60), sizes)
    run(other, tmp_path / "other", exports=EVERYTHING)
    one = contents(tmp_path / "one", NAMES_INPUTS)
    assert len(one) > 10
    assert contents(tmp_path / "other", NAMES_INPUTS) == one


def test_everything_read_is_kept_or_removed_once(shards, tmp_path):
    outcome = run(shards, tmp_path / "out")
    train, validation = kept(tmp_path / "out", "train"), kept(tmp_path / "out", "validation")
    removed = [record for _, record in read_records(tmp_path / "out" / "removed.jsonl")]
    assert len(removed) == sum(outcome["removed"].values()) > 5
    ids = Counter([c.id for c in train + validation] + [record["id"] for record in removed])
    assert ids == Counter(c.id for c in varied(60))
    assert outcome["sides"] == {"train": len(train), "validation": len(validation)}
    assert 0 < len(validation) <= 0.25 * (len(train) + len(validation))
    order = {c.id: place for place, c in enumerate(varied(60))}
    assert [order[c.id] for c in train] == sorted(order[c.id] for c in train)
    by_id = {c.id: c for c in varied(60)}
    assert all(c == by_id[c.id] for c in train + validation)
    for record in removed:
        other = record["collides_with"]
        assert record["reason"] in ("near_duplicate", "exact_duplicate")
        assert order[other["id"]] == other["row"] < order[record["id"]] and other["similarity"] >= 0.7


def test_no_tool_set_and_no_likeness_stands_on_both_sides(tmp_path):
    items = varied(120, seed=5)
    items += [chatted(c.messages[0].content, tools=(tool(f"x{i}"),), number=200 + i) for i, c in enumerate(items[:40])]
    run(write_shards(tmp_path / "in", items), tmp_path / "out", validation_fraction=0.3)
    train, validation = kept(tmp_path / "out", "train"), kept(tmp_path / "out", "validation")
    assert validation
    assert not {tool_set_digest(c) for c in train} & {tool_set_digest(c) for c in validation}
    for one in validation:
        for other in train:
            a, b = set(shingles(one)), set(shingles(other))
            assert len(a & b) / len(a | b) < 0.7, (one.id, other.id, acts(one), acts(other))


def test_contrast_pairs_stay_together(tmp_path):
    items = []
    for i in range(40):
        contrast = {"contrast": {"pair": f"p{i}", "role": "with_tool"}}
        words = f"Please number {i} " + " ".join(c.messages[0].content for c in varied(2, seed=i))
        items.append(called(words, {"city": "x"}, (tool(f"a{i}"),), 2 * i, metadata=contrast))
        items.append(chatted(words, (tool(f"b{i}"),), 2 * i + 1, metadata=contrast))
    outcome = run(write_shards(tmp_path / "in", items), tmp_path / "out")
    pairs = [{c.metadata["contrast"]["pair"] for c in kept(tmp_path / "out", side)} for side in ("train", "validation")]
    assert outcome["removed"] == {} and outcome["sides"]["validation"] == 20
    assert not pairs[0] & pairs[1]


def test_contaminated_conversations_go_to_the_side_file(tmp_path):
    words = "one two three four five six seven eight nine ten eleven twelve thirteen"
    (tmp_path / "bench.txt").write_text(words)
    items = [*varied(8), called(f"Well, {words}, fourteen", {"city": "x"}, number=70)]
    outcome = run(write_shards(tmp_path / "in", items), tmp_path / "out", decontaminate=(str(tmp_path / "bench.txt"),))
    found = [record for _, record in read_records(tmp_path / "out" / "removed.jsonl") if record["id"] == "c70"]
    assert [record["reason"] for record in found] == ["contaminated_user_turn"]
    assert found[0]["collides_with"] == {"reference": "bench.txt:1", "text": words}
    assert outcome["references"] == ["bench.txt (1 user turns, 0 tool signatures)"]


def test_benchmark_that_is_not_installed_is_said(shards, tmp_path, monkeypatch):
    monkeypatch.setattr(decontaminate, "bfcl_files", lambda: None)
    outcome = run(shards, tmp_path / "out", decontaminate=("bfcl",))
    said = "BFCL: not checked, the package bfcl-eval is not installed (pip install --no-deps bfcl-eval)"
    assert outcome["references"] == [said]
    assert "BFCL: not checked" in (tmp_path / "out" / "data_card.md").read_text()


def test_prepare_reads_the_shards_as_they_are(shards, tmp_path):
    run(shards, tmp_path / "out")
    read = list(read_source(SourceConfig(path=str(tmp_path / "out" / "train")), "merged"))
    assert read == kept(tmp_path / "out", "train")
    manifest = json.loads((tmp_path / "out" / "train" / "manifest.json").read_text())
    assert manifest["kept"] == len(read) and manifest["languages"] == {"en": len(read)}
    assert [sum(s["counts"].values()) for s in manifest["shards"].values()][:-1] == [20] * (len(manifest["shards"]) - 1)


def test_finished_merge_is_kept_and_changed_settings_merge_anew(shards, tmp_path):
    out = tmp_path / "out"
    first = run(shards, out)
    stamp = (out / "removed.jsonl").stat().st_mtime_ns
    assert run(shards, out) == first
    assert (out / "removed.jsonl").stat().st_mtime_ns == stamp
    again = run(shards, out, similarity=0.0, validation_fraction=0.0)
    assert again["removed"] == {} and again["kept"] == 60 and not (out / "validation").exists()
    (out / "train" / "shard-00000.jsonl").write_text("{}\n")
    assert run(shards, out, similarity=0.0, validation_fraction=0.0) == again
    assert len(kept(out, "train")) == 60


def test_kill_at_every_moment_then_rerun_gives_identical_files(tmp_path):
    folder = write_shards(tmp_path / "in", varied(9, tools_every=2))
    run(folder, tmp_path / "reference" / "out", exports=("sharegpt",))
    expected = contents(tmp_path / "reference" / "out")
    for event in count(1):
        out = tmp_path / str(event) / "out"
        moments = ((merge_module.SplitGroups, "add"), (merge_module.ShardSeries, "write"))
        if not is_killed_before(event, partial(run, folder, out, exports=("sharegpt",)), moments):
            break
        assert not (out / "merge.json").exists()
        run(folder, out, exports=("sharegpt",))
        assert contents(out) == expected, f"killed before event {event}"
    assert event > 25


def test_folder_that_is_not_ours_is_left_alone(shards, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(GenerationError, match=r"out holds files but no claim.json.*merge.out_dir"):
        run(shards, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_changed_shard_and_wrong_counts_are_refused(tmp_path):
    folder = write_shards(tmp_path / "in", varied(6))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["shards"]["shard-00000.jsonl"]["counts"] = {"single": 6}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(GenerationError, match=r"shard-00000.jsonl: holds .* manifest.json says {'single': 6}"):
        run(folder, tmp_path / "out")
    with (folder / "shard-00000.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(ShardError, match="sha256 differs"):
        run(folder, tmp_path / "other")


def test_nothing_to_merge(tmp_path):
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(GenerationError, match="leave nothing to write: they are empty"):
        run(tmp_path / "empty.jsonl", tmp_path / "out")
    (tmp_path / "bench.txt").write_text("tell me a joke about cats\n")
    folder = write_shards(tmp_path / "in", [chatted("Tell me a joke about cats")])
    with pytest.raises(GenerationError, match=r"all 1 conversations were removed, see .*removed.jsonl"):
        run(folder, tmp_path / "other", decontaminate=(str(tmp_path / "bench.txt"),))
    assert len(list(read_records(tmp_path / "other" / "removed.jsonl"))) == 1


def test_first_of_two_duplicates_stays_in_the_order_of_the_inputs(tmp_path):
    one = write_shards(tmp_path / "one", [chatted("Tell me a joke about cats", number=1)])
    two = write_shards(tmp_path / "two", [chatted("Tell me a joke about cats", number=2), *varied(3)])
    for name, order, stays in (("ab", (one, two), "c1"), ("ba", (two, one), "c2")):
        out = tmp_path / name / "out"
        settings = MergeConfig(
            inputs=tuple(map(str, order)), out_dir=str(out), decontaminate=(), validation_fraction=0.0
        )
        merge(Config(merge=settings), tmp_path)
        assert [c.id for c in kept(out, "train") if c.category == "negative" and "joke" in c.messages[0].content] == [
            stays
        ]


def test_memory_does_not_grow_with_the_data(tmp_path):
    peaks, settings = [], {"card_samples": 1, "exports": ("openai",)}
    run(write_shards(tmp_path / "warm", varied(5)), tmp_path / "warmed" / "out", **settings)
    for number in (60, 240):
        folder = write_shards(tmp_path / f"in{number}", varied(number))
        tracemalloc.start()
        run(folder, tmp_path / f"out{number}" / "out", **settings)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]  # what grows fourfold with the data is on disk


def test_entry_point_merges_what_generate_wrote(tmp_path, capsys):
    write_shards(tmp_path / "shards" / "function_call", varied(12))
    write_config(Config(run_dir=str(tmp_path), merge=MergeConfig(decontaminate=())), tmp_path)
    assert main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "conversations" in said and "data_card.html" in said
    assert (tmp_path / "merged" / "merge.json").is_file()


def test_real_gates_are_what_pairs_are_checked_with():
    flawed = Conversation.from_wire({"messages": [{"role": "user", "content": "x"}], "tools": []})
    assert check_gates(flawed) is not None
