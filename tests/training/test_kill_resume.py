"""`kill -9` at random moments costs nothing; the benchmark of the same name deals out 200 kills."""

import pytest
import torch.distributed as dist
from training.ranks import run_ranks

from benchmarks import kill_resume
from benchmarks.kill_resume import Way


def killed_runs(folder, kills: int, way: Way):
    """(kills, runs), in a process without threads."""
    dist.destroy_process_group()  # its threads would not survive the forks to come
    outcomes = kill_resume.run(folder, kills, seed=1, ways=(way,))
    return sum(outcome.kills for _, outcome in outcomes), len(outcomes)


@pytest.mark.parametrize("way", [Way("local", 1, True), Way("local", 2, False)], ids=str)
def test_a_killed_run_goes_on_as_if_nothing_had_happened(way, tmp_path):
    ((kills, runs),) = run_ranks(killed_runs, 1, tmp_path, tmp_path, 4, way)
    assert kills == 4 and runs >= 1


def test_a_difference_is_found(tmp_path):
    for name, loss in (("whole", 1.0), ("killed", 1.5)):
        (tmp_path / name / "log").mkdir(parents=True)
        record = dict.fromkeys(kill_resume.COMPARED, 1) | {"loss": loss}
        (tmp_path / name / "log" / "metrics.jsonl").write_text(f"{kill_resume.json.dumps(record)}\n")
    with pytest.raises(SystemExit, match="the log differs from an uninterrupted run"):
        kill_resume.compare(tmp_path / "killed", tmp_path / "whole")
