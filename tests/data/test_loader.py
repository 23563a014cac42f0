"""The batch contract and the loader: resume equals no interruption, on any world size."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import index_of

from fcdist.config.types import BatchConfig, Config, TrainConfig
from fcdist.data.collating import collate, filler
from fcdist.data.loader import PackLoader, evaluation_steps
from fcdist.errors import CheckpointError, ConfigError, DataError

INDEX = index_of(np.random.default_rng(3).integers(2, 40, 60).tolist())


def config(seed=0, epochs=2, max_steps=0, **batch):
    settings_ = {"seq_len": 64, "global_batch_size": 4} | batch
    return Config(seed=seed, batch=BatchConfig(**settings_), train=TrainConfig(epochs=epochs, max_steps=max_steps))


def contents(steps):
    """Examples of each step over all given ranks, and its target count."""
    return [
        (sorted(row for step in ranks for b in step.batches for row in b.examples), ranks[0].num_targets)
        for ranks in steps
    ]


def run(loaders, count):
    return [[loader.next_step() for loader in loaders] for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=1, max_size=8), st.randoms())
def test_a_batch_is_a_forest_of_roots_with_every_target_at_the_token_before_it(lengths, random):
    index = index_of(lengths)
    rows = list(range(len(lengths)))
    random.shuffle(rows)
    batch = collate(index, [rows[:2], rows[2:]])
    assert batch.input_ids.shape == batch.position_ids.shape == (1, sum(lengths)) and batch.examples == tuple(rows)
    targets = []
    for segment, row in enumerate(rows):
        start, end = batch.segments.start[segment], batch.segments.end[segment]
        example = index.example(row)
        assert batch.input_ids[0, start:end].tolist() == example.input_ids.tolist()
        assert batch.position_ids[0, start:end].tolist() == list(range(lengths[row]))
        targets += [
            (start + p - 1, int(example.input_ids[p]), int(example.kinds[p])) for p in example.kinds.nonzero()[0]
        ]
        assert all(start <= index_ < end for index_, _, _ in targets[-1:])
    assert set(batch.segments.parent) == {-1} and set(batch.segments.first_position) == {0}
    found = zip(batch.target_index.tolist(), batch.target_ids.tolist(), batch.target_kinds.tolist(), strict=True)
    assert list(found) == targets and batch.target_weights.tolist() == [1.0] * len(targets)


def test_filler_weighs_nothing_but_can_be_run():
    for batch in (filler(), collate(INDEX, []), collate(INDEX, [()])):
        assert batch.input_ids.shape == (1, 2) and batch.target_weights.sum() == 0 and not batch.examples
        assert batch.target_index.dtype == batch.target_ids.dtype == torch.int64 and len(batch.target_index) == 1


@pytest.mark.parametrize(("world_size", "micro"), [(1, 1), (2, 1), (4, 1), (2, 2), (1, 4)])
def test_steps_hold_the_same_examples_on_every_world_size(world_size, micro):
    cfg = config(micro_batch_size=micro)
    loaders = [PackLoader(INDEX, cfg, rank, world_size) for rank in range(world_size)]
    steps = run(loaders, loaders[0].num_steps)
    assert contents(steps) == contents(run([PackLoader(INDEX, config())], loaders[0].num_steps))
    for ranks in steps:
        assert {len(step.batches) for step in ranks} == {4 // (micro * world_size)}
        assert sum(float(b.target_weights.sum()) for step in ranks for b in step.batches) == ranks[0].num_targets
        rows = [row for step in ranks for b in step.batches for row in b.examples]
        assert all(step.source_counts == Counter(map(INDEX.source, rows)) for step in ranks)
        assert all(step.num_unique_tokens == step.num_tokens == INDEX.lengths[rows].sum() for step in ranks)
    epoch = [row for rows, _ in contents(steps)[: len(steps) // 2] for row in rows]
    assert len(set(epoch)) == len(epoch) or loaders[0].num_steps % 2  # epochs may differ by a step
    with pytest.raises(DataError, match="no step is left"):
        loaders[0].next_step()


def test_each_epoch_holds_every_example_once():
    loader = PackLoader(INDEX, config(epochs=3))
    seen: dict[int, list[int]] = {}
    for _ in range(loader.num_steps):
        epoch = loader.cursor.epoch
        for batch in loader.next_step().batches:
            seen.setdefault(epoch, []).extend(batch.examples)
    assert [sorted(rows) for rows in seen.values()] == [list(range(60))] * 3
    assert loader.epoch_progress == 3


@pytest.mark.parametrize("done", [0, 1, 4, 9])
@pytest.mark.parametrize("worlds", [(1, 1), (1, 2), (2, 1), (4, 2)])
def test_resume_equals_no_interruption(done, worlds):
    cfg = config()
    whole = PackLoader(INDEX, cfg)
    expected = contents(run([whole], whole.num_steps))
    before = [PackLoader(INDEX, cfg, rank, worlds[0]) for rank in range(worlds[0])]
    first = contents(run(before, done))
    after = [PackLoader(INDEX, cfg, rank, worlds[1]) for rank in range(worlds[1])]
    for loader in after:
        loader.load_state_dict(before[0].state_dict())
    assert first + contents(run(after, whole.num_steps - done)) == expected


def test_on_the_same_world_size_resumed_batches_are_equal_to_the_bit():
    through = PackLoader(INDEX, config())
    steps = [through.next_step() for _ in range(6)]
    resumed = PackLoader(INDEX, config())
    run([resumed], 3)
    fresh = PackLoader(INDEX, config())
    fresh.load_state_dict(resumed.state_dict())
    for expected in steps[3:]:
        for a, b in zip(fresh.next_step().batches, expected.batches, strict=True):
            assert a.segments == b.segments and torch.equal(a.input_ids, b.input_ids)
            assert torch.equal(a.target_index, b.target_index) and torch.equal(a.target_ids, b.target_ids)


def test_max_steps_goes_on_into_further_epochs():
    loader = PackLoader(INDEX, config(epochs=1, max_steps=50))
    assert loader.num_steps == 50 and len(run([loader], 50)) == 50 and loader.cursor.epoch > 1


def test_a_foreign_cursor_is_refused():
    state = PackLoader(INDEX, config()).state_dict()
    other = index_of([5, 6])
    object.__setattr__(other, "fingerprint", "other")
    for loader in (PackLoader(other, config()), PackLoader(INDEX, config(global_batch_size=8))):
        with pytest.raises(CheckpointError, match=f"{state['fingerprint']}.*{loader.cursor.fingerprint}"):
            loader.load_state_dict(state)
    with pytest.raises(CheckpointError, match=r"seed=0, this run has 1"):
        PackLoader(INDEX, config(seed=1)).load_state_dict(state)
    with pytest.raises(CheckpointError, match="cannot be read"):
        PackLoader(INDEX, config()).load_state_dict({"step": 3})


def test_dividing_a_step_otherwise_does_not_make_a_cursor_foreign():
    state = PackLoader(INDEX, config()).state_dict()
    PackLoader(INDEX, config(micro_batch_size=2, sequence_parallel=2), 1, 2).load_state_dict(state)


def test_ranks_of_a_group_hold_the_parts_of_the_same_packs():
    shared = [PackLoader(INDEX, config(sequence_parallel=2), rank, 4) for rank in range(4)]
    whole = [PackLoader(INDEX, config(), rank, 2) for rank in range(2)]
    for parts, rows in zip(run(shared, shared[0].num_steps), run(whole, whole[0].num_steps), strict=True):
        assert sum(float(b.target_weights.sum()) for part in parts for b in part.batches) == rows[0].num_targets
        for rank, row in enumerate(rows):
            for first, second, batch in zip(*(parts[2 * rank + i].batches for i in (0, 1)), row.batches, strict=True):
                tokens = torch.cat([first.input_ids, second.input_ids], dim=1)
                assert torch.equal(tokens[:, : batch.input_ids.shape[1]], batch.input_ids)
                assert first.examples == second.examples == batch.examples and first.segments == second.segments
        assert all(replace(step, batches=()) == replace(rows[0], batches=()) for step in parts)


def test_the_world_size_must_fit_the_batch():
    with pytest.raises(ConfigError, match=r"sequence_parallel=2 does not divide the 3 rank\(s\)"):
        PackLoader(INDEX, config(sequence_parallel=2), 0, 3)
    with pytest.raises(ConfigError, match=r"dp_world_size = 1 x 3"):
        PackLoader(INDEX, config(), 0, 3)


@pytest.mark.parametrize("world_size", [1, 2])
def test_evaluation_takes_each_chosen_row_once(world_size):
    rows = np.arange(0, 60, 3)
    ranks = [list(evaluation_steps(INDEX, config().batch, rank, world_size, rows)) for rank in range(world_size)]
    seen = sorted(row for steps in ranks for step in steps for batch in step.batches for row in batch.examples)
    assert seen == rows.tolist() and len({len(steps) for steps in ranks}) == 1
    assert sum(step.num_targets for step in ranks[0]) == INDEX.num_targets[rows].sum()
    assert not list(evaluation_steps(INDEX, config().batch, rows=np.array([], dtype=int)))
