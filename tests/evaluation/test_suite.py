"""Items of the held-out suite, and the five measures over them."""

import json
from collections import Counter

import pytest

from fcdist.config.types import SourceConfig
from fcdist.errors import EvaluationError
from fcdist.evaluation.measures import judge, summarise
from fcdist.evaluation.suite import choose, read_suite, split, training_tools
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall
from fcdist.schema.shards import ShardWriter, write_manifest

TOOL = Tool(
    "get_weather",
    "Weather.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)


def call(city="Rome", name="get_weather"):
    return ToolCall("c0", name, json.dumps({"city": city}))


def conversation(number=0, category="single"):
    """Asks back, calls, tells the result: three assistant turns, one of them with a call."""
    return Conversation(
        messages=(
            Message("user", "Weather?"),
            Message("assistant", "Where?"),
            Message("user", "Rome"),
            Message("assistant", tool_calls=(call(),)),
            Message("tool", "sunny", tool_call_id="c0"),
            Message("assistant", "It is sunny."),
        ),
        tools=(TOOL,),
        id=f"c{number}",
        category=category,
    )


def answer(*calls):
    return Message("assistant", None if calls else "Hello.", tool_calls=calls)


def write_suite(folder, conversations):
    with ShardWriter(folder / "shard-00000.jsonl") as shard:
        for one in conversations:
            shard.write(one)
    write_manifest(folder, {"shard-00000.jsonl": {"counts": dict(shard.counts)}})


def test_every_assistant_turn_is_an_item_with_what_came_before(tmp_path):
    write_suite(tmp_path, [conversation(0), conversation(1)])
    items = read_suite(tmp_path, 0, 0)
    assert [item.id for item in items] == [f"c{n}/{t}" for n in range(2) for t in range(3)]
    assert [item.turn for item in items[:3]] == [0, 1, 2]
    assert [len(item.context.messages) for item in items[:3]] == [1, 3, 5]
    assert items[1].expected.tool_calls == (call(),)
    assert "Rome" in items[1].said() and '"city"' in items[2].said()


def test_choice_is_stratified_seeded_and_in_order():
    items = [item for n in range(20) for item in split(conversation(n, "single" if n % 4 else "negative"), n)]
    chosen = choose(items, 24, seed=1)
    assert len(chosen) == 24 and chosen == choose(items, 24, seed=1) != choose(items, 24, seed=2)
    counts = Counter((item.category, bool(item.expected.tool_calls)) for item in chosen)
    assert counts == {("single", True): 6, ("single", False): 12, ("negative", True): 2, ("negative", False): 4}
    places = [items.index(item) for item in chosen]
    assert places == sorted(places)


def test_missing_or_unfinished_suite_names_the_way_out(tmp_path):
    with pytest.raises(EvaluationError, match=r"split=held_out"):
        read_suite(tmp_path / "none", 0, 0)
    with pytest.raises(EvaluationError, match=r"manifest"):
        read_suite(tmp_path, 0, 0)


def test_training_tools_come_from_function_call_sources(tmp_path):
    write_suite(tmp_path, [conversation()])
    general = SourceConfig(path=str(tmp_path / "absent"), role="general")
    assert training_tools({"a": SourceConfig(path=str(tmp_path)), "b": general}) == {"get_weather"}
    assert training_tools({"b": general}) is None
    assert training_tools({"a": SourceConfig(path=str(tmp_path / "absent"))}) is None


def test_verdicts_name_the_first_thing_wrong():
    asks, calls, _ = split(conversation(), 0)
    assert judge(asks, answer()).reason == "right"
    assert judge(asks, answer(call())).reason == "called_without_need"
    assert judge(calls, answer(call("rome"))).reason == "right"
    assert judge(calls, answer()).reason == "no_call"
    assert judge(calls, answer(call(), call())).reason == "wrong_count"
    assert judge(calls, answer(call(name="other"))).reason == "schema"
    assert judge(calls, answer(ToolCall("", "get_weather", "{}"))).reason == "schema"
    assert judge(calls, answer(call("Oslo"))).reason == "invented_value"
    assert judge(calls, answer(call("Weather"))).reason == "wrong_value"


def test_measures_of_known_answers():
    items = split(conversation(), 0) + split(conversation(1), 1)
    answers = [answer(), answer(call()), answer(call()), answer(call("Oslo")), answer(), answer()]
    summary = summarise([judge(i, a) for i, a in zip(items, answers, strict=True)], seen_tools={"another"})
    measures = summary["measures"]
    assert summary["items"] == 6
    assert measures["structure"] == {"right": 1, "of": 2}
    assert measures["structure_of_calls"] == {"right": 3, "of": 3}
    assert measures["arguments"] == {"right": 1, "of": 2}
    assert measures["no_invention"] == {"right": 2, "of": 3}
    assert measures["trigger_call"] == {"right": 1, "of": 2}
    assert measures["trigger_no_call"] == {"right": 2, "of": 4}
    assert measures["trigger"] == {"right": 3, "of": 6, "balanced": 0.5}
    assert measures["state"] == {"right": 1, "of": 2}
    assert measures["unseen"] == {"right": 1, "of": 2}
    assert measures["seen"] == {"right": 0, "of": 0}
    assert "unseen" not in summarise([], None)["measures"]
    assert sum(summary["reasons"].values()) == 6


def test_perfect_and_silent_models():
    items = split(conversation(), 0)
    perfect = summarise([judge(i, i.expected) for i in items])["measures"]
    assert all(part["right"] == part["of"] for part in perfect.values()) and perfect["trigger"]["balanced"] == 1
    silent = summarise([judge(i, answer()) for i in items])["measures"]
    assert silent["trigger"]["balanced"] == 0.5 and silent["arguments"] == {"right": 0, "of": 1}
