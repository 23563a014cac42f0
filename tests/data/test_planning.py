"""Laws of the plan: every example once, packs that fit, steps that do not know the world size, shares that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import index_of

from fcdist.config.types import BatchConfig
from fcdist.data.planning import GlobalBatch, describe_plan, divide, pack_cost, plan_epoch, plan_packs
from fcdist.errors import ConfigError, DataError

LENGTHS = st.lists(st.integers(1, 64), min_size=1, max_size=120)


def rows_of(plan):
    return [row for step in plan for pack in step.packs for row in pack]


@settings(max_examples=100, deadline=None)
@given(LENGTHS)
def test_packs_fit_and_hold_every_example_once(lengths):
    packs = plan_packs(lengths, 64)
    assert sorted(i for pack in packs for i in pack) == list(range(len(lengths)))
    assert all(pack and sum(lengths[i] for i in pack) <= 64 for pack in packs)
    # Any two packs together exceed one: otherwise a best fit would have joined them.
    loads = sorted(sum(lengths[i] for i in pack) for pack in packs)
    assert len(loads) < 2 or loads[0] + loads[1] > 64


def test_best_fit_takes_the_fullest_pack_that_still_fits():
    assert plan_packs([6, 7, 3, 4], 10) == [[1, 2], [0, 3]]


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(0, 3), st.integers(0, 3), st.integers(1, 5))
def test_an_epoch_holds_every_example_once_and_only_its_last_step_is_short(lengths, size, seed, epoch, num_buckets):
    index = index_of(lengths)
    batch = BatchConfig(seq_len=64, global_batch_size=size, num_buckets=num_buckets)
    plan = plan_epoch(index, batch, seed, epoch)
    assert sorted(rows_of(plan)) == list(range(len(lengths)))
    assert plan == plan_epoch(index, batch, seed, epoch)
    assert all(len(step.packs) == size for step in plan)
    assert all(pack for step in plan[:-1] for pack in step.packs) and any(plan[-1].packs)
    for step in plan:
        rows = [i for pack in step.packs for i in pack]
        assert step.num_tokens == index.lengths[rows].sum() and step.num_targets == index.num_targets[rows].sum()
        assert all(sum(lengths[i] for i in pack) <= 64 for pack in step.packs)


def test_packs_and_their_order_change_with_epoch_and_seed():
    index = index_of(np.random.default_rng(0).integers(5, 60, 200).tolist())
    batch = BatchConfig(seq_len=128, global_batch_size=4)
    plans = [plan_epoch(index, batch, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    partners = [{frozenset(pack) for step in plan for pack in step.packs} for plan in plans]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert len(partners[a] & partners[b]) < len(partners[a]) / 4


@settings(max_examples=80, deadline=None)
@given(LENGTHS, st.sampled_from([(1, 1), (1, 2), (1, 4), (2, 2), (2, 4), (4, 2), (8, 1), (1, 8)]))
def test_ranks_share_a_global_batch_without_gap_or_overlap(lengths, split):
    micro, world_size = split
    for step in plan_epoch(index_of(lengths), BatchConfig(seq_len=64, global_batch_size=8), 0, 0):
        shares = divide(step, lengths, micro, world_size)
        assert {len(share) for share in shares} == {8 // (micro * world_size)}
        assert all(len(packs) <= micro for share in shares for packs in share)
        given_out = sorted(pack for share in shares for packs in share for pack in packs)
        assert given_out == sorted(pack for pack in step.packs if pack)


def test_loads_are_balanced_and_like_costs_run_side_by_side():
    lengths = list(range(10, 74))
    step = GlobalBatch(tuple((i,) for i in range(64)), 64, sum(lengths))
    shares = divide(step, lengths, 2, 4)
    totals = [sum(pack_cost(pack, lengths) for packs in share for pack in packs) for share in shares]
    assert max(totals) / min(totals) < 1.01
    for forwards in zip(*shares, strict=True):
        costs = [sum(pack_cost(pack, lengths) for pack in packs) for packs in forwards]
        assert max(costs) / min(costs) < 1.5


def test_every_step_draws_the_same_mix_of_cheap_and_costly_packs():
    random = np.random.default_rng(1)
    lengths = np.where(random.random(3000) < 0.5, random.integers(20, 40, 3000), random.integers(500, 1000, 3000))
    plan = plan_epoch(index_of(lengths.tolist()), BatchConfig(seq_len=1024, global_batch_size=32), 0, 0)
    costs = [sum(pack_cost(pack, lengths.tolist()) for pack in step.packs) for step in plan[:-1]]
    assert np.std(costs) / np.mean(costs) < 0.02


def test_packs_of_a_usual_length_mix_are_nearly_full_and_ranks_wait_little():
    lengths = np.clip(np.random.default_rng(2).lognormal(5.5, 0.8, 4000).astype(int), 8, 2048)
    batch = BatchConfig(seq_len=2048, global_batch_size=32)
    facts = describe_plan(plan_epoch(index_of(lengths.tolist()), batch, 0, 0), lengths.tolist(), batch, 4)
    assert facts.fill > 0.97 and facts.imbalance < 0.1


def test_too_long_empty_and_indivisible_are_errors():
    with pytest.raises(DataError, match=r"example 1 has 65 tokens; batch\.seq_len is 64"):
        plan_packs([3, 65], 64)
    with pytest.raises(DataError, match="holds no example"):
        plan_epoch(index_of([]), BatchConfig(seq_len=64), 0, 0)
    with pytest.raises(DataError, match=r"4 packs do not divide .* 1 x 3"):
        divide(GlobalBatch(((0,), (1,), (), ()), 2, 2), [1, 1], 1, 3)
    with pytest.raises(ConfigError, match=r"global_batch_size=4 is not a multiple .* Nearest above: 6"):
        BatchConfig(global_batch_size=4).accumulation_steps(3)
