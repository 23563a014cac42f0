"""What a run does when something goes wrong: hangs, slow ranks, bad steps, lack of memory, ranks that differ."""

import json
import logging
import math
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training.checkpoint_files import seal
from training.ranks import run_ranks
from training.test_engines import make_engine
from training.tiny import FINGERPRINT, Recorder, TinyLoader, is_same, tiny_config, with_train

from fcdist.config.types import Config
from fcdist.errors import DataError, FcdistError, ShardError, TrainingError
from fcdist.training.checkpoints.checkpoint import LOSSES, Checkpoints
from fcdist.training.checkpoints.finding import STATE, newest_checkpoint, read_state
from fcdist.training.checkpoints.identity import Identity
from fcdist.training.distributed import get_rank, get_world_size, on_every_rank
from fcdist.training.engines.observing import ObservedEngine
from fcdist.training.loop import train
from fcdist.training.records.log import Log
from fcdist.training.watching import agreement
from fcdist.training.watching.agreement import check_same_start, describe_differences
from fcdist.training.watching.failures import BadPack, BadStepError, FailedSteps, LossGuard, read_failure, write_failure
from fcdist.training.watching.stopping import StopRequest
from fcdist.training.watching.stragglers import SLOW_PERIODS, Pace, Stragglers, multiples_of_median
from fcdist.training.watching.watchdog import HUNG, Activity, Watchdog, describe_activities

CPU = torch.device("cpu")


# --- hangs


def hang(folder: Path, hanging_rank: int) -> None:
    """Two ranks under a watchdog of a second; one sleeps in a step, the other waits for it in a collective."""
    sys.stderr = (folder / f"stderr-{get_rank()}").open("w")
    with Watchdog(1.0, folder / "failures") as watchdog:
        watchdog.mark("micro-step 2, backward", 7)
        if get_rank() == hanging_rank:
            watchdog.mark("next batches", 7)
            signal.pause()
        torch.distributed.barrier()


def test_a_hung_rank_ends_all_and_every_rank_is_named_with_its_last_step(tmp_path):
    with pytest.raises(AssertionError, match="died"):
        run_ranks(hang, 2, tmp_path, tmp_path, 1)
    time.sleep(0.5)
    told = (tmp_path / "stderr-0").read_text() + (tmp_path / "stderr-1").read_text()
    assert "nothing moved for 1 s (train.timeout_s=1) in step 7" in told
    assert told.count("what the ranks did last:") == 1
    assert "step 7, next batches" in told and "step 7, micro-step 2, backward" in told
    stacks = [path.read_text() for path in sorted((tmp_path / "failures").glob("rank-*.txt"))]
    assert stacks and all("in hang" in text for text in stacks)


def hang_alone(folder: Path) -> None:
    with Watchdog(0.2, folder):
        signal.pause()


