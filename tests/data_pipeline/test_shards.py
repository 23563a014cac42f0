"""Bytes of shards depend on settings, seed and shard alone."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from mortality import is_killed_before
from pipeline_fakes import FakePlanner, fake_check, make_dying, make_fake, never, never_in_worker

from data_pipeline.generate import generate
from data_pipeline.shard_worker import MAX_ATTEMPTS, flatten_yields, nest_yields, plan_shards, write_shard
from data_pipeline.teachers import PlannedTeacher
from fcdist.config.types import Config, GenerateConfig
from fcdist.errors import GenerationError
from fcdist.schema.shards import read_records, read_shard, shard_paths


def config(**changes):
    generate_config = GenerateConfig(**{"num_conversations": 50, "shard_size": 12, **changes})
    return Config(seed=3, generate=generate_config)


def run(cfg, folder, **options):
    return generate(cfg, folder, make_fake, fake_check, **options)


def contents(folder):
    return {p.name: p.read_bytes() for p in sorted(Path(folder, "shards", "function_call").iterdir())}


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    facts = run(config(), folder)
    return contents(folder), facts, folder


def test_indices_are_divided_without_gap_or_overlap():
    shards = plan_shards(Path("x"), 50, 12)
    assert [i for s in shards for i in range(s.first, s.first + s.size)] == list(range(50))
    assert [s.path.name for s in shards][-1] == "shard-00004.jsonl"


def test_data_set_is_complete_and_replacements_keep_the_quotas(reference):
    _, facts, folder = reference
    shards = shard_paths(folder / "shards" / "function_call")
    ids = [c.id for path in shards for c in read_shard(path)]
    assert ids == [f"c{i}" for i in range(50)]
    assert facts["kept"] == 50 and facts["missing"] == 0 and facts["rejected"] == 10
    assert facts["counts"] == {"single": 25, "negative": 25}
    assert facts["yields"] == {"fake": {c: {"flawed": 5, "kept": 25} for c in ("negative", "single")}}


def test_replacement_is_the_next_attempt_of_the_same_index(reference):
    _, _, folder = reference
    first = next(read_shard(folder / "shards" / "function_call" / "shard-00000.jsonl"))
    assert first == FakePlanner(3).conversation(0, attempt=1)


def test_rejected_drafts_are_kept_beside_with_their_reason(reference):
    _, _, folder = reference
    records = [r for _, r in read_records(folder / "shards" / "function_call" / "shard-00001.rejected.jsonl")]
    assert [(r["id"], r["reason"], r["attempt"]) for r in records] == [("c15", "flawed", 0), ("c20", "flawed", 0)]


def test_pool_writes_the_same_bytes(reference, tmp_path):
    run(config(num_workers=2), tmp_path)
    assert contents(tmp_path) == reference[0]


def test_single_shards_in_any_order_then_merge_write_the_same_bytes(reference, tmp_path):
    for shard in (4, 0, 2, 3, 1):
        assert run(config(), tmp_path, only_shard=shard) is None
    run(config(), tmp_path, merge_only=True)
    assert contents(tmp_path) == reference[0]


def test_merge_names_unfinished_shards(tmp_path):
    run(config(), tmp_path, only_shard=1)
    with pytest.raises(GenerationError, match=r"4 of 5 shards are not finished \(0, 2, 3, 4\).*--shard N"):
        run(config(), tmp_path, merge_only=True)
    assert not (tmp_path / "shards" / "function_call" / "manifest.json").exists()


def test_unknown_shard_number(tmp_path):
    with pytest.raises(GenerationError, match="--shard 5: these settings make shards 0 to 4"):
        run(config(), tmp_path, only_shard=5)


def test_finished_shards_are_not_written_again(reference, tmp_path):
    run(config(), tmp_path)
    folder = tmp_path / "shards" / "function_call"
    before = {p.name: p.stat().st_mtime_ns for p in folder.glob("shard-*")}
    run(config(), tmp_path)
    assert {p.name: p.stat().st_mtime_ns for p in folder.glob("shard-*")} == before
    assert contents(tmp_path) == reference[0]


@pytest.mark.parametrize("victim", ["shard-00001.jsonl", "shard-00001.rejected.jsonl", "shard-00001.facts.json"])
@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_damaged_shard_is_written_again(reference, tmp_path, victim, damage):
    run(config(), tmp_path)
    path = tmp_path / "shards" / "function_call" / victim
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-30])
    run(config(), tmp_path)
    assert contents(tmp_path) == reference[0]


@pytest.mark.parametrize(
    ("other", "difference"),
    [
        (replace(config(), seed=4), "seed is 3 there, 4 here"),
        (config(num_conversations=51), "generate.num_conversations is 50 there, 51 here"),
        (config(held_out_domains=("a",)), r"generate.held_out_domains is \[\] there, \['a'\] here"),
    ],
)
def test_folder_of_other_settings_is_refused_with_difference_and_way_out(tmp_path, other, difference):
    run(config(), tmp_path, only_shard=0)
    before = contents(tmp_path)
    with pytest.raises(GenerationError, match=difference + ".*generate.out_dir"):
        run(other, tmp_path)
    assert contents(tmp_path) == before


def test_settings_that_change_no_byte_are_accepted(reference, tmp_path):
    run(config(), tmp_path)
    run(config(num_workers=2, max_retries=1, llm="unused", base_url="http://elsewhere/v1"), tmp_path)
    assert contents(tmp_path) == reference[0]


def test_foreign_shards_are_refused(tmp_path):
    folder = tmp_path / "shards" / "function_call"
    folder.mkdir(parents=True)
    (folder / "mine.jsonl").write_text("{}\n")
    with pytest.raises(GenerationError, match=r"mine.jsonl but no generation.json.*generate.out_dir"):
        run(config(), tmp_path)


def test_torn_settings_file_is_refused(tmp_path):
    folder = tmp_path / "shards" / "function_call"
    folder.mkdir(parents=True)
    (folder / "generation.json").write_text("[")
    with pytest.raises(GenerationError, match=r"generation.json cannot be read"):
        run(config(), tmp_path)


def test_shard_without_a_kept_conversation_stops_the_run(tmp_path):
    with pytest.raises(GenerationError, match=r"none of 12 conversations passed .* reasons: never \(96\)"):
        generate(config(), tmp_path, make_fake, never)
    assert list((tmp_path / "shards" / "function_call").glob("*shard-*")) == []


def test_killed_worker_is_a_clear_error_and_a_rerun_completes(reference, tmp_path):
    with pytest.raises(GenerationError, match=r"a worker process died .* run again: finished shards are kept"):
        generate(config(num_workers=2), tmp_path, make_dying, fake_check)
    run(config(), tmp_path)
    assert contents(tmp_path) == reference[0]


def test_error_of_a_worker_reaches_the_user(tmp_path):
    with pytest.raises(GenerationError, match=r"none of \d+ conversations passed"):
        generate(config(num_workers=2), tmp_path, make_fake, never_in_worker)


def test_attempts_are_bounded_and_what_is_missing_is_counted(tmp_path):
    drafted = Counter()

    class Counting(FakePlanner):
        def conversation(self, index, attempt=0):
            drafted[index] += 1
            return super().conversation(index, attempt)

    def check(conversations):
        return ["unlucky" if c.id == "c3" else None for c in conversations]

    settled = []
    shard = plan_shards(tmp_path, 6, 6)[0]
    facts = write_shard(shard, PlannedTeacher(Counting(1)), check, "hash", lambda: settled.append(1))
    assert drafted == {0: 1, 1: 1, 2: 1, 3: MAX_ATTEMPTS, 4: 1, 5: 1}
    assert (facts["kept"], facts["missing"], facts["rejected"], len(settled)) == (5, 1, MAX_ATTEMPTS, 6)


def test_yields_survive_nesting():
    flat = Counter({("t", "single", "kept"): 3, ("t", "single", "grounding"): 1, ("u", "x", "kept"): 2})
    assert flatten_yields(nest_yields(flat)) == flat


PROGRAM = """
import sys
from pathlib import Path
from pipeline_fakes import fake_check, make_slow
from data_pipeline.generate import generate
from fcdist.config.types import Config, GenerateConfig
generate(Config(seed=3, generate=GenerateConfig(num_conversations=50, shard_size=12, num_workers=int(sys.argv[2]))),
         Path(sys.argv[1]), make_slow, fake_check)
