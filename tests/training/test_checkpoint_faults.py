"""Whatever fails while a checkpoint is saved, wherever it stops: the newest complete one is found and loads right."""

import shutil
from pathlib import Path

import pytest
import torch
from training.checkpoint_files import FAULTS, Disk, Stopped

from fcdist.config.types import Config, TrainConfig
from fcdist.errors import CheckpointError
from fcdist.training.checkpoints.checkpoint import Checkpoints
from fcdist.training.checkpoints.finding import newest_checkpoint
from fcdist.training.checkpoints.fragments import PARTS, Fragment
from fcdist.training.checkpoints.identity import Identity
from fcdist.training.checkpoints.publishing import TRAINABLE
from fcdist.training.checkpoints.tensor_file import TensorSpec

SHAPES = {"a": (3, 5), "b": (7,), "c": (2, 2)}


class StubEngine:
    """Training state that says after how many steps it was saved."""

    device, dp_rank, dp_world_size, is_replicated = torch.device("cpu"), 0, 1, False

    def __init__(self, steps_done: int = 0) -> None:
        self.steps_done = steps_done
        self._state = {}
        for name, shape in SHAPES.items():
            whole = torch.arange(torch.Size(shape).numel(), dtype=torch.float32) + 100 * steps_done
            self._state[name] = {part: whole + i / 4 for i, part in enumerate(PARTS)}

    def weight_specs(self) -> dict[str, TensorSpec]:
        return {name: TensorSpec(torch.bfloat16, shape) for name, shape in SHAPES.items()}

    def fragments(self) -> list[Fragment]:
        return [Fragment(name, 0, tensors) for name, tensors in self._state.items()]

    def restored(self, steps_done: int) -> None:
        self.steps_done = steps_done

    def equals(self, other: "StubEngine") -> bool:
        return self.steps_done == other.steps_done and all(
            torch.equal(self._state[name][part], other._state[name][part]) for name in SHAPES for part in PARTS
        )


