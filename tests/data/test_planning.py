"""Laws of the plan: every example once, packs that fit and cost alike, steps that do not know the world size."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import index_of, tool_store

from fcdist.config.types import BatchConfig
from fcdist.data.balance import GlobalBatch, divide, idle_share
from fcdist.data.bin_packing import plan_packs
from fcdist.data.collating import collate
from fcdist.data.planning import plan_epoch
from fcdist.errors import ConfigError, DataError
from fcdist.training.estimates.flops import attended_pairs

LENGTHS = st.lists(st.integers(1, 64), min_size=1, max_size=120)


def rows_of(plan):
    return [row for step in plan for pack in step.packs for row in pack]


@settings(max_examples=100, deadline=None)
@given(LENGTHS)
def test_best_fit_packs_fit_and_hold_every_example_once(lengths):
    packs = plan_packs(lengths, 64)
    assert sorted(i for pack in packs for i in pack) == list(range(len(lengths)))
    assert all(pack and sum(lengths[i] for i in pack) <= 64 for pack in packs)
    # Any two packs together exceed one: otherwise a best fit would have joined them.
    loads = sorted(sum(lengths[i] for i in pack) for pack in packs)
    assert len(loads) < 2 or loads[0] + loads[1] > 64


def test_best_fit_takes_the_fullest_pack_that_still_fits():
    assert plan_packs([6, 7, 3, 4], 10) == [[1, 2], [0, 3]]


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(0, 3), st.integers(0, 3))
def test_an_epoch_holds_every_example_once_and_only_its_last_step_is_short(lengths, size, seed, epoch):
    index = index_of(lengths)
    batch = BatchConfig(seq_len=64, global_batch_size=size)
    plan = plan_epoch(index, batch, seed, epoch)
    assert sorted(rows_of(plan)) == list(range(len(lengths)))
    assert plan == plan_epoch(index, batch, seed, epoch)
    assert all(len(step.packs) == len(step.costs) == size for step in plan)
    assert all(pack for step in plan[:-1] for pack in step.packs) and any(plan[-1].packs)
    for step in plan:
        rows = [i for pack in step.packs for i in pack]
        assert step.num_targets == index.num_targets[rows].sum()
        assert step.num_tokens == step.num_unique_tokens == index.lengths[rows].sum()
        assert all(sum(lengths[i] for i in pack) <= 64 for pack in step.packs)
        assert all(bool(pack) == bool(cost) for pack, cost in zip(step.packs, step.costs, strict=True))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=8),
    st.integers(0, 1000),
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from([80, 120, 400]),
)
def test_packs_of_shared_prompts_hold_every_example_once_and_fit(sizes, seed, most, min_shared, seq_len):
    store = tool_store(np.random.default_rng(seed), sizes, (1, 40), (2, 25))
    batch = BatchConfig(seq_len=seq_len, global_batch_size=3, examples_per_prefix=most, min_shared_tokens=min_shared)
    plan = plan_epoch(store, batch, seed, 0)
    assert sorted(rows_of(plan)) == list(range(len(store)))
    for step in plan:
        packed = [collate(store, [pack], batch.shared_stretch) for pack in step.packs if pack]
        tokens = [b.input_ids.shape[1] for b in packed]
        assert max(tokens) <= seq_len and sum(tokens) == step.num_unique_tokens
        assert sum(float(b.target_weights.sum()) for b in packed) == step.num_targets
        assert step.num_tokens == sum(int(store.lengths[list(b.examples)].sum()) for b in packed)


def test_one_long_example_among_many_packs_of_short_ones():
    plan = plan_epoch(index_of([2000] + [1] * 400), BatchConfig(seq_len=2000, global_batch_size=300), 0, 0)
    assert sorted(rows_of(plan)) == list(range(401))


def groups_by_pack(plan, store):
    return [[Counter(store.groups[list(pack)].tolist()) for pack in step.packs] for step in plan]


def test_chunks_hold_few_examples_and_meet_neither_in_a_pack_nor_in_a_step():
    store = tool_store(np.random.default_rng(0), [20] * 30 + [3] * 40, (100, 140), (10, 20))
    batch = BatchConfig(seq_len=512, global_batch_size=8, examples_per_prefix=4)
    for epoch in range(2):
        packs = groups_by_pack(plan_epoch(store, batch, 0, epoch), store)
        assert max(max(pack.values(), default=0) for step in packs for pack in step) <= 4
        met = [sum(1 for pack in step if group in pack) for step in packs for group in {g for p in step for g in p}]
        assert np.mean(np.array(met) > 1) < 0.1
    # near-equal sizes: 20 examples are five chunks of four, none of them split further
    assert sum(1 for step in packs for pack in step for g, n in pack.items() if g < 30 and n == 4) > 30 * 4


def test_a_chunk_that_does_not_fit_is_split_and_repeats_the_prompt():
    store = tool_store(np.random.default_rng(0), [8, 8], (200, 201), (30, 40))
    assert all(len(collate(store, [range(16)], 32).input_ids[0]) > size for size in (300, 400))
    for seq_len in (300, 400):
        batch = BatchConfig(seq_len=seq_len, global_batch_size=2)
        plan = plan_epoch(store, batch, 0, 0)
        assert sorted(rows_of(plan)) == list(range(16))
        for step in plan:
            assert all(collate(store, [pack], 32).input_ids.shape[1] <= seq_len for pack in step.packs if pack)


def test_examples_that_share_their_first_turn_too_stay_together():
    random = np.random.default_rng(1)
    store = tool_store(random, [24], (40, 50), (80, 90))
    batch = BatchConfig(seq_len=4096, global_batch_size=1, examples_per_prefix=6)
    shared = store.common[np.argsort(store.places)]
    deep = set(np.argsort(store.places)[np.flatnonzero(shared >= 75)].tolist())  # all but the first of them
    found = []
    for epoch in range(3):
        plan = plan_epoch(store, batch, 0, epoch)
        found.append([step.num_tokens / step.num_unique_tokens for step in plan])
    assert len(deep) == 7 and all(max(reuse) > 1 for reuse in found)


def test_one_example_per_prefix_turns_sharing_off():
    store = tool_store(np.random.default_rng(0), [8] * 6, (60, 70), (10, 20))
    plan = plan_epoch(store, BatchConfig(seq_len=512, global_batch_size=2, examples_per_prefix=1), 0, 0)
    assert all(step.num_tokens == step.num_unique_tokens for step in plan)
    assert sorted(rows_of(plan)) == list(range(48))


def test_a_choice_of_rows_is_planned_like_a_store_of_its_own():
    store = tool_store(np.random.default_rng(0), [8] * 6, (60, 70), (10, 20))
    rows = np.arange(1, 48, 3)
    plan = plan_epoch(store, BatchConfig(seq_len=512, global_batch_size=2), 0, 0, rows)
    assert sorted(rows_of(plan)) == rows.tolist()
    assert sum(step.num_targets for step in plan) == store.num_targets[rows].sum()
    assert sum(step.num_unique_tokens for step in plan) < sum(step.num_tokens for step in plan)


@pytest.mark.parametrize("shared", [False, True])
def test_packs_and_their_order_change_with_epoch_and_seed(shared):
    random = np.random.default_rng(0)
    store = tool_store(random, [16] * 12, (60, 70), (10, 20)) if shared else index_of(random.integers(5, 60, 200))
    batch = BatchConfig(seq_len=128 if not shared else 512, global_batch_size=4)
    plans = [plan_epoch(store, batch, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    partners = [{frozenset(pack) for step in plan for pack in step.packs} for plan in plans]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert len(partners[a] & partners[b]) < len(partners[a]) / 4
    chunks = [
        {frozenset(row for row in pack if store.groups[row] == group) for step in plan for pack in step.packs}
        for plan in plans
        for group in (0,)
    ]
    assert not shared or len(chunks[0] & chunks[1]) <= 1  # of empty sets


@settings(max_examples=80, deadline=None)
@given(LENGTHS, st.sampled_from([(1, 1), (1, 2), (1, 4), (2, 2), (2, 4), (4, 2), (8, 1), (1, 8)]))
def test_ranks_share_a_global_batch_without_gap_or_overlap(lengths, split):
    micro, world_size = split
    for step in plan_epoch(index_of(lengths), BatchConfig(seq_len=64, global_batch_size=8), 0, 0):
        shares = divide(step, micro, world_size)
        assert {len(share) for share in shares} == {8 // (micro * world_size)}
        assert all(len(packs) <= micro for share in shares for packs in share)
        given_out = sorted(pack for share in shares for packs in share for pack in packs)
        assert given_out == sorted(pack for pack in step.packs if pack)


def test_costs_are_those_of_the_layout_at_the_prices_of_the_settings():
    store = tool_store(np.random.default_rng(0), [3, 5, 1], (40, 90), (10, 60))
    batch = BatchConfig(seq_len=512, global_batch_size=2, token_cost=700, target_cost=90)
    for step in plan_epoch(store, batch, 0, 0):
        for pack, cost in zip(step.packs, step.costs, strict=True):
            laid = collate(store, [pack], batch.shared_stretch)
            targets = sum(int(store.num_targets[row]) for row in pack)
            expected = 700 * laid.input_ids.shape[1] + attended_pairs(laid.segments) + 90 * targets
            assert cost == 2 * expected


def test_loads_are_balanced_and_like_costs_run_side_by_side():
    costs = {(i,): 12000 * i + i * i for i in range(10, 74)}
    step = GlobalBatch(tuple(costs), tuple(costs.values()), 64, 64, 64)
    shares = divide(step, 2, 4)
    totals = [sum(costs[pack] for packs in share for pack in packs) for share in shares]
    assert max(totals) / min(totals) < 1.01
    for forwards in zip(*shares, strict=True):
        loads = [sum(costs[pack] for pack in packs) for packs in forwards]
        assert max(loads) / min(loads) < 1.5


def mixes():
    random = np.random.default_rng(1)
    chats, calls = random.lognormal(5.2, 0.8, 9000), random.lognormal(6.8, 0.7, 6000)
    yield "short", np.clip(random.lognormal(5.5, 0.8, 12000), 8, 2048)
    yield "chats and calls", np.clip(np.concatenate([chats, calls]), 8, 4096)
    yield (
        "two kinds",
        np.where(random.random(9000) < 0.5, random.integers(20, 40, 9000), random.integers(500, 1000, 9000)),
    )


@pytest.mark.parametrize(("name", "lengths"), mixes(), ids=[name for name, _ in mixes()])
def test_ranks_wait_little_and_packs_are_full(name, lengths):
    index = index_of(lengths.astype(int).tolist())
    for ranks, seq_len in ((8, 4096), (64, 4096), (64, 8192)):
        batch = BatchConfig(seq_len=seq_len, global_batch_size=ranks)  # one pack a rank: nothing can even out
        plan = plan_epoch(index, batch, 0, 0)
        assert idle_share(plan, 1, ranks) < 0.03
    batch = BatchConfig(seq_len=4096, global_batch_size=8)
    plan = plan_epoch(index, batch, 0, 0)
    assert sum(step.num_tokens for step in plan) / sum(len(step.packs) for step in plan) > 0.95 * 4096


def test_on_a_thousand_ranks_one_pack_each_costs_the_same():
    lengths = np.clip(np.random.default_rng(2).lognormal(5.5, 0.8, 80_000).astype(int), 8, 1024)
    plan = plan_epoch(index_of(lengths.tolist()), BatchConfig(seq_len=4096, global_batch_size=1024), 0, 0)
    assert len(plan) > 4 and idle_share(plan, 1, 1024) < 0.03


def test_steps_are_a_random_mix():
    random = np.random.default_rng(3)
    lengths = np.where(random.random(9000) < 0.3, random.integers(500, 1000, 9000), random.integers(20, 40, 9000))
    plan = plan_epoch(index_of(lengths.tolist()), BatchConfig(seq_len=4096, global_batch_size=16), 0, 0)
    shares = [np.mean(lengths[[row for pack in step.packs for row in pack]] > 100) for step in plan]
    assert abs(np.mean(shares) - 0.3) < 0.02 and np.std(shares) < 0.05


def test_too_long_empty_and_indivisible_are_errors():
    with pytest.raises(DataError, match=r"example 1 has 65 tokens; batch\.seq_len is 64"):
        plan_epoch(index_of([3, 65]), BatchConfig(seq_len=64), 0, 0)
    with pytest.raises(DataError, match="holds no example"):
        plan_epoch(index_of([]), BatchConfig(seq_len=64), 0, 0)
    with pytest.raises(DataError, match=r"4 packs do not divide .* 1 x 3"):
        divide(GlobalBatch(((0,), (1,), (), ()), (1, 1, 0, 0), 2, 2, 2), 1, 3)
    with pytest.raises(ConfigError, match=r"global_batch_size=4 is not a multiple .* Nearest above: 6"):
        BatchConfig(global_batch_size=4).accumulation_steps(3)
    with pytest.raises(ConfigError, match=r"examples_per_prefix=0 must be positive"):
        BatchConfig(examples_per_prefix=0)