def test_one_hung_process_ends_with_its_stacks(tmp_path):
    child = os.fork()
    if child == 0:
        hang_alone(tmp_path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == HUNG
    assert "in hang_alone" in (tmp_path / "rank-00000.txt").read_text()


def test_a_watchdog_that_is_fed_stays_quiet(tmp_path):
    with Watchdog(0.4, tmp_path) as watchdog:
        for step in range(8):
            watchdog.mark("forward", step)
            time.sleep(0.1)
        assert watchdog.step == 7
    assert not list(tmp_path.iterdir())


def test_ranks_that_fell_behind_or_silent_come_first():
    now = 1000.0
    usual = {rank: Activity(12, "update", 300.0, f"node{rank // 8}", now) for rank in range(20)}
    activities = usual | {
        5: Activity(11, "forward", 310.0, "node0", now),
        9: Activity(12, "update", 2.0, "node1", 400.0),
    }
    del activities[17]
    lines = describe_activities(activities, 20).splitlines()
    assert lines[1] == "  rank 9 (node1): step 12, update, no sign of life for 600 s"
    assert lines[2] == "  rank 5 (node0): step 11, forward, for 310 s"
    assert lines[3] == "  17 ranks (0, 1, 2, 3, 4, 6, 7, 8, …) (node0): step 12, update, for 300 s"
    assert lines[4] == "  rank 17: never gave a sign of life"


# --- slow ranks


def slow_reports(paces: list[list[float]], folder: Path):
    """What `report` gives and warns of, one period per list."""
    warnings: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            warnings.append(record.getMessage())

    logging.getLogger("fcdist.training.watching.stragglers").addHandler(Keep())
    mine = iter([period[get_rank()] for period in paces])
    stragglers = Stragglers(lambda: next(mine))
    return [stragglers.report(step) for step in range(len(paces))], warnings


def test_a_rank_that_stays_slow_is_named_once(tmp_path):
    paces = [[1.0, 1.0], [1.0, 2.0], *[[1.0, 1.8]] * SLOW_PERIODS, [1.0, 0.5]]
    (reports, warnings), (others, silent) = run_ranks(slow_reports, 2, tmp_path, paces, tmp_path)
    assert reports == others and not silent
    assert reports[1] == {"slowest_rank": 1, "slowest_rank_ratio": 2.0}
    assert len(warnings) == 1 and "rank 1 on" in warnings[0] and "1.8 times the median" in warnings[0]


def test_multiples_of_the_median():
    assert multiples_of_median({0: 2.0, 1: 1.0, 2: 1.0, 3: 1.0}) == {0: 2.0, 1: 1.0, 2: 1.0, 3: 1.0}
    assert multiples_of_median({0: 3.0, 1: 1.5}) == {0: 2.0, 1: 1.0}
    assert multiples_of_median({0: 0.0, 1: 1.0}) == {}


def test_pace_is_time_a_token_since_it_was_last_taken():
    pace = Pace(CPU)
    with pace.measure(100):
        time.sleep(0.02)
    assert 0.0002 <= pace.take() < 0.01
    assert pace.take() == 0.0


# --- bad steps


class PoisonedLoader(TinyLoader):
    """Targets of some steps have an infinite or a huge weight on the last rank."""

    def __init__(self, poison: dict[int, float], num_steps: int) -> None:
        super().__init__(num_steps, 4, get_rank(), get_world_size())
        self.poison = poison

    def next_step(self):
        step = super().next_step()
        if get_rank() != get_world_size() - 1 or self.done not in self.poison:
            return step
        bad = replace(step.batches[0], target_weights=step.batches[0].target_weights * self.poison[self.done])
        return replace(step, batches=(bad, *step.batches[1:]))


def run(cfg: Config, folder: Path, poison: dict[int, float], num_steps: int = 6):
    """(outcome, weights, records) of a run whose steps are poisoned."""
    engine = make_engine(cfg)
    engine.train_mode(True)
    recorder = Recorder()
    failures = folder / "failures"
    watchdog = Watchdog(60, failures)
    failed = FailedSteps(failures, cfg.train.max_skipped_steps)
    checkpoints = Checkpoints(folder / "checkpoints", Identity.of(cfg, FINGERPRINT), cfg.train)
    arguments = (
        PoisonedLoader(poison, num_steps),
        checkpoints,
        Log([recorder], 1, CPU),
        lambda engine: {},
        StopRequest(folder),
        failed,
        watchdog,
    )
    try:
        outcome = str(train(cfg, ObservedEngine(engine, cfg, watchdog, failures), *arguments))
    except TrainingError as error:
        outcome = str(error)
    return outcome, engine.trainable_state_dict(), recorder.records


ENGINES = [("local", 2), ("deepspeed", 1), ("deepspeed", 2), ("deepspeed", 3)]


@pytest.mark.parametrize("poison", [math.inf, 1e4])
@pytest.mark.parametrize(("engine", "stage"), ENGINES)
def test_a_bad_step_that_is_left_out_changes_nothing(engine, stage, poison, tmp_path, monkeypatch):
    monkeypatch.setattr("fcdist.training.watching.failures.MIN_HISTORY", 2)
    cfg = with_train(tiny_config(engine, stage), max_skipped_steps=1)
    (outcome, weights, records), (other, *_) = run_ranks(run, 2, tmp_path, cfg, tmp_path / "a", {4: poison})
    assert outcome == other == "0"
    assert [record["step"] for record in records] == [1, 2, 3, 4, 5, 6]
    assert records[3]["skipped_steps"] == 1 and "loss" not in records[3]
    # The same steps without the bad one, by a loader that never had it, end in the same weights.
    expected = run_ranks(without_step, 2, tmp_path, cfg, 4)[0]
    assert is_same(weights, expected)
    reason, packs = read_failure(tmp_path / "a" / "failures", 4)
    assert "step 4" in reason and any(pack.rank == 1 for pack in packs) and all(pack.examples for pack in packs)


def without_step(cfg: Config, left_out: int):
    """Weights after six steps of which one does not happen."""
    from fcdist.training.distributed import seed_step
    from fcdist.training.engines.optimizer import learning_rate
    from fcdist.training.loop import train_step

    engine, loader = make_engine(cfg), TinyLoader(6, 4, get_rank(), get_world_size())
    engine.train_mode(True)
    for number in range(1, 7):
        step = loader.next_step()
        if number != left_out:
            seed_step(cfg.seed, number, engine.dp_rank)
            train_step(engine, number, step, learning_rate(cfg.optim, number, 6))
    return engine.trainable_state_dict()


def test_more_bad_steps_than_allowed_stop_the_run_and_count_over_a_resume(tmp_path):
    cfg = with_train(tiny_config(), max_skipped_steps=1, save_every=1)
    results = run_ranks(run, 2, tmp_path, cfg, tmp_path / "a", {2: math.inf, 4: math.inf})
    for outcome, *_ in results:
        assert "step 4: the loss is not finite (rank 1, micro-step 1: loss inf, examples [" in outcome
        assert "1 bad step(s) have been left out already" in outcome
    again = run_ranks(run, 2, tmp_path, cfg, tmp_path / "a", {4: math.inf})
    assert "1 bad step(s) have been left out already" in again[0][0], "step 2 still counts"
    healed = run_ranks(run, 2, tmp_path, cfg, tmp_path / "a", {})
    assert healed[0][0] == "0"
    assert [path.name for path in (tmp_path / "a" / "failures").iterdir()] == ["step-000002.json"]


def test_a_loss_explodes_only_above_the_median_of_enough_steps():
    guard = LossGuard(3.0)
    for step in range(1, 10):
        guard.check(step, 9.0 if step == 1 else 1.0, list)
    guard.check(10, 50.0, list)  # too early to tell
    guard.check(11, 3.9, list)
    with pytest.raises(BadStepError, match=r"step 12: the loss explodes: 4\.100 where the steps before had 1\.000"):
        guard.check(12, 4.1, lambda: [BadPack(0, 1, (3,))])
    LossGuard(0).check(1, 1e9, list)


def test_a_resumed_run_finds_the_same_step_too_bad_as_the_uninterrupted_one(tmp_path):
    cfg, poison = with_train(tiny_config(), save_every=1), {13: 1e3}
    outcome, *_ = run(cfg, tmp_path, poison, num_steps=14)
    assert outcome.startswith("step 13: the loss explodes")
    newest = newest_checkpoint(tmp_path / "checkpoints")
    state = read_state(newest)
    assert state["step"] == 12 and len(state[LOSSES]) == 12
    again, _, records = run(cfg, tmp_path, poison, num_steps=14)
    assert again == outcome and records == [], "the first step after the resume is guarded"

    del state[LOSSES]  # a checkpoint from before the losses were kept: the guard begins anew
    (newest / STATE).write_text(json.dumps(state))
    seal(newest)
    unguarded, _, records = run(cfg, tmp_path, poison, num_steps=14)
    assert unguarded == "0" and [record["step"] for record in records] == [13, 14]


def test_the_guard_remembers_as_many_losses_as_it_uses():
    guard, restored = LossGuard(3.0), LossGuard(3.0)
    for step in range(1, 80):
        guard.check(step, 1 + step / 1000, list)
    restored.restore(json.loads(json.dumps(guard.losses)))
    assert restored.losses == guard.losses == [1 + step / 1000 for step in range(30, 80)]


def test_a_kept_step_is_read_back_and_a_missing_one_names_those_there(tmp_path):
    packs = [BadPack(3, 1, (7, 9), 12.5), BadPack(0, 2, (1,))]
    write_failure(tmp_path, 41, "why", packs)
    write_failure(tmp_path, 8, "earlier", packs[:1])
    assert read_failure(tmp_path) == ("why", packs) and read_failure(tmp_path, 8) == ("earlier", packs[:1])
    with pytest.raises(DataError, match=r"no failed step 9 is kept \(there: 8, 41\)"):
        read_failure(tmp_path, 9)
    (tmp_path / "step-000041.json").write_text("{")
    with pytest.raises(DataError, match=r"step-000041\.json: cannot be read"):
        read_failure(tmp_path)


# --- memory


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_out_of_memory_names_the_pack_and_three_settings(error, tmp_path):
    cfg = tiny_config("deepspeed", 2)
    engine = make_engine(tiny_config())
    step = TinyLoader().next_step()

    def fail(loss):
        raise error

    engine.backward = fail
    watchdog = Watchdog(60, tmp_path)
    watchdog.mark("next batches", 5)
    observed = ObservedEngine(engine, cfg, watchdog, tmp_path)
    observed(step.batches[0])
    loss, _ = observed(step.batches[1])
    with pytest.raises(TrainingError) as caught:
        observed.backward(loss)
    text, batch = str(caught.value), step.batches[1]
    assert f"rank 0, step 5, backward of micro-step 2: {batch.input_ids.shape[1]} tokens" in text
    assert (f"examples [{batch.examples[0]}]" in text and "Tried" in text) or "tried" in text
    assert "train.activation_checkpointing=true" in text and "zero=zero3_offload" in text
    assert "zero=zero3 " not in text and "sequence_parallel" not in text, "one rank has none to share with"
    assert read_failure(tmp_path, 5)[1] == [BadPack(0, 2, batch.examples)]


def test_other_errors_pass_unchanged(tmp_path):
    engine = make_engine(tiny_config())
    observed = ObservedEngine(engine, tiny_config(), Watchdog(60, tmp_path), tmp_path)
    engine.step = lambda lr: (_ for _ in ()).throw(RuntimeError("something else"))
    with pytest.raises(RuntimeError, match="something else"):
        observed.step(1e-3)


# --- ranks that differ


def start(cfg: Config, field: str, odd_rank: int) -> str:
    if get_rank() == odd_rank:
        if field == "code":
            agreement.code_fingerprint = lambda: "0123"
        elif field == "config":
            cfg = replace(cfg, optim=replace(cfg.optim, lr=0.5))
    try:
        check_same_start(cfg, "other-data" if field == "data" and get_rank() == odd_rank else FINGERPRINT)
    except TrainingError as error:
        return str(error)
    return "started"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("none", "started"),
        ("code", "code of fcdist is "),
        ("config", "config optim.lr is 0.01, but 0.5 on rank 1 ("),
        ("data", "data store is made-up, but other-data on rank 1 ("),
    ],
)
def test_ranks_that_would_run_different_things_refuse_to_start(field, expected, tmp_path):
    results = run_ranks(start, 2, tmp_path, tiny_config(), field, 1)
    assert results[0] == results[1] and expected in results[0]


