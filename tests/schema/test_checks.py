"""Structural rules of a conversation, each broken once."""

import pytest

from fcdist.errors import SchemaError
from fcdist.schema.checks import check_arguments, check_conversation, check_tools
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

WEATHER = Tool(
    "weather",
    "",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1},
            "unit": {"enum": ["C", "F"]},
            "place": {"type": "object", "properties": {"lat": {"type": "number"}}},
        },
        "required": ["city"],
    },
)
USER = Message("user", "Weather?")
CALL = ToolCall("c1", "weather", '{"city": "Oslo"}')
OTHER = ToolCall("c2", "weather", '{"city": "Rome"}')
CALLS = Message("assistant", tool_calls=(CALL, OTHER))
RESULT, RESULT_2 = Message("tool", "{}", tool_call_id="c1"), Message("tool", "{}", tool_call_id="c2")
ANSWER = Message("assistant", "Rain.")


def calls(*tool_calls):
    return Message("assistant", tool_calls=tool_calls)


@pytest.mark.parametrize(
    "messages",
    [
        (USER, ANSWER),
        (Message("system", "Be kind."), USER, ANSWER),
        (USER, CALLS),
        (USER, CALLS, RESULT, RESULT_2, ANSWER, USER, ANSWER),
        (USER, CALLS, Message("tool", "{}"), Message("tool", ""), CALLS),
    ],
)
def test_sound_conversations(messages):
    check_conversation(Conversation(messages, (WEATHER,)))


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ((), "messages is empty"),
        ((USER,), r"messages\[0\] is user; the last must be the assistant's"),
        ((USER, CALLS, RESULT), r"messages\[2\] is tool; the last must be the assistant's"),
        ((ANSWER,), r"messages\[0\].role is assistant; here it must be system or user"),
        ((USER, Message("system", "x"), ANSWER), r"messages\[1\].role is system; here it must be assistant"),
        ((Message("system", "x"), Message("system", "y"), USER, ANSWER), r"messages\[1\].role is system"),
        ((USER, USER, ANSWER), r"messages\[1\].role is user; here it must be assistant"),
        ((USER, ANSWER, ANSWER), r"messages\[2\].role is assistant; here it must be user"),
        ((USER, CALLS, ANSWER), r"messages\[2\].role is assistant; here it must be tool"),
        ((USER, CALLS, RESULT, ANSWER), r"messages\[3\].role is assistant; here it must be tool"),
        ((USER, ANSWER, RESULT, ANSWER), r"messages\[2\].role is tool; here it must be user"),
        ((USER, CALLS, RESULT_2, RESULT, ANSWER), r"messages\[2\].tool_call_id is 'c2'; the next open call is 'c1'"),
        ((USER, CALLS, Message("tool", None), ANSWER), r"messages\[2\] \(tool\) has no content"),
        ((Message("user", "  "), ANSWER), r"messages\[0\] \(user\) has no content"),
        ((Message("user", "x", tool_calls=(CALL,)), ANSWER), r"messages\[0\] \(user\) has tool_calls; only the"),
        ((USER, Message("assistant", " ")), r"messages\[1\] \(assistant\) has neither content nor tool_calls"),
        ((USER, calls(CALL, CALL)), r"messages\[1\].tool_calls share an id: c1, c1"),
        (
            (USER, calls(ToolCall("1", "wether", "{}"))),
            r"messages\[1\].tool_calls\[0\] calls unknown tool 'wether'; offered: weather",
        ),
        ((USER, calls(ToolCall("1", "weather", "{}"))), r"messages\[1\].tool_calls\[0\].arguments of weather"),
    ],
)
def test_broken_structure(messages, message):
    with pytest.raises(SchemaError, match=message):
        check_conversation(Conversation(tuple(messages), (WEATHER,)))


def test_call_where_no_tool_is_offered():
    with pytest.raises(SchemaError, match="unknown tool 'weather'; offered: none"):
        check_conversation(Conversation((USER, CALLS)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("{city}", r"arguments of weather is not JSON \(.*\): '\{city\}'"),
        ('{"city": "Oslo", "days": NaN}', "not JSON .NaN is not a JSON number"),
        ("[1]", "arguments of weather must be a JSON object, got list"),
        ('{"city": "Oslo", "town": "x"}', "has unknown 'town'; known: city, days, unit, place"),
        ("{}", 'the object: "city" is a required property'),
        ('{"city": 7}', "city: 7 is not of type"),
        ('{"city": "Oslo", "days": 0}', "days: 0 is less than the minimum of 1"),
        ('{"city": "Oslo", "unit": "K"}', "unit: "),
        ('{"city": "Oslo", "place": {"lat": "north"}}', r"place\.lat: "),
    ],
)
def test_broken_arguments(arguments, message):
    with pytest.raises(SchemaError, match=message):
        check_arguments(WEATHER, arguments)


def test_arguments_are_decoded():
    assert check_arguments(WEATHER, '{"city": "Oslo", "days": 2}') == {"city": "Oslo", "days": 2}


@pytest.mark.parametrize(
    "opening",
    [
        {"additionalProperties": True},
        {"additionalProperties": {}},
        {"additionalProperties": {"type": "integer"}},
        {"patternProperties": {"^x": {}}},
        {"allOf": [{"properties": {"x": {"type": "integer"}}}]},
    ],
)
def test_open_schemas_take_further_arguments(opening):
    assert check_arguments(Tool("f", "", {"type": "object", **opening}), '{"x": 1}') == {"x": 1}


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ((WEATHER, WEATHER), r"tools\[1\] \('weather'\): another tool has this name"),
        ((Tool("", "", {}),), r"tools\[0\] \(''\): the name must match"),
        ((Tool("7days", "", {}),), "the name must match"),
        ((Tool("a b", "", {}),), "the name must match"),
        ((Tool("f" * 129, "", {}),), "the name must match"),
        ((Tool("f", "", {"type": "array"}),), "parameters.type is 'array'; it must be 'object'"),
        ((Tool("f", "", {"type": "object", "properties": {"a": {"type": "text"}}}),), "not a valid JSON Schema"),
        ((Tool("f", "", {"type": "object", "properties": {"a": {"pattern": "("}}}),), "not a valid JSON Schema"),
        (
            (Tool("f", "", {"properties": {"a": {"$ref": "http://127.0.0.1:9/a.json"}}}),),
            "not a valid JSON Schema: .*must stay inside the schema",
        ),
        ((Tool("f", "", {"properties": {"a": {"$ref": "file:///etc/hosts"}}}),), "must stay inside the schema"),
        ((Tool("f", "", {"properties": {"a": {"$ref": "#/$defs/x"}}}),), "not a valid JSON Schema"),
    ],
)
def test_broken_tools(tools, message):
    with pytest.raises(SchemaError, match=message):
        check_tools(tools)


def test_references_inside_the_schema_are_followed():
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "integer"}}}
    tool = Tool("f.g/h-i", "", schema)
    check_tools([tool])
    with pytest.raises(SchemaError, match="a: "):
        check_arguments(tool, '{"a": "one"}')
