"""A plan that is kept is the plan that would be made, or it is not used."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from stores import index_of, small_config, small_renderer

from fcdist.config.types import BatchConfig
from fcdist.data import kept_plans
from fcdist.data.kept_plans import KeptPlans, Plan, read_plan, write_plan
from fcdist.data.loader import PackLoader
from fcdist.data.planning import plan_epoch
from fcdist.data.store import TokenStore, build_store


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Settings and store of a small run."""
    cfg = small_config(tmp_path_factory.mktemp("store"))
    return cfg, build_store(cfg, small_renderer())


@pytest.fixture
def kept(prepared, tmp_path, monkeypatch) -> KeptPlans:
    """Two plans of it, kept although the store is small."""
    monkeypatch.setattr(kept_plans, "MIN_EXAMPLES", 1)
    cfg, store = prepared
    plans = KeptPlans(store, cfg.batch, cfg.seed, tmp_path / "plans")
    plans.keep(2)
    return plans


def made(prepared, epoch: int):
    cfg, store = prepared
    return plan_epoch(store, cfg.batch, cfg.seed, epoch)


@pytest.mark.parametrize(("count", "size"), [(1, 1), (1, 4), (60, 4), (61, 3), (400, 64)])
def test_flat_arrays_hold_every_step_also_from_a_file(count, size, tmp_path):
    lengths = np.random.default_rng(count).integers(2, 40, count).tolist()
    steps = plan_epoch(index_of(lengths), BatchConfig(seq_len=64, global_batch_size=size), 0, 0)
    path = tmp_path / "a" / "plan.npy"
    write_plan(path, Plan.of(steps))
    assert [file.name for file in path.parent.iterdir()] == ["plan.npy"]
    for plan in (Plan.of(steps), read_plan(path)):
        assert list(plan) == steps and len(plan) == len(steps)
        assert plan[-1] == steps[-1] and plan[1:3] == steps[1:3]
        with pytest.raises(IndexError):
            plan[len(steps)]


def test_what_is_kept_is_read_and_not_made_again(kept, prepared, monkeypatch):
    expected = [made(prepared, epoch) for epoch in range(3)]
    assert len(list(kept.path(0).parent.iterdir())) == 2

    def made_again(store, batch, seed, epoch):
        assert epoch == 2, "it is kept"
        return expected[2]

    monkeypatch.setattr(kept_plans, "plan_epoch", made_again)
    kept.keep(2)
    assert [list(kept.plan(epoch)) for epoch in range(3)] == expected
    assert isinstance(kept.plan(0), Plan) and kept.plan(2) is expected[2]


def test_a_loader_gives_the_same_steps_from_kept_plans(kept, prepared):
    cfg, store = prepared
    cfg = replace(cfg, train=replace(cfg.train, epochs=3))
    loaders = PackLoader(store, cfg), PackLoader(store, cfg, plans=kept)
    assert loaders[0].num_steps == loaders[1].num_steps
    for _ in range(loaders[0].num_steps):
        a, b = (loader.next_step() for loader in loaders)
        assert [batch.examples for batch in a.batches] == [batch.examples for batch in b.batches]
        assert (a.num_targets, a.num_tokens, a.source_counts) == (b.num_targets, b.num_tokens, b.source_counts)
    assert loaders[0].cursor == loaders[1].cursor


def test_small_stores_keep_nothing(prepared, tmp_path):
    cfg, store = prepared
    plans = KeptPlans(store, cfg.batch, cfg.seed, tmp_path / "plans")
    plans.keep(2)
    assert plans.plan(1) == made(prepared, 1) and not list(tmp_path.iterdir())


def test_the_name_changes_with_all_that_decides_a_plan(kept, prepared, tmp_path, monkeypatch):
    cfg, store = prepared

    def path(store=store, seed=cfg.seed, epoch=0, **batch) -> Path:
        return KeptPlans(store, replace(cfg.batch, **batch), seed, tmp_path / "plans").path(epoch)

    assert path() == path(micro_batch_size=2, sequence_parallel=2) == kept.path(0)
    files = {**store.facts["files"], "train.npy": {"size": 1, "sha256": "other bytes"}}
    other_index = TokenStore(store.folder, "train", {**store.facts, "files": files})
    others = [path(seed=8), path(epoch=1), path(other_index)]
    others += [path(**{name: 2 * value}) for name, value in cfg.batch.plan_settings().items()]
    monkeypatch.setattr(kept_plans, "code_digest", lambda: "other code")
    others.append(path())
    monkeypatch.undo()
    assert len({kept.path(0), *others}) == len(others) + 1


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-60] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "flipped": flip,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 8),
    "cut to its header": lambda path: os.truncate(path, 100),
    "empty": lambda path: path.write_bytes(b""),
    "other numbers": lambda path: np.save(path, np.zeros(3)),
    "no array": lambda path: path.write_text("{}"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_plan_is_not_used(damage, kept, prepared, caplog):
    DAMAGE[damage](kept.path(0))
    with caplog.at_level(logging.WARNING):
        assert list(kept.plan(0)) == made(prepared, 0)
    assert str(kept.path(0)) in caplog.text and "is not used, the plan of epoch 0 is made again" in caplog.text
    assert list(kept.plan(1)) == made(prepared, 1)
    kept.keep(2)
    assert list(kept.plan(0)) == made(prepared, 0)
    assert isinstance(kept.plan(0), Plan) == (damage != "a folder"), "it is made anew where that can be done"


def test_where_nothing_can_be_kept_each_rank_plans(prepared, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(kept_plans, "MIN_EXAMPLES", 1)
    cfg, store = prepared
    (tmp_path / "plans").write_text("in the way")
    plans = KeptPlans(store, cfg.batch, cfg.seed, tmp_path / "plans")
    with caplog.at_level(logging.WARNING):
        plans.keep(1)
    assert "the plan of epoch 0 cannot be kept, every rank makes its own" in caplog.text
    assert plans.plan(0) == made(prepared, 0)


def test_a_write_that_ends_early_leaves_nothing_that_is_read(kept, prepared, monkeypatch):
    kept.path(0).unlink()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *args: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        kept.keep(1)
    assert not kept.path(0).exists() and len(list(kept.path(0).parent.iterdir())) == 1
    assert kept.plan(0) == made(prepared, 0)
