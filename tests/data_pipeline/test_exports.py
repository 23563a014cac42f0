"""Exports: what they hold reads back to what went in, and LLaMA-Factory's rules are kept."""

import json
import re
import sqlite3
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from merge_fakes import called, chatted, tool

from data_pipeline.exports import Unfit, assistant_text, to_alpaca, to_openai, to_sharegpt, write_dataset_info
from data_pipeline.preferences import SPOILS, PreferencePairs
from fcdist.schema.checks import check_conversation
from fcdist.schema.conversation import Conversation, Message, ToolCall
from fcdist.sources.formats import from_alpaca, from_sharegpt

OPEN = replace(tool("open"), parameters={"type": "object", "additionalProperties": True})
TOOLS = (tool("find_hotel", "city"), OPEN)

words = st.sampled_from(["sun", "今天天气", 'say "hi"', "a\nb", "{", "}", '{"', "\\n", "<b>", "[1]", "🚀", "1.50"])
prose = st.lists(words, min_size=1, max_size=4).map(" ".join)
scalars = st.none() | st.booleans() | st.integers(-999, 999) | st.sampled_from([0.5, -2.5e-7]) | prose
values = st.recursive(
    scalars,
    lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(["k", "键"]), v, max_size=2),
    max_leaves=4,
)
results = values.map(lambda v: json.dumps(v, ensure_ascii=False)) | values.map(json.dumps) | prose
thoughts = st.none() | prose


@st.composite
def conversations(draw):
    """Any conversation the layouts can carry."""
    messages = [Message("system", draw(prose))] if draw(st.booleans()) else []
    count = 0
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message("user", draw(prose)))
        for _ in range(draw(st.integers(0, 2))):
            calls = []
            for _ in range(draw(st.integers(1, 3))):
                arguments = draw(st.dictionaries(st.sampled_from(["a", "城市"]), values, max_size=2))
                calls.append(ToolCall(f"call_{count}", "open", json.dumps(arguments, ensure_ascii=draw(st.booleans()))))
                count += 1
            messages.append(Message("assistant", draw(st.none() | prose), draw(thoughts), tuple(calls)))
            messages += [Message("tool", draw(results), tool_call_id=call.id) for call in calls]
        messages.append(Message("assistant", draw(prose), draw(thoughts)))
    return Conversation(tuple(messages), TOOLS, id="x")


def meaning(conversation):
    """Messages and tools, with arguments as values: their spacing is not kept."""
    messages = [
        replace(m, tool_calls=tuple((c.id, c.name, json.loads(c.arguments)) for c in m.tool_calls))
        for m in conversation.messages
    ]
    return messages, [t.to_wire() for t in conversation.tools]


def written(export, conversation):
    return [json.loads(json.dumps(record, ensure_ascii=False)) for record in export(conversation)]


@settings(max_examples=60, deadline=None)
@given(conversations())
def test_sharegpt_reads_back(conversation):
    check_conversation(conversation)
    (record,) = written(to_sharegpt, conversation)
    assert meaning(from_sharegpt(record)) == meaning(conversation)


def read_as_llama_factory(record, info):
    """What LLaMA-Factory's converter and formatter make of a record; AssertionError where they would skip or raise.

    Rules (LLaMA-Factory 0.9.5, data/converter.py and data/formatter.py): turns alternate between human or observation
    and gpt or function_call and are even in number; of a function_call the first `<tool_call>…</tool_call>` is decoded
    as a JSON list of objects with name and arguments, arguments are encoded again, and all around it is kept as
    thought.
    """
    tags, columns = info["tags"], info["columns"]
    sides = ((tags["user_tag"], tags["observation_tag"]), (tags["assistant_tag"], tags["function_tag"]))
    turns = record[columns["messages"]]
    assert len(turns) % 2 == 0
    read = []
    for place, turn in enumerate(turns):
        kind, text = turn[tags["role_tag"]], turn[tags["content_tag"]]
        assert kind in sides[place % 2]
        if kind != tags["function_tag"]:
            read.append((kind, text))
            continue
        found = re.search(r"<tool_call>(.*?)</tool_call>", text, re.DOTALL)
        calls = json.loads(found[1])
        assert isinstance(calls, list) and all(isinstance(call["arguments"], dict) for call in calls)
        arguments = [(call["name"], json.dumps(call["arguments"], ensure_ascii=False)) for call in calls]
        read.append((kind, text.replace(found[0], ""), arguments))
    assert isinstance(record[columns["system"]], str)
    assert isinstance(json.loads(record[columns["tools"]] or "[]"), list)
    return read


