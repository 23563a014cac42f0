"""Train and validation without leaks: what belongs together never stands on two sides.

Conversations are grouped by tool set, by contrast pair and by likeness (same words, other acts); groups that share a
conversation are one. Whole groups go to validation, in an order drawn from the seed, while they fit. All of it lies in
a database on disk, so that memory does not grow with the data.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from fcdist.config.seeds import derive_seed
from fcdist.schema.conversation import Conversation


def contrast_pair(conversation: Conversation) -> str | None:
    """Pair of a contrast conversation: `metadata["contrast"] = {"pair": id, "role": ...}`; None for all others."""
    contrast = (conversation.metadata or {}).get("contrast")
    if not isinstance(contrast, Mapping) or not isinstance(contrast.get("pair"), str):
        return None
    return str(contrast["pair"])


def tool_set_digest(conversation: Conversation) -> str:
    """Digest of the tools as offered, in any order; empty without tools."""
    if not conversation.tools:
        return ""
    wires = sorted(json.dumps(tool.to_wire(), ensure_ascii=False, sort_keys=True) for tool in conversation.tools)
    return hashlib.sha256("\n".join(wires).encode()).hexdigest()[:24]


class SplitGroups:
    """Groups of kept conversations (disjoint sets), and the choice of those that validate."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        database.executescript(
            """
            CREATE TABLE members (row INTEGER PRIMARY KEY, node INTEGER);
            CREATE TABLE nodes (node INTEGER PRIMARY KEY, key TEXT UNIQUE, parent INTEGER, size INTEGER DEFAULT 0,
                                place INTEGER, validates INTEGER DEFAULT 0);
            """
        )

    def add(self, row: int, keys: Sequence[str], alike: Sequence[int]) -> None:
        """Place a kept conversation.

        Args:
            row: its number in the input.
            keys: what it shares with others (tool set, contrast pair); at least one.
            alike: rows of earlier kept conversations that it must stay with.
        """
        nodes = [self._node(key) for key in keys]
        for other in alike:
            nodes += self._database.execute("SELECT node FROM members WHERE row = ?", (other,)).fetchone() or ()
        for node in nodes[1:]:
            self._unite(nodes[0], node)
        self._database.execute("INSERT INTO members VALUES (?, ?)", (row, nodes[0]))

    def choose(self, fraction: float, seed: int) -> int:
        """Mark groups for validation, at most `fraction` of all conversations. Returns how many that are."""
        nodes = self._database.execute("SELECT node, COUNT(*) FROM members GROUP BY node")
        total = 0
        sizes = self._database.cursor()
        for node, count in nodes:
            sizes.execute("UPDATE nodes SET size = size + ? WHERE node = ?", (count, self._root(node)))
            total += count
        # The first key of a group, not its number, decides its place: it does not depend on what stands before it.
        for root, key in self._database.execute("SELECT node, key FROM nodes WHERE size > 0"):
            sizes.execute("UPDATE nodes SET place = ? WHERE node = ?", (derive_seed(seed, "validation", key), root))
        chosen, room = 0, int(fraction * total + 1e-9)
        ordered = self._database.execute("SELECT node, size FROM nodes WHERE size > 0 ORDER BY place, key")
        for root, size in ordered:
            if chosen + size <= room:
                sizes.execute("UPDATE nodes SET validates = 1 WHERE node = ?", (root,))
                chosen += size
            if chosen == room:
                break
        return chosen

    def sides(self) -> Iterator[tuple[int, bool]]:
        """Yield (row, whether it validates) of every kept conversation, in input order."""
        for row, node in self._database.execute("SELECT row, node FROM members ORDER BY row"):
            root = self._root(node)
            validates = self._database.execute("SELECT validates FROM nodes WHERE node = ?", (root,)).fetchone()
            yield row, bool(validates[0])

    def _node(self, key: str) -> int:
        found = self._database.execute("SELECT node FROM nodes WHERE key = ?", (key,)).fetchone()
        if found:
            return int(found[0])
        node = self._database.execute("INSERT INTO nodes (key) VALUES (?)", (key,)).lastrowid
        assert node is not None
        self._database.execute("UPDATE nodes SET parent = node WHERE node = ?", (node,))
        return node

    def _root(self, node: int) -> int:
        path = []
        while (parent := self._parent(node)) != node:
            path.append(node)
            node = parent
        if len(path) > 1:  # shorten the way for the next time
            shorter = [(node, passed) for passed in path[:-1]]
            self._database.executemany("UPDATE nodes SET parent = ? WHERE node = ?", shorter)
        return node

    def _parent(self, node: int) -> int:
        return int(self._database.execute("SELECT parent FROM nodes WHERE node = ?", (node,)).fetchone()[0])

    def _unite(self, one: int, other: int) -> None:
        first, second = sorted((self._root(one), self._root(other)))
        if first != second:
            self._database.execute("UPDATE nodes SET parent = ? WHERE node = ?", (first, second))
