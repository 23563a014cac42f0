"""Laws of a batch with shared prefixes: what goes in comes out, example by example and target by target."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import TokenRows, shared_rows

from fcdist.data.collating import collate


@st.composite
def stores(draw):
    """Rows that begin alike; targets also inside shared stretches, and on the same token in one row but not another."""
    rows = draw(shared_rows())
    kinds = [[0, *draw(st.lists(st.integers(0, 4), min_size=len(r) - 1, max_size=len(r) - 1))] for r in rows]
    return TokenRows(rows, kinds)


def chain(segments, place):
    """Places of the flat row from the root to `place`."""
    segment = next(i for i in range(len(segments.start)) if segments.start[i] <= place < segments.end[i])
    above = [t for i in segments.ancestors(segment) for t in range(segments.start[i], segments.end[i])]
    return [*above, *range(segments.start[segment], place + 1)]


def unpack(batch):
    """Counter of (tokens up to the predicting one, target, kind) → weight."""
    found = Counter()
    ids = batch.input_ids[0].tolist()
    columns = (batch.target_index, batch.target_ids, batch.target_kinds, batch.target_weights)
    for index, target, kind, weight in zip(*(column.tolist() for column in columns), strict=True):
        places = chain(batch.segments, index)
        assert batch.position_ids[0, places].tolist() == list(range(len(places)))
        found[(tuple(ids[place] for place in places), target, kind)] += weight
    return found


@settings(max_examples=150, deadline=None)
@given(stores(), st.integers(0, 6), st.integers(1, 3), st.randoms())
def test_a_batch_gives_back_every_example_and_every_target(store, min_shared, num_packs, random):
    rows = list(range(len(store)))
    random.shuffle(rows)
    packs = [rows[i::num_packs] for i in range(num_packs)]
    batch = collate(store, packs, min_shared)
    assert sorted(batch.examples) == sorted(rows)
    assert batch.target_weights.sum() == max(0, sum((store.example(row).kinds > 0).sum() for row in rows))
    expected = Counter()
    for row in rows:
        tokens, kinds = store.example(row).input_ids.tolist(), store.example(row).kinds.tolist()
        expected += Counter((tuple(tokens[:t]), tokens[t], kinds[t]) for t in range(1, len(tokens)) if kinds[t])
    assert unpack(batch) == expected
    ids = batch.input_ids[0].tolist()
    nodes = {tuple(ids[place] for place in chain(batch.segments, t)) for t in range(len(ids))}
    assert all(tuple(store.example(row).input_ids.tolist()) in nodes for row in rows)
    assert len(ids) <= store.lengths.sum()
    columns = (batch.target_index, batch.target_ids, batch.target_kinds)
    triples = list(zip(*(column.tolist() for column in columns), strict=True))
    assert triples == sorted(set(triples))


def test_what_is_shared_is_stored_once_and_packs_stay_apart():
    prompt = list(range(10, 20))
    store = TokenRows(
        [[*prompt, 1], [2, 3, 4], [*prompt, 5, 6], prompt], [[0] * 10 + [1], [0, 1, 1], [0] * 12, [0] * 10]
    )
    batch = collate(store, [[0, 1, 2, 3]], 4)
    assert batch.input_ids[0].tolist() == [*prompt, 1, 5, 6, 2, 3, 4] and batch.examples == (3, 0, 2, 1)
    assert batch.segments.parent == (-1, 0, 0, -1) and batch.segments.first_position == (0, 10, 10, 0)
    assert collate(store, [[0, 1], [2, 3]], 4).segments.parent == (-1, -1, -1, 2)
    flat = collate(store, [[0, 1], [2, 3]])
    assert flat.segments.parent == (-1,) * 4 and flat.examples == (0, 1, 2, 3)


def test_a_target_that_examples_share_weighs_as_often():
    store = TokenRows([[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 6]], [[0, 2, 2, 2], [0, 2, 0, 2], [0, 2, 3, 2]])
    batch = collate(store, [[0, 1, 2]], 1)
    triples = [batch.target_index, batch.target_ids, batch.target_kinds, batch.target_weights]
    assert list(zip(*(t.tolist() for t in triples), strict=True)) == [
        (0, 2, 2, 3.0),  # all three predict 2 after 1
        (1, 3, 2, 1.0),  # a call for one, an answer for another, nothing for the third
        (1, 3, 3, 1.0),
        (2, 4, 2, 1.0),  # the branch point predicts the first token of every branch
        (2, 5, 2, 1.0),
        (2, 6, 2, 1.0),
    ]
    assert np.allclose(batch.target_weights.sum(), 8)