@settings(max_examples=40, deadline=None)
@given(conversation=conversations())
def test_llama_factory_keeps_thoughts_calls_and_their_order(tmp_path_factory, conversation):
    folder = tmp_path_factory.mktemp("export")
    write_dataset_info(folder, ["train"])
    info = json.loads((folder / "dataset_info.json").read_text())["fcdist_train"]
    assert (info["file_name"], info["formatting"]) == ("train.jsonl", "sharegpt")
    (record,) = written(to_sharegpt, conversation)
    read = [turn for turn in read_as_llama_factory(record, info) if turn[0] in ("gpt", "function_call")]
    said = [m for m in conversation.messages if m.role == "assistant"]
    for message, turn in zip(said, read, strict=True):
        thought = f"<thought>{message.thought}</thought>\n" if message.thought else ""
        if message.tool_calls:
            before = thought + (f"{message.content}\n" if message.content else "")
            calls = [(c.name, json.dumps(json.loads(c.arguments), ensure_ascii=False)) for c in message.tool_calls]
            assert turn == ("function_call", before, calls)
        else:
            assert turn == ("gpt", thought + message.content)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"thought": "I write </thought> here"}, "reserved_words"),
        ({"content": "see <tool_call>"}, "reserved_words"),
        ({"thought": " spaced"}, "edge_whitespace"),
        ({"content": "spaced\n"}, "edge_whitespace"),
        ({"weight": 0}, "weight"),
    ],
)
@pytest.mark.parametrize("export", [to_sharegpt, to_alpaca])
def test_what_a_layout_cannot_carry_is_refused(export, change, reason):
    conversation = chatted("Tell me a joke")
    last = replace(conversation.messages[-1], **change)
    with pytest.raises(Unfit, match=reason):
        list(export(replace(conversation, messages=(*conversation.messages[:-1], last))))


def test_openai_holds_messages_and_tools_alone():
    conversation = called("Book in Oslo", {"city": "Oslo"}, metadata={"licence": "CC0"})
    (record,) = written(to_openai, conversation)
    assert set(record) == {"messages", "tools"}
    back = Conversation.from_wire(record)
    assert (back.messages, back.tools) == (conversation.messages, conversation.tools)


@settings(max_examples=25, deadline=None)
@given(conversations())
def test_alpaca_has_one_record_for_each_assistant_turn(conversation):
    records = written(to_alpaca, conversation)
    said = [m for m in conversation.messages if m.role == "assistant"]
    assert [r["output"] for r in records] == [assistant_text(m) for m in said]
    first = conversation.messages[0]
    for record in records:
        assert set(record) == {"instruction", "input", "output"}
        assert all(tool.name in record["instruction"] for tool in conversation.tools)
        assert first.role != "system" or record["instruction"].startswith(first.content)
        assert from_alpaca(record).messages[-1].role == "assistant"
    user = next(m.content for m in conversation.messages if m.role == "user")
    assert records[0]["input"] == user


def gate(conversation):
    """A stand-in with three rules: schema, values from the user's words, no call in a negative."""
    try:
        check_conversation(conversation)
    except ValueError:
        return "structure"
    said = " ".join(m.content for m in conversation.messages if m.role == "user")
    for message in conversation.messages:
        for call in message.tool_calls:
            if conversation.category == "negative":
                return "negatives"
            if any(str(value) not in said for value in json.loads(call.arguments).values()):
                return "grounding"
    return None


def pairs_of(*items, check=gate):
    maker = PreferencePairs(check, 0, sqlite3.connect(":memory:"))
    return [json.loads(json.dumps(pair)) for item in items for pair in maker(item)]


def answered(pair, side, category):
    """The conversation a pair's prompt makes with one of its answers."""
    for message in pair["prompt"] + pair[side]:
        for call in message.get("tool_calls", ()):
            assert isinstance(call["function"]["arguments"], dict)
    wire = {"messages": pair["prompt"] + pair[side], "tools": json.loads(pair["tools"]), "category": category}
    return Conversation.from_wire(wire)


def test_each_rejected_turn_fails_a_gate_and_each_chosen_one_passes():
    items = [
        (
            called("Book AB-1234 in Oslo", {"city": "AB-1234"}),
            {"dropped_slot": "structure", "invented_value": "grounding"},
        ),
        (called("Book a room in Oslo", {"city": "Oslo"}), {"dropped_slot": "structure"}),
        (chatted("Tell me a joke"), {"needless_call": "negatives"}),
    ]
    for item, expected in items:
        pairs = pairs_of(item)
        assert {pair["kind"]: pair["reason"] for pair in pairs} == expected
        for pair in pairs:
            assert gate(answered(pair, "rejected", item.category)) == pair["reason"]
            assert gate(answered(pair, "chosen", item.category)) is None
            assert pair["chosen"] != pair["rejected"]


def test_contrast_pair_gives_the_call_as_rejected_where_the_tool_is_missing():
    words, contrast = "Book a room in Oslo", {"contrast": {"pair": "p1", "role": "with_tool"}}
    one = called(words, {"city": "Oslo"}, metadata=contrast)
    other = chatted(words, tools=(tool("rent_car"),), number=1, metadata=contrast)
    (pair,) = [pair for pair in pairs_of(one, other) if pair["kind"] == "contrast"]
    assert (pair["id"], pair["reason"]) == ("c1", "structure")
    assert pair["chosen"][0]["content"] == "Sorry, nothing here does that."
    assert pair["rejected"][0]["tool_calls"][0]["function"]["name"] == "find_hotel"


def test_pairs_depend_on_the_conversation_and_the_seed_alone():
    items = [called(f"Book AB-{i}234 in Oslo", {"city": f"AB-{i}234"}, number=i) for i in range(5)]
    assert pairs_of(*items) == sorted(pairs_of(*items[::-1]), key=lambda pair: pair["id"])


def test_what_the_gates_refuse_is_no_chosen_turn():
    assert pairs_of(called("Book a room", {"city": "Rome"})) == []
    assert pairs_of(chatted("Tell me a joke"), check=lambda conversation: None) == []
    assert set(SPOILS) == {"dropped_slot", "invented_value", "needless_call"}
