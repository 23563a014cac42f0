"""What the grammars let through: only calls of offered tools whose arguments fit their schemas."""

import json
from random import Random

import numpy as np
import pytest
import xgrammar
from hypothesis import given, settings
from hypothesis import strategies as st

from fcdist.errors import ConfigError, SchemaError
from fcdist.evaluation.grammar import CallMarks, GrammarCompiler, closed_schema
from fcdist.model.debug import VOCAB_SIZE, debug_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.schema.checks import check_arguments
from fcdist.schema.conversation import Tool

TOOL = Tool(
    "trip.plan",
    "Plan.",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "description": "How long.", "default": 1},
            "budget": {"type": "number"},
            "stops": {"type": "array", "items": {"type": "string"}},
            "kind": {"type": "string", "enum": ["rail", "road"]},
            "hotel": {"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"]},
            "extra": {"type": "object"},
        },
        "required": ["city"],
    },
)
OTHER = Tool("now", "Time.", {"type": "object", "properties": {}})
PROTOCOLS = ("text", "tagged")


def compiler(protocol):
    return GrammarCompiler(debug_tokenizer(), load_protocol(protocol).recipe, (2,), VOCAB_SIZE)


def accepts(grammar, text):
    matcher = xgrammar.GrammarMatcher(grammar, override_stop_tokens=[2])
    return matcher.accept_string(text) and matcher.is_completed()


def write(protocol, name, arguments):
    marks = CallMarks.from_recipe(load_protocol(protocol).recipe)
    arguments = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return f'{marks.begin}{{"name": "{name}", "arguments": {arguments}}}{marks.end}'


GOOD = [
    {"city": "Rome"},
    {"city": "北京", "days": 3, "budget": -1.5, "stops": ["a", "b"], "kind": "rail"},
    {"city": "Rome", "hotel": {"stars": 4}, "extra": {"any": [1, {"x": None}]}},
]
BAD = [
    {},
    {"days": 3},
    {"city": 3},
    {"city": "Rome", "unknown": 1},
    {"city": "Rome", "kind": "air"},
    {"city": "Rome", "days": 1.5},
    {"city": "Rome", "days": 10**15},
    {"city": "Rome", "stops": ["a"] * 40},
    {"city": "Rome", "hotel": {"stars": 4, "pool": True}},
    '{"city": "Rome"',
    '{   "city":       "Rome"}',
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_triggered_leaves_text_free_and_holds_calls(protocol):
    grammar = compiler(protocol).compile([TOOL, OTHER])
    for free in ("", "Hello.", "<thought>Rome it is.</thought>\n", "1 < 2 {}"):
        assert accepts(grammar, free)
        for arguments in GOOD:
            assert accepts(grammar, free + write(protocol, "trip.plan", arguments))
        for arguments in BAD:
            assert not accepts(grammar, free + write(protocol, "trip.plan", arguments))
    assert not accepts(grammar, write(protocol, "fly", {"city": "Rome"}))
    two = write(protocol, "trip.plan", GOOD[0]) + "\n" + write(protocol, "now", {})
    assert accepts(grammar, two)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_required_allows_one_call_and_nothing_else(protocol):
    grammar = compiler(protocol).compile([TOOL, OTHER], required=True)
    for arguments in GOOD:
        assert accepts(grammar, write(protocol, "trip.plan", arguments))
    assert accepts(grammar, write(protocol, "now", {}))
    for text in ("", "Hello.", "x" + write(protocol, "now", {}), write(protocol, "now", {}) * 2):
        assert not accepts(grammar, text)
    for arguments in BAD:
        assert not accepts(grammar, write(protocol, "trip.plan", arguments))


def test_equal_tool_lists_are_compiled_once_and_no_tools_need_no_grammar():
    one = compiler("text")
    assert one.compile([]) is None
    assert one.compile([TOOL]) is one.compile([TOOL])
    assert one.compile([TOOL]) is not one.compile([TOOL], required=True)


def test_a_schema_that_cannot_be_compiled_is_counted_not_fatal():
    one = compiler("text")
    odd = Tool("odd", "", {"type": "object", "properties": {"a": {"type": "string", "pattern": "(unclosed"}}})
    assert one.compile([odd]) is None
    assert list(one.failures) == ["odd"] and one.failures["odd"]


def test_a_protocol_without_calls_names_the_way_out():
    with pytest.raises(ConfigError, match=r"base_grammar.*protocol\.name=text"):
        CallMarks.from_recipe(load_protocol("native").recipe)


NAMES = st.sampled_from(["a", "b", "c"])
LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer"},
        {"type": "number", "minimum": 0},
        {"type": "boolean"},
        {"enum": [1, 2]},
        {"type": "string", "default": "x", "format": "date"},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.dictionaries(NAMES, inner, max_size=3).map(
            lambda p: {"type": "object", "properties": p, "required": [*p][:1]}
        )
    ),
    max_leaves=4,
)


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(NAMES, SCHEMAS, min_size=1, max_size=3), st.data())
def test_random_walks_through_a_grammar_fit_the_schema(properties, data):
    """Whatever bytes one picks among the allowed ones, a finished call fits the tool's own schema."""
    tool = Tool("t", "", {"type": "object", "properties": properties, "required": [*properties]})
    grammar = compiler("text").compile([tool], required=True)
    matcher = xgrammar.GrammarMatcher(grammar, override_stop_tokens=[2])
    bitmask = xgrammar.allocate_token_bitmask(1, VOCAB_SIZE)
    random, tokens = Random(data.draw(st.integers(0, 10**6))), []
    closing = debug_tokenizer().encode('"]}', add_special_tokens=False)
    while len(tokens) < 160:
        matcher.fill_next_token_bitmask(bitmask)
        bits = np.unpackbits(bitmask.numpy().view(np.uint8), bitorder="little")
        allowed = [int(i) for i in np.flatnonzero(bits[:VOCAB_SIZE])]
        ends = [i for i in allowed if i in closing]
        token = random.choice(ends if ends and random.random() < 0.5 else allowed)
        if token == 2:
            break
        assert matcher.accept_token(token)
        tokens.append(token)
    else:
        return  # too long a walk says nothing
    text = bytes(debug_tokenizer().decode(tokens), "utf-8").decode()
    marks = CallMarks.from_recipe(load_protocol("text").recipe)
    call = json.loads(text.removeprefix(marks.begin).removesuffix(marks.end), strict=False)
    try:
        check_arguments(tool, json.dumps(call["arguments"]))
    except SchemaError as error:
        raise AssertionError(f"{text} does not fit: {error}") from error


def test_closing_a_schema_keeps_what_it_says():
    closed = closed_schema(TOOL.parameters, top=True)
    assert closed["additionalProperties"] is False and closed["required"] == ["city"]
    assert closed["properties"]["days"] == {"type": "integer", "minimum": -(10**12), "maximum": 10**12}
    assert closed["properties"]["extra"] == {"type": "object"}
    assert closed["properties"]["hotel"]["additionalProperties"] is False
    assert closed_schema({"type": "integer", "exclusiveMinimum": 3}) == {
        "type": "integer",
        "exclusiveMinimum": 3,
        "maximum": 10**12,
    }
    assert closed_schema({"type": "array", "minItems": 30})["maxItems"] == 30
    assert "default" in TOOL.parameters["properties"]["days"]  # the argument is left as it was
