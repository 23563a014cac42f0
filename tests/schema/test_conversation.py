"""Strict reading: every broken record is refused with the place and the rule."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcdist.errors import SchemaError
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def record(**changes):
    wire = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    return {**wire, **changes}


def with_message(**changes):
    return record(messages=[{"role": "user", "content": "hi", **changes}])


def with_function(**changes):
    return record(tools=[{"function": {"name": "f", **changes}}])


def with_call(**changes):
    return with_message(role="assistant", tool_calls=[{**CALL, **changes}])


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ([], "conversation must be an object, got list"),
        ({}, "conversation lacks messages"),
        (record(extra=1), r"conversation has unknown field extra; known: messages, tools, id"),
        (record(messages=[]), "conversation.messages must be a non-empty list"),
        (record(messages="hi"), "conversation.messages must be a non-empty list"),
        (record(messages=["hi"]), r"messages\[0\] must be an object, got str"),
        (record(messages=[{"content": "hi"}]), r"messages\[0\] lacks role"),
        (record(tools="f"), "conversation.tools must be a list"),
        (record(id=7), "id must be text, got int"),
        (record(metadata=[1]), "conversation.metadata must be an object, got list"),
        (with_message(role="robot"), r"messages\[0\].role is 'robot'; known roles: system, user, assistant, tool"),
        (with_message(colour=1), r"messages\[0\] has unknown field colour; known: role, content"),
        (with_message(content=["hi"]), r"messages\[0\].content must be text, got list"),
        (with_message(reasoning_content=1), r"messages\[0\].reasoning_content must be text"),
        (with_message(weight=2), r"messages\[0\].weight is 2; it must be 0 or 1"),
        (with_message(weight=True), r"messages\[0\].weight is True; it must be 0 or 1"),
        (with_message(tool_calls="f"), r"messages\[0\].tool_calls must be a list, got str"),
        (with_message(tool_calls={"a": 1}), r"messages\[0\].tool_calls must be a list, got dict"),
        (with_message(tool_calls=["f"]), r"messages\[0\].tool_calls\[0\] must be an object"),
        (with_message(tool_call_id=3), r"messages\[0\].tool_call_id must be text"),
        (with_message(name=3), r"messages\[0\].name must be text"),
        (with_call(function={"name": "f"}), r"tool_calls\[0\].function lacks arguments"),
        (with_call(function={"name": "f", "arguments": [1]}), r"tool_calls\[0\].function.arguments must be text"),
        (with_call(function={"name": 1, "arguments": ""}), r"tool_calls\[0\].function.name must be text"),
        (with_call(type="custom"), r"tool_calls\[0\].type is 'custom'; only 'function' is known"),
        (with_call(index=0), r"tool_calls\[0\] has unknown field index; known: function, id, type"),
        (with_call(id=1), r"tool_calls\[0\].id must be text"),
        (record(tools=[{}]), r"tools\[0\] lacks function"),
        (record(tools=[{"type": "retrieval", "function": {"name": "f"}}]), r"tools\[0\].type is 'retrieval'"),
        (with_function(name=None), r"tools\[0\].function.name must be text, got NoneType"),
        (with_function(parameters="{}"), r"tools\[0\].function.parameters must be an object, got str"),
        (with_function(description=1), r"tools\[0\].function.description must be text"),
        (with_function(strict="yes"), r"tools\[0\].function.strict must be true or false, got 'yes'"),
        (with_function(returns={}), r"tools\[0\].function has unknown field returns; known: name"),
    ],
)
def test_broken_record(wire, message):
    with pytest.raises(SchemaError, match=message):
        Conversation.from_wire(wire)


def test_named_fields_are_left_out_and_only_those():
    assert Conversation.from_wire(record(extra=1), ignore=("extra",)) == Conversation.from_wire(record())
    with pytest.raises(SchemaError, match="unknown field other"):
        Conversation.from_wire(record(extra=1, other=2), ignore=("extra",))


def test_arguments_may_be_an_object_and_keep_their_order():
    wire = {**CALL, "function": {"name": "f", "arguments": {"b": "下周", "a": 1}}}
    assert ToolCall.from_wire(wire).arguments == '{"b": "下周", "a": 1}'


def test_tool_without_parameters_takes_none():
    assert Tool.from_wire({"function": {"name": "f"}}).parameters == {"type": "object", "properties": {}}


text = st.text(max_size=8)
json_object = st.dictionaries(text, st.integers() | text | st.booleans(), max_size=3)
call = st.builds(ToolCall, text, text, json_object.map(json.dumps))
message = st.builds(
    Message,
    st.sampled_from(["system", "user", "assistant", "tool"]),
    st.none() | text,
    st.none() | text,
    st.lists(call, max_size=2).map(tuple),
    st.none() | text,
    st.none() | text,
    st.sampled_from([0, 1]),
)
tool = st.builds(Tool, text, text, json_object, st.none() | st.booleans())
conversation = st.builds(
    Conversation,
    st.lists(message, min_size=1, max_size=3).map(tuple),
    st.lists(tool, max_size=2).map(tuple),
    text,
    text,
    text,
    text,
    st.none() | st.dictionaries(text, st.integers(), min_size=1, max_size=2),
)


@given(conversation)
def test_wire_form_reads_back_to_the_same_conversation(value):
    assert Conversation.from_wire(json.loads(json.dumps(value.to_wire()))) == value


@given(text=st.text(), strict=st.sampled_from([None, True, False]), extra=st.dictionaries(st.text(), st.integers()))
def test_a_line_is_the_wire_form_as_json(text, strict, extra):
    tool = Tool(text, f"d {text}", {"type": "object", "properties": {text: {"enum": [text, 1.5, None]}}}, strict)
    messages = (Message("user", text), Message("assistant", None, text, (ToolCall("1", text, "{}"),)))
    full = Conversation(messages, (tool, tool), id=text, category="single", metadata={text: [text]})
    extra = {f"x{key}": value for key, value in extra.items()}
    for conversation in (full, Conversation(messages), Conversation(messages, (tool,))):
        assert conversation.to_line(extra) == json.dumps(conversation.to_wire() | extra, ensure_ascii=False)