class StubLoader:
    def __init__(self, done: int = 0) -> None:
        self.done = done

    def state_dict(self) -> dict[str, int]:
        return {"done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.done = state["done"]


def open_run(folder: Path, **train: object) -> Checkpoints:
    return Checkpoints(folder, Identity.of(Config(), "store"), TrainConfig(**train))  # type: ignore[arg-type]


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(step, StubEngine(step), StubLoader(step))


def resume(folder: Path) -> int:
    """Step that a run goes on from, after its state was held against what that step must have."""
    engine, loader = StubEngine(), StubLoader()
    step = open_run(folder).resume(engine, loader)
    assert engine.equals(StubEngine(step)) and loader.done == step
    return step


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> Path:
    """Complete checkpoints of steps 1 and 2, and what a killed save of step 3 and a killed removal left."""
    folder = tmp_path_factory.mktemp("history") / "checkpoints"
    for step in (1, 2):
        save(open_run(folder), step)
    shutil.copytree(folder / "step-000002", folder / ".step-000003.tmp")
    shutil.copytree(folder / "step-000001", folder / ".step-000000.old")
    return folder


@pytest.fixture(scope="module")
def num_calls(history, tmp_path_factory) -> int:
    """Calls that change the disk in one save."""
    folder = tmp_path_factory.mktemp("count") / "checkpoints"
    shutil.copytree(history, folder)
    with Disk().used() as disk:
        save(open_run(folder), 3)
    return disk.calls


@pytest.mark.parametrize("fault", FAULTS)
def test_a_save_may_fail_or_stop_at_every_call(fault, history, num_calls, tmp_path):
    assert num_calls > 50
    outcomes = set()
    for at in range(num_calls):
        folder = tmp_path / str(at) / "checkpoints"
        shutil.copytree(history, folder)
        outcome = "saved"
        with Disk(at, fault).used() as disk:
            try:
                save(open_run(folder), 3)
            except CheckpointError as error:
                outcome = "refused"
                assert "step-000003 cannot be written" in str(error) and "earlier checkpoints" in str(error)
            except Stopped:
                outcome = "stopped"
        outcomes.add(outcome)
        assert disk.struck
        found = resume(folder)
        assert found == 3 if outcome == "saved" else found in (2, 3), f"call {at}"
        save(open_run(folder), found + 1)
        assert resume(folder) == found + 1
        names = sorted(path.name for path in folder.iterdir())
        assert names == [f"step-{found:06d}", f"step-{found + 1:06d}"], f"call {at}: left-overs"
    assert outcomes == ({"refused", "saved"} if fault in ("error", "full") else {"stopped"})


@pytest.mark.parametrize("fault", ["error", "full"])
def test_a_failed_save_in_the_background_is_told_at_the_next_one(fault, history, num_calls, tmp_path):
    for at in range(0, num_calls, 7):
        folder = tmp_path / str(at) / "checkpoints"
        shutil.copytree(history, folder)
        checkpoints = open_run(folder, async_save=True)
        with Disk(at, fault).used():
            checkpoints.save(3, StubEngine(3), StubLoader(3), wait=False)
            try:
                checkpoints._background.finish()
            except CheckpointError as error:
                assert "step-000003 cannot be written" in str(error)
        assert resume(folder) in (2, 3)
        checkpoints.save(4, StubEngine(4), StubLoader(4), wait=False)
        checkpoints.close()
        assert resume(folder) == 4


def test_the_same_step_again_never_replaces_a_complete_checkpoint(history, tmp_path):
    """It may be the only one, and a replacement needs a moment without it."""
    folder = tmp_path / "checkpoints"
    shutil.copytree(history, folder)
    inode = (folder / "step-000002" / TRAINABLE).stat().st_ino
    save(open_run(folder, keep_last=1), 2)
    assert (folder / "step-000002" / TRAINABLE).stat().st_ino == inode and resume(folder) == 2


def test_a_checkpoint_that_does_not_fit_is_refused_before_anything_is_written(history, tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    shutil.copytree(history, folder)
    usage = shutil.disk_usage(folder)._replace(free=1000)
    monkeypatch.setattr("fcdist.training.checkpoints.publishing.shutil.disk_usage", lambda path: usage)
    with pytest.raises(
        CheckpointError, match=r"it takes 0\.02 GiB and the disk has 0\.00 GiB free.*train\.keep_last=2"
    ):
        save(open_run(folder), 3)
    assert sorted(path.name for path in folder.iterdir()) == ["step-000001", "step-000002"]


def test_every_nth_checkpoint_stays_for_good(tmp_path):
    checkpoints = open_run(tmp_path, save_every=2, keep_every=4, keep_last=2)
    for step in range(2, 15, 2):
        save(checkpoints, step)
    assert [path.name for path in sorted(tmp_path.iterdir())] == [f"step-{s:06d}" for s in (4, 8, 12, 14)]


def test_a_copy_in_the_background_does_not_see_later_steps(tmp_path):
    checkpoints, engine = open_run(tmp_path, async_save=True), StubEngine(5)
    with Disk().used():
        checkpoints.save(5, engine, StubLoader(5), wait=False)
        for fragment in engine.fragments():
            for tensor in fragment.tensors.values():
                tensor.zero_()  # the next step, while the save is still being written or not even begun
    checkpoints.close()
    assert resume(tmp_path) == 5


def test_settings_that_could_not_be_kept_are_refused():
    from fcdist.errors import ConfigError

    for settings in ({"keep_last": 0}, {"keep_every": 5}, {"keep_every": 5, "save_every": 2}, {"keep_every": -1}):
        with pytest.raises(ConfigError, match=f"train.{next(iter(settings))}="):
            TrainConfig(**settings)


def test_the_newest_is_found_without_reading_another(history, caplog):
    assert newest_checkpoint(history).name == "step-000002" and not caplog.records
