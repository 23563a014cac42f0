"""Near-duplicates: nothing is removed by an estimate, and what is alike is found."""

import random
import sqlite3

import pytest
from merge_fakes import WORDS, called, chatted, tool, varied

from data_pipeline.dedup import DuplicateIndex, acts, band_keys, content_digest, shingles
from data_pipeline.words import delexicalised_turns, language_of, tokens


def index(threshold=0.7):
    return DuplicateIndex(sqlite3.connect(":memory:"), threshold)


def jaccard(one, other):
    return len(set(one) & set(other)) / len(set(one) | set(other))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't book it, OK?", ["don't", "book", "it", "ok"]),
        ("订3张票to Oslo", ["订", "3", "张", "票", "to", "oslo"]),
        ("\uff26\uff2c\uff17\uff17\uff14", ["fl774"]),  # full-width letters and digits
        ("?!…", []),
    ],
)
def test_tokens(text, expected):
    assert tokens(text) == expected


def test_values_and_numbers_do_not_count():
    one = called("Book a room in Oslo for 2 nights from 2026-03-01", {"city": "Oslo"})
    other = called("book a room in New York for 14 nights from 2025-12-24", {"city": "New York"})
    assert delexicalised_turns(one) == delexicalised_turns(other)
    assert shingles(one) == shingles(other)
    assert content_digest(one) != content_digest(other)


def test_words_behind_a_value_do_not_count_where_the_teacher_noted_them():
    def noted(day, date):
        spans = {"calls": [{"name": "find_hotel", "spans": {"day": day}}]}
        return called(f"Book a room for {day} please", {"city": date}, metadata=spans)

    assert shingles(noted("the day after tomorrow", "2026-03-01")) == shingles(noted("Friday", "2026-03-06"))


def test_language_is_the_label_or_read_off_the_letters():
    assert language_of(chatted("今天 Oslo 天气怎么样", language="")) == "zh"
    assert language_of(chatted("What does 好 mean in English, please tell me", language="")) == "en"
    assert language_of(chatted("今天", language="en")) == "en"


def test_equal_conversation_is_an_exact_duplicate_whatever_its_id():
    found = index()
    assert found.add(0, called("Book a room in Oslo", {"city": "Oslo"}, number=1)) == []
    reason, collision = found.add(1, called("Book a room in Oslo", {"city": "Oslo"}, number=2))
    assert (reason, collision.row, collision.id, collision.similarity) == ("exact_duplicate", 0, "c1", 1.0)


def test_same_words_with_other_acts_stay_and_are_reported():
    found = index()
    words = "Please book a quiet room by the lake for my aunt"
    assert found.add(0, called(words, {"city": "x"})) == []
    alike = found.add(1, chatted(words))
    assert isinstance(alike, list) and [(c.row, c.similarity >= 0.7) for c in alike] == [(0, True)]


def test_halves_of_a_contrast_pair_stay():
    found = index()
    one, other = chatted("Tell me more about amber"), chatted("Tell me more about amber", tools=(tool("other"),))
    assert found.add(0, one, "pair") == []
    assert [c.row for c in found.add(1, other, "pair")] == [0]
    reason, _ = found.add(2, chatted("Tell me more about amber", tools=(tool("third"),)), "elsewhere")
    assert reason == "near_duplicate"


def test_threshold_above_one_finds_equal_conversations_only():
    found = index(threshold=2.0)
    assert found.add(0, chatted("Tell me a joke")) == []
    assert found.add(1, chatted("Tell me a joke", tools=(tool("other"),))) == []
    assert found.add(2, chatted("Tell me a joke"))[0] == "exact_duplicate"


def test_index_agrees_with_comparing_everything():
    found, kept, missed, removed = index(), [], 0, 0
    for row, item in enumerate(varied(250)):
        parts = shingles(item)
        best = max((jaccard(parts, other) for other, doing in kept if doing == acts(item)), default=0.0)
        result = found.add(row, item)
        if isinstance(result, tuple):
            removed += 1
            assert result[1].similarity == round(best, 4) >= 0.7
        else:
            missed += best >= 0.7
            kept.append((parts, acts(item)))
    assert removed > 15
    assert missed <= 0.02 * removed  # the bands propose a pair at the threshold with probability 0.99


def test_bands_depend_on_the_set_of_shingles_alone():
    rng = random.Random(0)
    parts = [" ".join(rng.choices(WORDS, k=3)) for _ in range(30)]
    assert band_keys(parts) == band_keys(sorted(parts)) == band_keys(parts[::-1])
    assert not set(band_keys(parts)) & set(band_keys([f"{p}x" for p in parts]))