def test_differences_name_the_odd_ranks_and_their_host():
    facts = [{"code": "a", "lr": "1"}] * 6 + [{"code": "b", "lr": "1"}, {"code": "a", "lr": "1"}]
    assert describe_differences(facts, [f"n{rank // 4}" for rank in range(8)]) == ["code is a, but b on rank 6 (n1)"]


def open_on_one(odd_rank: int) -> str:
    def act() -> int:
        if get_rank() == odd_rank:
            raise ShardError("file x is cut")
        return 5

    try:
        return str(on_every_rank(act))
    except FcdistError as error:
        return f"{type(error).__name__} {error} {error.is_shared}"


def test_what_fails_on_one_rank_ends_all_with_its_name(tmp_path):
    assert run_ranks(open_on_one, 2, tmp_path, 1) == ["ShardError rank 1: file x is cut True"] * 2
    assert run_ranks(open_on_one, 2, tmp_path, 7) == ["5", "5"]


def test_records_of_failures_are_plain_json(tmp_path):
    path = write_failure(tmp_path, 1, "理由", [BadPack(0, 1, (2,), 1.5)], skipped=True)
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record == {
        "step": 1,
        "reason": "理由",
        "skipped": True,
        "packs": [{"rank": 0, "micro_step": 1, "examples": [2], "loss": 1.5}],
    }
