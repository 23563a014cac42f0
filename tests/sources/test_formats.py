"""Importing other people's data: faithful, or dropped with the reason."""

import json

import pytest
from conversations import chat, tool_conversation, write_jsonl

from fcdist.config.types import SourceConfig
from fcdist.errors import ShardError
from fcdist.schema.shards import write_manifest
from fcdist.sources.reading import Dropped, read_source

BARE = {"name": "add", "description": "Add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}


def turns(*pairs):
    return [{"from": speaker, "value": value} for speaker, value in pairs]


def call(a, name="add"):
    return {"name": name, "arguments": {"a": a}}


def read(tmp_path, records, fmt="sharegpt", suffix=".json", **settings):
    path = tmp_path / f"source{suffix}"
    path.write_text(
        json.dumps(records) if suffix == ".json" else "".join(json.dumps(r) + "\n" for r in records), encoding="utf-8"
    )
    dropped: list[Dropped] = []
    source = SourceConfig(path=str(path), format=fmt, **settings)
    return list(read_source(source, "src", on_dropped=dropped.append)), dropped


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
@pytest.mark.parametrize("tools", [[BARE], [{"type": "function", "function": BARE}]])
@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("value", [json.dumps(call(1)), json.dumps([call(1)]), call(1)])
def test_sharegpt_call_and_result(tmp_path, suffix, tools, as_text, value):
    record = {
        "conversations": turns(("human", "1?"), ("function_call", value), ("observation", "{'n': 1}"), ("gpt", "one")),
        "tools": json.dumps(tools) if as_text else tools,
    }
    (conversation,), dropped = read(tmp_path, [record], suffix=suffix)
    user, asks, result, says = conversation.messages
    assert not dropped and conversation.category == "call" and conversation.id == "src-0"
    assert (user.content, result.content, says.content) == ("1?", "{'n': 1}", "one")
    assert (asks.tool_calls[0].name, json.loads(asks.tool_calls[0].arguments)) == ("add", {"a": 1})
    assert result.tool_call_id == asks.tool_calls[0].id
    assert conversation.tools[0].parameters == BARE["parameters"]


def test_consecutive_calls_are_one_turn_and_results_answer_in_order(tmp_path):
    arguments_as_text = json.dumps({"name": "add", "arguments": '{"a": 2}'})
    conversations = turns(
        ("system", "Be brief."),
        ("human", "1 and 2?"),
        ("gpt", "Let me see."),
        ("function_call", json.dumps(call(1))),
        ("function_call", arguments_as_text),
        ("observation", "r1"),
        ("observation", "r2"),
        ("gpt", "<think>easy</think>done"),
    )
    (conversation,), _ = read(tmp_path, [{"conversations": conversations, "tools": json.dumps([BARE])}])
    system, _, asks, first, second, says = conversation.messages
    assert system.role == "system" and asks.content == "Let me see."
    assert [json.loads(c.arguments)["a"] for c in asks.tool_calls] == [1, 2]
    assert [m.tool_call_id for m in (first, second)] == [c.id for c in asks.tool_calls]
    assert (first.content, second.content) == ("r1", "r2")
    assert (says.thought, says.content) == ("easy", "done")


def test_one_observation_with_a_list_is_taken_apart(tmp_path):
    conversations = turns(
        ("human", "?"),
        ("function_call", json.dumps([call(1), call(2)])),
        ("observation", '[{"n": 1}, "b"]'),
        ("gpt", "x"),
    )
    (conversation,), _ = read(tmp_path, [{"conversations": conversations, "tools": [BARE]}])
    assert [m.content for m in conversation.messages if m.role == "tool"] == ['{"n": 1}', "b"]


FAULTS = {
    "unknown_tool": turns(("human", "?"), ("function_call", json.dumps(call(1, "sub")))),
    "arguments_break_schema": turns(("human", "?"), ("function_call", json.dumps(call("one")))),
    "unreadable_call": turns(("human", "?"), ("function_call", "add(1)")),
    "results_do_not_match_calls": turns(("human", "?"), ("observation", "1"), ("gpt", "x")),
    "roles_out_of_order": turns(("human", "?"), ("function_call", json.dumps(call(1))), ("gpt", "x")),
    "last_turn_not_assistant": turns(("human", "?"), ("gpt", "x"), ("human", "?")),
    "empty_turn": turns(("human", "?"), ("gpt", " ")),
}


@pytest.mark.parametrize("reason", FAULTS)
def test_a_faulty_record_is_dropped_with_its_reason_and_kept_whole(tmp_path, reason):
    good = {"conversations": turns(("human", "?"), ("gpt", "x")), "tools": "[]"}
    bad = {"conversations": FAULTS[reason], "tools": json.dumps([BARE])}
    kept, dropped = read(tmp_path, [good, bad, good], on_error="drop")
    assert [c.id for c in kept] == ["src-0", "src-2"]
    assert [(d.reason, d.record) for d in dropped] == [(reason, bad)]
    assert "record 1" in dropped[0].where


def test_the_error_names_file_record_rule_and_way_out(tmp_path):
    bad = {"conversations": FAULTS["unknown_tool"], "tools": json.dumps([BARE])}
    with pytest.raises(ShardError, match=r"source\.json: record 0: .*unknown tool 'sub'; offered: add.*src\.on_error"):
        read(tmp_path, [bad])


def test_a_line_that_is_not_json_is_named_or_kept_as_text(tmp_path):
    path = tmp_path / "a.jsonl"
    line = json.dumps(chat(0).to_wire(), ensure_ascii=False)
    path.write_bytes(line.encode() + b'\n{"messages": [\n\xff\n' + line.encode() + b"\n")
    with pytest.raises(ShardError, match=r"a\.jsonl:2: the line is not JSON"):
        list(read_source(SourceConfig(path=str(path)), "src"))
    dropped: list[Dropped] = []
    assert len(list(read_source(SourceConfig(path=str(path), on_error="drop"), "src", on_dropped=dropped.append))) == 2
    assert [(d.where.rsplit(":")[-1], d.reason) for d in dropped] == [("2", "not_json"), ("3", "not_json")]


def test_unknown_fields_raise_unless_they_are_ignored(tmp_path):
    record = chat(0).to_wire() | {"licence": "MIT"}
    with pytest.raises(ShardError, match=r"unknown field licence.*data.sources.src.ignore_fields"):
        read(tmp_path, [record], fmt="openai", suffix=".jsonl")
    kept, _ = read(tmp_path, [record], fmt="openai", suffix=".jsonl", ignore_fields=("licence",))
    assert kept[0].messages == chat(0).messages


def test_alpaca(tmp_path):
    records = [
        {"instruction": "Add", "input": "1 2", "output": "3"},
        {"instruction": "Hi", "output": "Ho", "system": "S", "history": [["a", "b"]]},
        {"instruction": "Hi", "output": ""},
    ]
    (first, second), dropped = read(tmp_path, records, fmt="alpaca", role="general", on_error="drop")
    assert [m.content for m in first.messages] == ["Add\n1 2", "3"] and first.category == "general"
    assert [(m.role, m.content) for m in second.messages] == [
        ("system", "S"), ("user", "a"), ("assistant", "b"), ("user", "Hi"), ("assistant", "Ho"),
    ]  # fmt: skip
    assert [d.reason for d in dropped] == ["empty_turn"]


def test_a_folder_is_read_by_its_manifest(tmp_path):
    write_jsonl(tmp_path / "d" / "shard-00000.jsonl", [tool_conversation(i) for i in range(3)])
    source = SourceConfig(path=str(tmp_path / "d"))
    with pytest.raises(ShardError, match=r"no manifest\.json"):
        list(read_source(source, "src"))
    write_manifest(tmp_path / "d", {"shard-00000.jsonl": {"counts": {"single": 3}}})
    assert [c.id for c in read_source(source, "src")] == ["tool-0", "tool-1", "tool-2"]


def test_a_limit_chooses_by_seed_in_file_order(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [chat(i) for i in range(50)])
    source = SourceConfig(path=str(path), max_conversations=10)
    chosen = [[int(c.id.split("-")[1]) for c in read_source(source, "src", seed)] for seed in (1, 1, 2)]
    assert chosen[0] == chosen[1] != chosen[2] and chosen[0] == sorted(set(chosen[0])) and len(chosen[0]) == 10
