"""Duplicates across shards, found in one pass with memory that does not grow: the index lies in a file.

Two conversations are near-duplicates when the sets of their shingles (three tokens in a row of delexicalised user
turns, and each call as name and parameter names) have a Jaccard similarity of at least a threshold. MinHash bands
propose candidates (Broder 1997; Leskovec et al., Mining of Massive Datasets, chapter 3); the similarity itself is
computed exactly, so nothing is ever removed by an estimate.
"""

import hashlib
import json
import sqlite3
from dataclasses import dataclass

import numpy as np
from rensa import RMinHash

from data_pipeline.words import decoded_arguments, delexicalised_turns
from fcdist.schema.conversation import Conversation

SHINGLE = 3
"""Tokens in a shingle: user turns are short, and one changed word destroys this many."""
NUM_BANDS, ROWS = 24, 5
"""Bands x rows of the signature: a pair of similarity 0.7 is proposed with probability 0.99, 0.8 with 0.9999."""
MAX_CANDIDATES = 64
"""Candidates compared exactly, those that share the most bands first."""
_MIX = np.array([0x9E3779B97F4A7C15 * (2 * i + 1) % 2**64 | 1 for i in range(ROWS)], dtype=np.uint64)
_BAND = np.arange(1, NUM_BANDS + 1, dtype=np.uint64) * np.uint64(0xD6E8FEB86659FD93)


@dataclass(frozen=True, slots=True)
class Collision:
    """An earlier conversation that another one is (nearly) equal to."""

    row: int
    """Number of the earlier conversation, counted from 0 over the whole input."""
    id: str
    similarity: float
    """Jaccard similarity of the shingles; 1 for equal conversations."""


def shingles(conversation: Conversation) -> list[str]:
    """Distinct shingles of a conversation, sorted; never empty."""
    found: set[str] = set()
    for turn in delexicalised_turns(conversation):
        # A turn shorter than a shingle is one as a whole.
        found |= {" ".join(turn[i : i + SHINGLE]) for i in range(max(1, len(turn) - SHINGLE + 1))}
    for message in conversation.messages:
        for call in message.tool_calls:
            found.add(f"{call.name}({','.join(sorted(decoded_arguments(call)))})")
    return sorted(found)


def acts(conversation: Conversation) -> str:
    """Number of calls of each assistant turn. The same words with other acts are a contrast, not a duplicate."""
    return ",".join(str(len(m.tool_calls)) for m in conversation.messages if m.role == "assistant")


def content_digest(conversation: Conversation) -> bytes:
    """Digest [16 bytes] of messages and tools: what training sees, without id and metadata."""
    wire = conversation.to_wire()
    text = json.dumps([wire["messages"], wire.get("tools", [])], ensure_ascii=False, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def band_keys(parts: list[str]) -> list[int]:
    """One key a band [NUM_BANDS]; conversations that share one are candidates."""
    sketch = RMinHash(num_perm=NUM_BANDS * ROWS, seed=0)
    sketch.update(parts)
    signature = np.array(sketch.digest(), dtype=np.uint64).reshape(NUM_BANDS, ROWS)
    keys = (signature * _MIX).sum(axis=1, dtype=np.uint64) ^ _BAND
    keys = (keys ^ (keys >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return [int(key) for key in keys.view(np.int64)]  # SQLite's integers are signed


class DuplicateIndex:
    """Kept conversations, by digest and by MinHash band.

    Args:
        database: where the index lies; nothing but SQLite's bounded page cache stays in memory.
        threshold: Jaccard similarity from which two conversations are near-duplicates; above 1: equal ones only.
    """

    def __init__(self, database: sqlite3.Connection, threshold: float) -> None:
        self._database = database
        self._threshold = threshold
        database.executescript(
            """
            CREATE TABLE exact (digest BLOB PRIMARY KEY, row INTEGER, id TEXT) WITHOUT ROWID;
            CREATE TABLE bands (key INTEGER, row INTEGER, PRIMARY KEY (key, row)) WITHOUT ROWID;
            CREATE TABLE sketches (row INTEGER PRIMARY KEY, id TEXT, acts TEXT, contrast TEXT, shingles BLOB);
            """
        )

    def add(
        self, row: int, conversation: Conversation, contrast: str | None = None
    ) -> tuple[str, Collision] | list[Collision]:
        """Look up a conversation and keep it unless it duplicates a kept one.

        Args:
            row: number of the conversation in the whole input; rows come in ascending order.
            conversation: to look up.
            contrast: pair it belongs to; conversations of one pair are alike on purpose and never duplicates.

        Returns:
            (`exact_duplicate` or `near_duplicate`, what it collides with), or, for a kept conversation, the earlier
            ones that sound alike but act differently: they must not stand on two sides of a split.
        """
        digest = content_digest(conversation)
        if equal := self._database.execute("SELECT row, id FROM exact WHERE digest = ?", (digest,)).fetchone():
            return "exact_duplicate", Collision(equal[0], equal[1], 1.0)
        alike: list[Collision] = []
        if self._threshold <= 1:
            parts = shingles(conversation)
            keys, hashed = band_keys(parts), _hashed(parts)
            doing = acts(conversation)
            for collision, its_acts, its_contrast in self._similar(keys, hashed):
                if its_acts == doing and (contrast is None or contrast != its_contrast):
                    return "near_duplicate", collision
                alike.append(collision)
            self._database.executemany("INSERT OR IGNORE INTO bands VALUES (?, ?)", [(key, row) for key in keys])
            self._database.execute(
                "INSERT INTO sketches VALUES (?, ?, ?, ?, ?)",
                (row, conversation.id, doing, contrast, hashed.tobytes()),
            )
        self._database.execute("INSERT INTO exact VALUES (?, ?, ?)", (digest, row, conversation.id))
        return alike

    def _similar(self, keys: list[int], hashed: np.ndarray) -> list[tuple[Collision, str, str | None]]:
        """Kept conversations at or above the threshold, the most similar first."""
        found = self._database.execute(
            "SELECT sketches.row, id, acts, contrast, shingles FROM sketches JOIN ("
            f"SELECT row, COUNT(*) AS shared FROM bands WHERE key IN ({','.join('?' * len(keys))}) "
            "GROUP BY row ORDER BY shared DESC, row LIMIT ?) AS near ON near.row = sketches.row",
            (*keys, MAX_CANDIDATES),
        )
        similar = []
        for row, identifier, doing, contrast, blob in found:
            other = np.frombuffer(blob, dtype=np.uint64)
            common = len(np.intersect1d(hashed, other, assume_unique=True))
            similarity = common / (len(hashed) + len(other) - common)
            if similarity >= self._threshold:
                similar.append((Collision(row, identifier, round(similarity, 4)), doing, contrast))
        return sorted(similar, key=lambda item: (-item[0].similarity, item[0].row))


def _hashed(parts: list[str]) -> np.ndarray:
    """Shingles as 64-bit digests [distinct shingles], ascending."""
    digests = b"".join(hashlib.blake2b(part.encode(), digest_size=8).digest() for part in parts)
    return np.unique(np.frombuffer(digests, dtype=np.uint64))
