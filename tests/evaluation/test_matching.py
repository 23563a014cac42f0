"""What counts as the same call, and what as an invention."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcdist.evaluation.matching import fold, invented_values, same_arguments, same_calls, same_value
from fcdist.schema.conversation import Tool, ToolCall

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
BOOK = Tool(
    "book",
    "",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "nights": {"type": "integer", "default": 1},
            "room": {"type": "object", "properties": {"view": {"type": "string", "default": "any"}}},
            "kind": {"type": "string", "enum": ["hotel", "hostel"]},
        },
        "required": ["city"],
    },
)


def call(name="book", **arguments):
    return ToolCall("c", name, json.dumps(arguments, ensure_ascii=False))


@given(JSON)
def test_sameness_is_reflexive(value):
    assert same_value(value, json.loads(json.dumps(value)))


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (1, 1.0, True),
        (0.1 + 0.2, 0.3, True),
        (1, True, False),
        (0, False, False),
        (1, "1", False),
        (None, "", False),
        ("New  York", "new york", True),
        ("2024-05-01", "2024/05/01", True),
        ("\uff21\uff22\uff23", "abc", True),
        ("it's", "its", True),
        ("1.5", "15", False),
        ("-5", "5", False),
        ("Paris", "Parys", False),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1], 1, False),
    ],
)
def test_values(first, second, same):
    assert same_value(first, second) is same
    assert same_value(second, first) is same


def test_defaults_are_filled_at_any_depth():
    schema = BOOK.parameters
    assert same_arguments({"city": "Rome"}, {"city": "rome", "nights": 1}, schema)
    assert not same_arguments({"city": "Rome"}, {"city": "Rome", "nights": 2}, schema)
    assert same_arguments({"city": "a", "room": {}}, {"city": "a", "room": {"view": "any"}}, schema)
    assert same_arguments({"city": "a", "kind": None}, {"city": "a"}, schema)
    assert not same_arguments({"city": "a", "kind": "hotel"}, {"city": "a"}, schema)


@given(st.permutations(["Rome", "Oslo", "Bern"]))
def test_order_of_calls_is_free(cities):
    expected = [call(city=city) for city in ("Rome", "Oslo", "Bern")]
    assert same_calls([call(city=city) for city in cities], expected, [BOOK])
    assert not same_calls([call(city=city) for city in [*cities[:2], cities[0]]], expected, [BOOK])


def test_count_name_and_broken_arguments_matter():
    assert same_calls([], [], [BOOK])
    assert not same_calls([], [call(city="a")], [BOOK])
    assert not same_calls([call("other", city="a")], [call(city="a")], [BOOK])
    assert not same_calls([ToolCall("c", "book", "{")], [ToolCall("c", "book", "{")], [BOOK])


@pytest.mark.parametrize(
    ("arguments", "invented"),
    [
        ({"city": "Rome", "nights": 3}, []),
        ({"city": "rome"}, []),
        ({"city": "Rome, Italy"}, ["Rome, Italy"]),
        ({"city": "Oslo"}, ["Oslo"]),
        ({"city": "Rome", "kind": "hostel"}, []),  # an enum member
        ({"city": "Rome", "nights": 1}, []),  # a default
        ({"city": "Rome", "nights": 7}, [7]),
        ({"city": "Rome", "room": {"view": "sea"}}, ["sea"]),
        ({"city": "Rome", "when": "2026-01-02"}, []),  # expected: worked out, not invented
    ],
)
def test_inventions(arguments, invented):
    expected = [call(city="Rome", when="2026-01-02")]
    said = "Book three, no, 3 nights in Rome for 1,200 euros from tomorrow."
    assert invented_values(call(**arguments), said, BOOK, expected) == invented


def test_numbers_are_read_as_people_write_them():
    def found(value, said):
        return not invented_values(call(nights=value), said, None, [])

    assert found(1200, "1,200 euros") and found(3.5, "3,5 Prozent") and found(3.5, "3.5 %")
    assert found(12, "房间住12晚") and not found(2, "in 2026") and not found(20, "1200")


@given(st.text(max_size=20), st.randoms())
def test_fold_ignores_case_and_space(text, random: Random):
    spaced = "".join(random.choice([c, c + " "]) for c in text if not c.isdigit() and c not in ".-")
    plain = "".join(c for c in text if not c.isdigit() and c not in ".-")
    if spaced.strip() and all(ord(c) < 128 for c in plain):
        assert fold(spaced) == fold(plain.upper())
