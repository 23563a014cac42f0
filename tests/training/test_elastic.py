"""A run goes on with other ranks, ZeRO stages and engines: the same packs, losses to the stated tolerance."""

from dataclasses import replace

import pytest
import torch
from training.ranks import run_ranks
from training.test_checkpoint import run
from training.tiny import is_same, tiny_config

from fcdist.config.entry import REQUEUE
from fcdist.config.types import ZeroConfig
from fcdist.training.checkpoints.checkpoint import RESUME_TOLERANCE
from fcdist.training.checkpoints.fragments import MASTER, PARTS, Fragment, FragmentReader, part_path, share, write_part

WAYS = [  # (engine, stage, ranks) → (engine, stage, ranks)
    (("deepspeed", 1, 2), ("deepspeed", 2, 1)),
    (("deepspeed", 2, 2), ("deepspeed", 3, 3)),
    (("deepspeed", 3, 2), ("deepspeed", 2, 2)),
    (("deepspeed", 3, 2), ("local", 1, 1)),
    (("local", 1, 1), ("deepspeed", 3, 2)),
    (("local", 1, 2), ("local", 1, 3)),
]


@pytest.fixture(scope="module", params=["full", "lora"])
def expected(request, tmp_path_factory):
    """(tuning mode, history of the uninterrupted run of one rank of plain torch)."""
    cfg = tiny_config(mode=request.param)
    return request.param, run(cfg, tmp_path_factory.mktemp("whole"))[2]


@pytest.mark.parametrize(("before", "after"), WAYS, ids=lambda way: "-".join(map(str, way)))
def test_a_run_goes_on_on_other_ranks_stages_and_engines(before, after, expected, tmp_path):
    mode, whole = expected
    history = []
    for (engine, stage, num_ranks), stop_at, code in ((before, 2, REQUEUE), (after, 0, 0)):
        cfg = tiny_config(engine, stage, mode)
        (returned, _, records), *_ = run_ranks(run, num_ranks, tmp_path, cfg, tmp_path / "run", stop_at)
        assert returned == code
        history += records
    assert [(step, *rest) for step, _, _, *rest in history] == [(step, *rest) for step, _, _, *rest in whole]
    for (step, loss, norm, *_), (_, expected_loss, expected_norm, *_) in zip(history, whole, strict=True):
        assert loss == pytest.approx(expected_loss, rel=RESUME_TOLERANCE), step
        assert norm == pytest.approx(expected_norm, rel=10 * RESUME_TOLERANCE), step


def test_a_change_of_layout_alone_changes_no_bit(tmp_path):
    """Saved by two ranks of ZeRO-3, taken over by one of ZeRO-2 and by plain torch, without a step in between."""
    saved = tiny_config("deepspeed", 3, precision="bf16")
    (_, weights, history), _ = run_ranks(run, 2, tmp_path, saved, tmp_path / "run")
    assert len(history) == 4
    for zero in (ZeroConfig(engine="deepspeed", stage=2), ZeroConfig(engine="local")):
        ((code, taken, nothing),) = run_ranks(run, 1, tmp_path, replace(saved, zero=zero), tmp_path / "run")
        assert code == 0 and nothing == [] and is_same(taken, weights)


@pytest.mark.parametrize(("writers", "readers"), [(1, 4), (3, 2), (4, 1), (5, 7)])
def test_fragments_of_any_division_give_the_same_values(writers, readers, tmp_path):
    state = {name: {part: torch.rand(length) for part in PARTS} for name, length in {"a": 11, "b": 2, "c": 40}.items()}
    whole = [Fragment(name, 0, tensors) for name, tensors in state.items()]
    for rank in range(writers):
        write_part(part_path(tmp_path, rank), share(whole, rank, writers))
    read = {name: {part: torch.zeros_like(tensor) for part, tensor in parts.items()} for name, parts in state.items()}
    for rank in range(readers):
        mine = share([Fragment(name, 0, tensors) for name, tensors in read.items()], rank, readers)
        with FragmentReader(tmp_path, writers) as reader:
            reader.fill(mine, first_part=rank * writers // readers)
    assert all(torch.equal(read[name][part], state[name][part]) for name in state for part in PARTS)
    assert sum(f.tensors[MASTER].numel() for r in range(writers) for f in share(whole, r, writers)) == 11 + 2 + 40
