"""Diversity figures against values worked out by hand and by brute force."""

import math
import random
import sqlite3
from collections import Counter

import pytest
from merge_fakes import WORDS, chatted, tool

from data_pipeline.diversity import FIRST_TOKENS, DiversityMeter, distinct_2, self_bleu


def bleu(turn, others):
    """BLEU-4 with smoothing, straight from its definition."""
    logs = 0.0
    for order in range(1, 5):
        grams = [Counter(tuple(t[i : i + order]) for i in range(len(t) - order + 1)) for t in (turn, *others)]
        matched = sum(min(n, max(ref[gram] for ref in grams[1:])) for gram, n in grams[0].items())
        logs += math.log((matched or 0.1) / grams[0].total()) / 4
    closest = min((abs(len(other) - len(turn)), len(other)) for other in others)[1]
    return math.exp(logs + min(0.0, 1 - closest / len(turn)))


def test_distinct_2_by_hand():
    assert distinct_2([["a", "b", "c"], ["a", "b"]]) == 2 / 3
    assert distinct_2([["a"], ["b"]]) is None  # no bigram crosses from one turn to the next


def test_self_bleu_equals_its_definition():
    rng = random.Random(1)
    turns = [rng.choices(WORDS[:6], k=rng.randint(4, 9)) for _ in range(25)]
    expected = sum(bleu(turn, turns[:i] + turns[i + 1 :]) for i, turn in enumerate(turns)) / len(turns)
    assert self_bleu(turns) == pytest.approx(expected, abs=1e-12)


def test_self_bleu_of_repeated_and_of_unlike_turns():
    turn = ["a", "b", "c", "d", "e"]
    assert self_bleu([turn, turn]) == pytest.approx(1.0)
    assert self_bleu([turn, ["v", "w", "x", "y", "z"]]) < 0.05
    assert self_bleu([turn]) is None and self_bleu([turn, ["a", "b"]]) is None


def metered(conversations):
    meter = DiversityMeter(sqlite3.connect(":memory:"))
    for item in conversations:
        meter.add(item)
    return meter


def test_figures_by_language():
    said = ["Book me a room in Oslo", "Book me a room now", "Find the nearest open bakery", "hello there"]
    items = [chatted(text, tools=(tool(f"t{i % 2}"),)) for i, text in enumerate(said)]
    items.append(chatted("帮我订一间房", tools=(tool("t0"),), language="zh"))
    meter = metered(items)
    english, chinese = (meter.figures()[language] for language in ("en", "zh"))
    assert (english.turns, english.opening, english.opening_text) == (4, 2 / 3, "book me a room")
    assert (english.tool_signatures, chinese.tool_signatures, meter.num_tool_signatures()) == (2, 1, 2)
    assert (chinese.opening_text, chinese.self_bleu_4, chinese.distinct_2) == ("帮我订一", None, 1.0)


def test_distinct_2_reads_the_first_tokens_only():
    rng = random.Random(0)
    varied = [chatted(" ".join(rng.choices(WORDS, k=10)), number=i) for i in range(FIRST_TOKENS // 10)]
    same = [chatted("one two three four five")] * 500
    assert metered(varied + same).figures()["en"].distinct_2 == metered(varied).figures()["en"].distinct_2


def test_sample_is_the_same_for_the_same_turns():
    rng = random.Random(0)
    items = [chatted(" ".join(rng.choices(WORDS, k=8))) for _ in range(700)]
    assert metered(items).figures() == metered(items).figures()