"""


def start(folder, workers=1):
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), str(workers)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_kill_of_a_pool_then_rerun_gives_identical_files(reference, tmp_path):
    folder = tmp_path / "shards" / "function_call"
    process = start(tmp_path, workers=2)
    deadline = time.monotonic() + 30
    while not (folder.exists() and list(folder.glob("shard-*.facts.json"))):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read().decode()
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    run(config(), tmp_path)
    assert contents(tmp_path) == reference[0]


def test_kill_at_every_moment_then_rerun_gives_identical_files(tmp_path):
    small = config(num_conversations=6, shard_size=3)
    run(small, tmp_path / "reference")
    expected = contents(tmp_path / "reference")
    for event in count(1):
        folder = tmp_path / str(event)
        if not is_killed_before(event, partial(run, small, folder), ((FakePlanner, "conversation"),)):
            break
        run(small, folder)
        assert contents(folder) == expected, f"killed before event {event}"
    assert event > 20  # 8 drafts, and fsync and rename of 8 files


def test_manifest_holds_settings_and_hash(reference):
    files, facts, _ = reference
    manifest = json.loads(files["manifest.json"])
    assert manifest["config_hash"] == facts["config_hash"] == json.loads(files["shard-00000.facts.json"])["config_hash"]
    assert manifest["settings"]["seed"] == 3 and manifest["settings"]["generate.shard_size"] == 12
    assert all(set(entry) >= {"counts", "sha256", "kept"} for entry in manifest["shards"].values())
