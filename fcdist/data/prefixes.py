"""What examples share: their token sequences in lexicographic order, and the trie of any choice of them.

`sort_prefixes` runs once per store. From its two integers a row - the place in the order, and the tokens in common with
the row one place before - everything else follows without a look at the tokens: what two rows share is the minimum of
`common` over the places between them, so a planner can weigh any choice of rows.
"""

from bisect import bisect_left
from dataclasses import dataclass

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


class CommonPrefixes:
    """Tokens that any two rows of a store share: a sparse table over `common`, 4 N log2(N) bytes."""

    def __init__(self, places: np.ndarray, common: np.ndarray) -> None:
        """Take both columns of the index, [N] by row."""
        by_place = np.zeros(len(places), dtype=np.int32)
        by_place[places] = common
        self._levels = [by_place]
        while (half := 1 << (len(self._levels) - 1)) * 2 <= len(by_place):
            last = self._levels[-1]
            self._levels.append(np.minimum(last[:-half], last[half:]))

    def between(self, low: np.ndarray, high: np.ndarray) -> np.ndarray:
        """[n] tokens shared by the rows at places `low` and `high`; each `low` is below its `high`."""
        level = np.frexp((high - low).astype(np.float64))[1] - 1
        common = np.empty(len(low), dtype=np.int64)
        for i in np.unique(level).tolist():
            pairs = np.flatnonzero(level == i)
            table = self._levels[i]
            common[pairs] = np.minimum(table[low[pairs] + 1], table[high[pairs] + 1 - (1 << i)])
        return common


def shared_depths(common: np.ndarray, is_first: np.ndarray, min_shared_tokens: int) -> np.ndarray:
    """How many tokens each row takes from the rows before it, for many packs at once.

    A branch point of the full trie is kept if the stretch from the branch point kept above it has at least
    `min_shared_tokens` tokens; what lies below one that is not kept hangs on the one above it. So the own part of a row
    is `[shared, length)`, a pack has `sum(length - shared)` tokens, and they attend to
    `sum(length * (length + 1) - shared * (shared + 1)) / 2` pairs.

    Args:
        common: [n] tokens shared with the row before; rows of each pack by place, one pack after the other.
        is_first: [n] bool, first row of its pack.
        min_shared_tokens: shortest stretch that is worth a branch; at least 1.

    Returns:
        [n] int64, at most `common`; 0 for the first row of a pack and for every other root.
    """
    depths = np.where(is_first | (common < min_shared_tokens), 0, common).astype(np.int64)
    if not depths.any():
        return depths
    # An entry is a branch point over the rows around it; the branch point above it is the nearest smaller neighbour.
    before, after = _smaller_before(depths), len(depths) - _smaller_before(np.append(0, depths[::-1]))[:0:-1]
    padded = np.append(depths, 0)
    above = np.where(padded[before] >= padded[after], before, after)
    kept = np.where(padded > 0, -1, 0)
    open_ = np.flatnonzero(padded)
    while len(open_):
        ready = kept[above[open_]] >= 0
        entries = open_[ready]
        over = kept[above[entries]]
        kept[entries] = np.where(padded[entries] - over >= min_shared_tokens, padded[entries], over)
        open_ = open_[~ready]
    return kept[:-1]


def _smaller_before(values: np.ndarray) -> np.ndarray:
    """[n] index of the last smaller entry before each entry; its own index where the entry is 0, the least."""
    before = np.where(values > 0, np.arange(len(values)) - 1, np.arange(len(values)))
    open_ = np.flatnonzero(values > 0)
    while len(open_ := open_[values[before[open_]] >= values[open_]]):
        before[open_] = before[before[open_]]  # all entries between are no smaller
    return before


