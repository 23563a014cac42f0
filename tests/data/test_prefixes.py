"""Laws of shared prefixes: the order of rows, what they share, and the trie that follows from integers alone."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import lay_rows, shared_rows

from fcdist.data.prefixes import CommonPrefixes, lay_out, shared_depths, sort_prefixes


def common_tokens(a, b):
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def sort_slowly(rows):
    order = sorted(range(len(rows)), key=lambda i: (rows[i], i))
    common = {b: common_tokens(rows[a], rows[b]) for a, b in pairwise(order)}
    return [order.index(i) for i in range(len(rows))], [common.get(i, 0) for i in range(len(rows))]


@settings(max_examples=150, deadline=None)
@given(shared_rows(), st.randoms())
def test_rows_are_sorted_and_share_what_their_tokens_share(rows, random):
    tokens, starts, lengths = lay_rows(rows)
    again = [random.randrange(len(rows)) for _ in range(3)]  # the same record several times
    starts, lengths = np.append(starts, starts[again]), np.append(lengths, lengths[again])
    place, common = sort_prefixes(tokens, starts, lengths)
    expected = sort_slowly([*rows, *(rows[i] for i in again)])
    assert (place.tolist(), common.tolist()) == expected
    assert place.dtype == np.int64 and common.dtype == np.int32


def test_long_shared_stretches_and_rows_at_the_end_of_the_store_are_compared_to_the_last_token():
    base = np.random.default_rng(0).integers(0, 9, 3000).tolist()
    rows = [base[:2999], base, [*base[:2000], 9], base[:16], [*base[:2000], 9, 9], base]
    place, common = sort_prefixes(*lay_rows(rows))
    assert (place.tolist(), common.tolist()) == sort_slowly(rows)
    empty = np.zeros(0, dtype=np.int64)
    assert [len(found) for found in sort_prefixes(np.zeros(0, dtype=np.int32), empty, empty)] == [0, 0]


@settings(max_examples=100, deadline=None)
@given(shared_rows(), st.data())
def test_common_prefixes_of_any_two_rows_follow_from_two_integers_a_row(rows, data):
    place, common = sort_prefixes(*lay_rows(rows))
    by_place = np.argsort(place)
    count = len(rows)
    if count < 2:
        return
    low = np.array(data.draw(st.lists(st.integers(0, count - 2), min_size=1, max_size=9)))
    high = np.array([data.draw(st.integers(int(i) + 1, count - 1)) for i in low])
    expected = [common_tokens(rows[by_place[i]], rows[by_place[j]]) for i, j in zip(low, high, strict=True)]
    assert CommonPrefixes(place, common).between(low, high).tolist() == expected


def share_slowly(rows, min_shared):
    """[n] what each of the sorted `rows` takes from those before it: the rule, top down, on token lists."""
    shared = [0] * len(rows)

    def descend(first, last, kept):  # rows [first, last) hang on a branch point at depth `kept`
        if last - first < 2:
            return
        between = [common_tokens(rows[i - 1], rows[i]) for i in range(first + 1, last)]
        lowest = min(between)
        depth = lowest if lowest - kept >= min_shared else kept
        cuts = [first, *(first + 1 + i for i, c in enumerate(between) if c == lowest), last]
        for begin in cuts[1:-1]:
            shared[begin] = depth
        for begin, end in pairwise(cuts):
            descend(begin, end, depth)

    descend(0, len(rows), 0)
    return shared


@settings(max_examples=200, deadline=None)
@given(st.lists(shared_rows(), min_size=1, max_size=3), st.integers(1, 6))
def test_a_branch_is_opened_where_the_stretch_above_it_is_worth_it(packs, min_shared):
    packs = [sorted(rows) for rows in packs]
    common = [0 if i == 0 else common_tokens(rows[i - 1], rows[i]) for rows in packs for i in range(len(rows))]
    is_first = np.concatenate([np.arange(len(rows)) == 0 for rows in packs])
    shared = shared_depths(np.array(common), is_first, min_shared)
    assert shared.tolist() == [depth for rows in packs for depth in share_slowly(rows, min_shared)]


@settings(max_examples=200, deadline=None)
@given(shared_rows(), st.integers(1, 6))
def test_each_row_is_the_chain_of_its_segments(rows, min_shared):
    rows = sorted(rows)
    common = np.array([0 if i == 0 else common_tokens(rows[i - 1], rows[i]) for i in range(len(rows))])
    shared = shared_depths(common, np.arange(len(rows)) == 0, min_shared)
    lengths = np.array([len(row) for row in rows])
    forest = lay_out(lengths, shared)
    flat = np.array([token for row, depth in zip(rows, shared, strict=True) for token in row[depth:]])
    assert forest.start[0] == 0 and forest.end[-1] == len(flat) and (forest.start[1:] == forest.end[:-1]).all()
    assert (forest.start < forest.end).all()
    for i, row in enumerate(rows):
        depths = np.arange(len(row))
        places = forest.find(np.full(len(row), i), depths)
        assert flat[places].tolist() == row
        segments = np.unique(np.searchsorted(forest.start, places, side="right") - 1)
        chain = [int(segments[-1])]
        while forest.parent[chain[0]] >= 0:
            chain.insert(0, int(forest.parent[chain[0]]))
        assert segments.tolist() == chain  # it lies on nothing but a leaf and its ancestors
        assert [t for s in chain for t in range(forest.start[s], forest.end[s])][: len(row)] == places.tolist()
        assert forest.first_position[chain].tolist() == depths[np.searchsorted(places, forest.start[chain])].tolist()


@pytest.mark.parametrize(
    ("rows", "min_shared", "shared"),
    [
        (["abcd", "abcd", "abcd"], 2, [0, 4, 4]),  # the same record
        (["ab", "abc", "abcd"], 2, [0, 2, 2]),  # each begins the next; one more token is not worth a branch
        (["ab", "abc", "abcd"], 1, [0, 2, 3]),
        (["abcx", "abcy", "abz"], 3, [0, 3, 0]),  # two tokens with the third are too few, three with the second not
        (["abcx", "abcy", "abz"], 2, [0, 2, 2]),
    ],
)
def test_small_tries(rows, min_shared, shared):
    common = np.array([0, *(common_tokens(a, b) for a, b in pairwise(rows))])
    found = shared_depths(common, np.arange(len(rows)) == 0, min_shared)
    assert found.tolist() == shared
