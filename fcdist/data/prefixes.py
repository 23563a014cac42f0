"""What examples share: their token sequences in lexicographic order, and the trie of any choice of them.

`sort_prefixes` runs once per store. From its two integers a row - the place in the order, and the tokens in common with
the row one place before - everything else follows without a look at the tokens: what two rows share is the minimum of
`common` over the places between them, so a planner can weigh any choice of rows.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

BLOCK = 16
"""Tokens compared at first; doubled up to MAX_BLOCK while rows agree."""
MAX_BLOCK = 512
CHUNK_TOKENS = 1 << 22
"""Tokens held in memory at once while rows are compared."""


def sort_prefixes(tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort rows by their tokens, and count what neighbours share.

    A multikey quicksort, all classes of a round at once: rows that agree so far are compared with one of them up to
    the first difference, which orders them by where and how they differ. So a long shared prompt is read about once
    for each of its rows.

    Args:
        tokens: [sum] int32, memory-mapped or not; none negative.
        starts: [N] first token of each row; rows may overlap or be the same.
        lengths: [N] tokens of each row.

    Returns:
        place: [N] int64, position of each row when all rows are sorted lexicographically (a row that begins another
            comes before it; equal rows by row number).
        common: [N] int32, tokens each row shares with the row one place before it; 0 for the first.

    Source: Bentley and Sedgewick 1997, Fast algorithms for sorting and searching strings.
    """
    tokens = np.asarray(tokens)
    starts, lengths = np.asarray(starts, dtype=np.int64), np.asarray(lengths, dtype=np.int64)
    count = len(starts)
    order = np.arange(count)
    common = np.zeros(count, dtype=np.int32)  # by place
    places = np.arange(count)  # places whose rows are not yet told apart, ascending
    classes = np.zeros(count, dtype=np.int64)  # of each of these places: the first place of its class
    known = np.zeros(count, dtype=np.int64)  # tokens on which its class agrees
    while len(places):
        rows = order[places]
        first = np.flatnonzero(np.diff(classes, prepend=-1))
        sizes = np.diff(first, append=len(places))
        pivots = np.repeat(rows[first + sizes // 2], sizes)
        limit = np.minimum(lengths[rows], lengths[pivots]) - known
        shared = known + _common_lengths(tokens, starts[rows] + known, starts[pivots] + known, limit)
        token = _next_token(tokens, starts[rows], lengths[rows], shared)
        pivot_token = _next_token(tokens, starts[pivots], lengths[pivots], shared)
        far = np.int64(1) << 32
        rank = np.where(token < pivot_token, shared - far, np.where(token > pivot_token, far - shared, 0))
        by_token = np.lexsort((token, rank, classes))  # stable: equal rows stay in the order of their numbers
        order[places] = rows[by_token]
        rank, token, shared = rank[by_token], token[by_token], shared[by_token]
        same_class = np.diff(classes, prepend=-1) == 0
        same = same_class & (np.diff(rank, prepend=0) == 0) & (np.diff(token, prepend=-2) == 0)
        neighbours = np.minimum(shared, np.roll(shared, 1))
        common[places[same_class]] = neighbours[same_class]
        begins = np.maximum.accumulate(np.where(same, 0, np.arange(len(places))))
        open_ = (token >= 0) & (same | np.append(same[1:], False))
        places, classes, known = places[open_], places[begins[open_]], shared[open_] + 1
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    return place, common[place]


def _next_token(tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray, at: np.ndarray) -> np.ndarray:
    """[n] the token `at` tokens into each row; -1 where the row ends there."""
    ended = at >= lengths
    if not len(tokens):
        return np.full(len(at), -1, dtype=np.int64)
    return np.where(ended, -1, tokens[np.where(ended, 0, starts + at)].astype(np.int64))


def _common_lengths(tokens: np.ndarray, a: np.ndarray, b: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """[n] tokens on which the stretches from `a` and from `b` agree, at most `limit`."""
    common = limit.copy()
    open_ = np.flatnonzero((a != b) & (limit > 0))
    done, width = 0, BLOCK
    while len(open_):
        agree = []
        rows = max(1, CHUNK_TOKENS // width)
        for first in range(0, len(open_), rows):
            pairs = open_[first : first + rows]
            differ = _windows(tokens, a[pairs] + done, width) != _windows(tokens, b[pairs] + done, width)
            where = differ.argmax(axis=1)
            found = differ[np.arange(len(pairs)), where]
            common[pairs[found]] = np.minimum(limit[pairs[found]], done + where[found])
            agree.append(pairs[~found & (limit[pairs] > done + width)])
        open_ = np.concatenate(agree)
        done, width = done + width, min(2 * width, MAX_BLOCK)
    return common


def _windows(tokens: np.ndarray, first: np.ndarray, width: int) -> np.ndarray:
    """[n, width] tokens from each of `first`; past the end of the store its last one, which no row's limit reaches."""
    if len(first) and int(first.max()) + width <= len(tokens):
        windows: np.ndarray = sliding_window_view(tokens, width)[first]
        return windows
    inside: np.ndarray = tokens[np.minimum(first[:, None] + np.arange(width), len(tokens) - 1)]
    return inside
