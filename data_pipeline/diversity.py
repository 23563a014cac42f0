"""How varied user turns are, in figures that published data sets can be held against.

distinct-2 (Li et al. 2016, arXiv:1510.03055): distinct bigrams per bigram, over the first 3,000 tokens, because the
figure falls with the amount of text. Self-BLEU-4 (Zhu et al. 2018, arXiv:1802.01886): mean BLEU-4 of each turn of a
sample against all other turns of the sample; it rises with the sample's size, which is therefore fixed. Opening: share
of turns that begin with the most common four tokens. A token is a word, in Chinese a character.
"""

import heapq
import math
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from data_pipeline.decontaminate import tool_signature
from data_pipeline.words import joined, language_of, tokens, user_turns
from fcdist.config.seeds import derive_seed
from fcdist.schema.conversation import Conversation

FIRST_TOKENS = 3000
SAMPLE = 300
"""Turns behind self-BLEU."""
OPENING = 4
_ORDER = 4
_EPSILON = 0.1
"""Matches an n-gram order counts as when it has none (method 1 of Chen and Cherry 2014), as in Texygen."""

Tokens = Sequence[str]


@dataclass(frozen=True, slots=True)
class Diversity:
    """Figures of one language. None: too little text."""

    turns: int
    distinct_2: float | None
    self_bleu_4: float | None
    opening: float | None
    """Share of turns of at least four tokens that begin with the most common four."""
    opening_text: str
    tool_signatures: int
    """Distinct tools by name, parameter names and types."""


def distinct_2(turns: Sequence[Tokens]) -> float | None:
    """Distinct bigrams per bigram; none crosses from one turn to the next."""
    bigrams = [pair for turn in turns for pair in pairwise(turn)]
    return len(set(bigrams)) / len(bigrams) if bigrams else None


def self_bleu(turns: Sequence[Tokens]) -> float | None:
    """Mean BLEU-4 of each turn against all others, from 0 (nothing in common) to 1 (all said twice).

    Turns of fewer than four tokens have no 4-gram and are left out. None for fewer than two turns.
    """
    turns = [turn for turn in turns if len(turn) >= _ORDER]
    if len(turns) < 2:
        return None
    counts = [[Counter(_ngrams(turn, order)) for order in range(1, _ORDER + 1)] for turn in turns]
    # For the most frequent use of an n-gram among the *other* turns, the two most frequent among all suffice.
    highest: dict[tuple[str, ...], tuple[int, int]] = {}
    for orders in counts:
        for of_turn in orders:
            for gram, count in of_turn.items():
                first, second = highest.get(gram, (0, 0))
                highest[gram] = (count, first) if count > first else (first, max(second, count))
    lengths = Counter(len(turn) for turn in turns)
    return sum(_bleu(orders, highest, lengths) for orders in counts) / len(counts)


class DiversityMeter:
    """Takes conversations one by one; its memory does not grow, because distinct openings and tools lie on disk."""

    def __init__(self, database: sqlite3.Connection, seed: int = 0) -> None:
        self._database = database
        self._seed = seed
        self._turns: Counter[str] = Counter()
        self._long: Counter[str] = Counter()
        self._first: dict[str, list[list[str]]] = {}
        self._num_first: Counter[str] = Counter()
        self._sample: dict[str, list[tuple[int, int, list[str]]]] = {}
        database.executescript(
            """
            CREATE TABLE openings (language TEXT, words TEXT, turns INTEGER, PRIMARY KEY (language, words))
                WITHOUT ROWID;
            CREATE TABLE signatures (language TEXT, signature TEXT, PRIMARY KEY (language, signature)) WITHOUT ROWID;
            """
        )

    def add(self, conversation: Conversation) -> None:
        """Count the user turns and tools of a conversation."""
        language = language_of(conversation)
        for turn in user_turns(conversation):
            self._add_turn(language, tokens(turn))
        signatures = [(language, tool_signature(tool)) for tool in conversation.tools]
        self._database.executemany("INSERT OR IGNORE INTO signatures VALUES (?, ?)", signatures)

    def figures(self) -> dict[str, Diversity]:
        """Figures by language, sorted by its name."""
        return {language: self._figures_of(language) for language in sorted(self._turns)}

    def num_tool_signatures(self) -> int:
        """Distinct tool signatures over all languages."""
        return int(self._database.execute("SELECT COUNT(DISTINCT signature) FROM signatures").fetchone()[0])

    def _add_turn(self, language: str, words: list[str]) -> None:
        number = self._turns[language]
        self._turns[language] += 1
        if self._num_first[language] < FIRST_TOKENS:
            self._first.setdefault(language, []).append(words[: FIRST_TOKENS - self._num_first[language]])
            self._num_first[language] += len(words)
        if len(words) < OPENING:
            return
        self._long[language] += 1
        self._database.execute(
            "INSERT INTO openings VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET turns = turns + 1",
            (language, " ".join(words[:OPENING])),
        )
        # The turns with the smallest draws are a uniform sample, whatever their number turns out to be.
        draw = (-derive_seed(self._seed, "self_bleu", language, number), number, words)
        sample = self._sample.setdefault(language, [])
        if len(sample) < SAMPLE:
            heapq.heappush(sample, draw)
        else:
            heapq.heappushpop(sample, draw)

    def _figures_of(self, language: str) -> Diversity:
        most = self._database.execute(
            "SELECT words, turns FROM openings WHERE language = ? ORDER BY turns DESC, words LIMIT 1", (language,)
        ).fetchone()
        tools = self._database.execute("SELECT COUNT(*) FROM signatures WHERE language = ?", (language,)).fetchone()
        return Diversity(
            turns=self._turns[language],
            distinct_2=distinct_2(self._first.get(language, [])),
            self_bleu_4=self_bleu([words for _, _, words in self._sample.get(language, [])]),
            opening=most[1] / self._long[language] if most else None,
            opening_text=joined(most[0].split()) if most else "",
            tool_signatures=tools[0],
        )


def _ngrams(turn: Tokens, order: int) -> Iterator[tuple[str, ...]]:
    return (tuple(turn[i : i + order]) for i in range(len(turn) - order + 1))


def _bleu(
    orders: list[Counter[tuple[str, ...]]], highest: dict[tuple[str, ...], tuple[int, int]], lengths: Counter[int]
) -> float:
    log_sum = 0.0
    for of_turn in orders:
        matched = 0
        for gram, count in of_turn.items():
            first, second = highest[gram]
            matched += min(count, second if count == first else first)
        log_sum += math.log((matched or _EPSILON) / of_turn.total())
    length = orders[0].total()
    others = lengths.copy()
    others[length] -= 1
    closest = min((other for other, count in others.items() if count), key=lambda other: (abs(other - length), other))
    return math.exp(log_sum / _ORDER + min(0.0, 1 - closest / length))