@dataclass(frozen=True, slots=True)
class Forest:
    """Rows of packs laid out as a forest: each row stores only what it does not take from the rows before it."""

    own_start: np.ndarray
    """[n] where the own part of each row begins in the flat row."""
    shared: np.ndarray
    """[n] tokens each row takes from others."""
    owner: np.ndarray
    """[n] row before it that holds the last of these tokens; itself for a root."""
    start: np.ndarray
    """[S] first token of each segment, ascending; the last ends the flat row."""
    end: np.ndarray
    parent: np.ndarray
    """[S] segment; -1 for a root."""
    first_position: np.ndarray

    def find(self, rows: np.ndarray, depths: np.ndarray) -> np.ndarray:
        """[m] where token `depths` (0 or more) of row `rows` lies in the flat row."""
        rows = rows.copy()
        open_ = np.flatnonzero((depths >= 0) & (depths < self.shared[rows]))
        while len(open_):
            rows[open_] = self.owner[rows[open_]]
            open_ = open_[depths[open_] < self.shared[rows[open_]]]
        places: np.ndarray = self.own_start[rows] + depths - self.shared[rows]
        return places


def lay_out(lengths: np.ndarray, shared: np.ndarray) -> Forest:
    """Cut rows into segments in depth-first order.

    Args:
        lengths: [n] tokens of each row, rows ordered as for `shared_depths`.
        shared: [n] from there.
    """
    lengths, shared = np.asarray(lengths, dtype=np.int64), np.asarray(shared, dtype=np.int64)
    own = lengths - shared
    own_start = np.cumsum(own) - own
    owner = _smaller_before(shared)
    branches = np.flatnonzero(shared)
    inside = branches[shared[branches] < lengths[owner[branches]]]  # else the branch leaves at the owner's end
    key = 32  # bits of a depth
    rows = np.flatnonzero(own)
    keys = np.unique(np.concatenate([rows << key | shared[rows], owner[inside] << key | shared[inside]]))
    row, depth = keys >> key, keys & ((1 << key) - 1)
    start = own_start[row] + depth - shared[row]
    parent = np.arange(len(keys)) - 1
    heads = np.flatnonzero(depth == shared[row])
    above = np.searchsorted(keys, owner[row[heads]] << key | (depth[heads] - 1), side="right") - 1
    parent[heads] = np.where(depth[heads] > 0, above, -1)
    return Forest(own_start, shared, owner, start, np.append(start[1:], own.sum()), parent, depth)


def choose_places(
    place: np.ndarray, common: np.ndarray, rows: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`place` and `common` of a choice of rows, as `sort_prefixes` would find them in their tokens.

    Args:
        place: [N] of all rows.
        common: [N] of all rows.
        rows: [n] chosen; a row may stand several times.
        lengths: [N] tokens of all rows.

    Returns:
        place: [n] int64; common: [n] int32.
    """
    order = np.argsort(place[rows], kind="stable")
    by_place = np.zeros(len(place) + 1, dtype=np.int32)
    by_place[place] = common
    at = place[rows][order]
    shared = np.zeros(len(rows), dtype=np.int32)
    if len(rows) > 1:
        minima = np.minimum.reduceat(by_place, at + 1)[:-1]  # over the places from one, exclusive, to the next
        shared[1:] = np.where(at[1:] == at[:-1], lengths[rows][order][1:], minima)
    chosen = np.empty(len(rows), dtype=np.int64)
    chosen[order] = np.arange(len(rows))
    return chosen, shared[chosen]


def prefix_groups(place: np.ndarray, common: np.ndarray, prefix_lens: np.ndarray) -> np.ndarray:
    """Number the prefix groups: rows of one begin with the same `prefix_len` tokens.

    Rows are visited in the order of their tokens, along with the prefixes that the last row begins with, shortest
    first; a row ends those that are longer than what it shares with the row before.

    Returns:
        [N] int32, numbered in the order in which rows first come to them.
    """
    rows = np.argsort(place)
    groups = np.zeros(len(rows), dtype=np.int64)
    open_: list[tuple[int, int]] = []  # (length of the prefix, group)
    count = 0
    for row, length, shared in zip(rows.tolist(), prefix_lens[rows].tolist(), common[rows].tolist(), strict=True):
        while open_ and open_[-1][0] > shared:
            open_.pop()
        at = bisect_left(open_, (length, -1))
        if at == len(open_) or open_[at][0] != length:
            open_.insert(at, (length, count))
            count += 1
        groups[row] = open_[at][1]
    first = np.empty(count, dtype=np.int64)
    first[groups[::-1]] = np.arange(len(groups))[::-1]  # the last to be written is the first row
    order = np.empty(count, dtype=np.int32)
    order[np.argsort(first)] = np.arange(count)
    return order[groups]
