"""Counts and samples behind a data card, taken conversation by conversation in bounded memory."""

import heapq
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from data_pipeline.exports import assistant_text
from data_pipeline.words import language_of, tokens, user_turns
from fcdist.config.seeds import derive_seed
from fcdist.schema.conversation import Conversation

_SIDES = ("train", "validation", "removed", "rejected")
LENGTHS = {
    "turns": "user turns in a conversation",
    "words": "tokens in a user turn",
    "tools": "tools offered",
    "calls": "calls in a conversation",
    "characters": "characters in a conversation, tools included",
}
"""What the card draws as histograms."""
_BOUNDS = {
    "turns": (1, 2, 3, 4, 6, 8, 12),
    "words": (3, 5, 8, 12, 16, 24, 32, 48, 64, 96),
    "tools": (0, 1, 2, 3, 4, 6, 8, 12, 20, 40),
    "calls": (0, 1, 2, 3, 4, 6, 8),
    "characters": (500, 1000, 2000, 4000, 8000, 16000, 32000),
}
"""Upper ends of the bars; one more holds all above."""


@dataclass(slots=True)
class CardFacts:
    """Facts of the kept conversations and samples of kept and refused ones.

    Args:
        samples: shown of each category and language, and of each reason.
        seed: chooses them.
    """

    samples: int
    seed: int
    sides: Counter[str] = field(default_factory=Counter)
    """Conversations in `train` and `validation`."""
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Conversations by (category, language)."""
    sources: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Conversations by (source, licence)."""
    lengths: dict[str, Counter[int]] = field(default_factory=lambda: {name: Counter() for name in LENGTHS})
    """Measure → bar → count."""
    thoughts: Counter[bool] = field(default_factory=Counter)
    """Calls with and without a thought before them."""
    _chosen: dict[tuple[str, ...], list[tuple[int, int, dict[str, Any]]]] = field(default_factory=dict)
    _seen: int = 0

    def add(self, conversation: Conversation, side: str) -> None:
        """Count a kept conversation."""
        language = language_of(conversation)
        category = conversation.category or "unlabelled"
        licence = str((conversation.metadata or {}).get("licence") or "")
        self.sides[side] += 1
        self.cells[category, language] += 1
        self.sources[conversation.source or "unnamed", licence] += 1
        turns = user_turns(conversation)
        calling = [message for message in conversation.messages if message.tool_calls]
        self._measure("turns", len(turns))
        for turn in turns:
            self._measure("words", len(tokens(turn)))
        self._measure("tools", len(conversation.tools))
        self._measure("calls", sum(len(message.tool_calls) for message in calling))
        wire = conversation.to_wire()
        wire.pop("metadata", None)
        self._measure("characters", len(json.dumps(wire, ensure_ascii=False)))
        for message in calling:
            self.thoughts[message.thought is not None] += 1
        self._sample((side, category, language), conversation, {"side": side})

    def add_refused(self, conversation: Conversation, side: str, reason: str, detail: str = "") -> None:
        """Take a conversation that a gate (`side` rejected) or the merge (`removed`) left out into the samples."""
        self._sample((side, reason), conversation, {"side": side, "reason": reason, "detail": detail})

    def shown(self) -> list[dict[str, Any]]:
        """The samples: kept ones first, and within a side one of each kind after the other."""
        order = {side: number for number, side in enumerate(_SIDES)}
        ranked = [
            (order[key[0]], place, key, item)
            for key, chosen in self._chosen.items()
            for place, (_, _, item) in enumerate(sorted(chosen, key=lambda drawn: -drawn[0]))
        ]
        return [item for _, _, _, item in sorted(ranked, key=lambda entry: entry[:3])]

    def histograms(self) -> dict[str, list[tuple[str, int]]]:
        """Measure → (label of the bar, count), without empty bars at the ends."""
        return {name: _bars(_BOUNDS[name], counts) for name, counts in self.lengths.items()}

    def _measure(self, name: str, value: int) -> None:
        bounds = _BOUNDS[name]
        self.lengths[name][next((i for i, upper in enumerate(bounds) if value <= upper), len(bounds))] += 1

    def _sample(self, key: tuple[str, ...], conversation: Conversation, facts: Mapping[str, str]) -> None:
        """Keep the conversations with the smallest draws: a uniform sample, however many there are."""
        if not self.samples:
            return
        self._seen += 1
        draw = -derive_seed(self.seed, "card", *key, self._seen)
        chosen = self._chosen.setdefault(key, [])
        if len(chosen) == self.samples and draw <= chosen[0][0]:
            return
        item = (draw, self._seen, {**facts, **_readable(conversation)})
        if len(chosen) < self.samples:
            heapq.heappush(chosen, item)
        else:
            heapq.heapreplace(chosen, item)


def _bars(bounds: tuple[int, ...], counts: Mapping[int, int]) -> list[tuple[str, int]]:
    if not counts:
        return []
    lower = [0, *(bound + 1 for bound in bounds)]
    labels = [str(b) if low == b else f"{low}–{b}" for low, b in zip(lower, bounds, strict=False)]
    labels[0] = str(bounds[0]) if bounds[0] < 2 else f"≤ {bounds[0]}"
    labels.append(f"> {bounds[-1]}")
    return [(labels[i], counts.get(i, 0)) for i in range(min(counts), max(counts) + 1)]


def _readable(conversation: Conversation) -> dict[str, Any]:
    """A conversation as the browser of the card shows it."""
    return {
        "id": conversation.id,
        "category": conversation.category or "unlabelled",
        "language": language_of(conversation),
        "turns": [
            [message.role, assistant_text(message) if message.role == "assistant" else message.content or ""]
            for message in conversation.messages
        ],
        "tools": [
            f"{tool.name}({', '.join(tool.parameters.get('properties') or {})}): {tool.description}"
            for tool in conversation.tools
        ],
    }
