"""What a rewritten text must keep."""

import json
from dataclasses import replace

import pytest
from pipeline_fakes import FakePlanner

from data_pipeline.llm.locks import Words, broken_lock, kept_strings, plan_values
from fcdist.schema.conversation import Conversation, Message, Tool


def test_values_numbers_dates_and_api_names_are_locked():
    plan = FakePlanner(0).conversation(0)
    values, words = plan_values(plan), Words.of(plan)
    call = json.loads(plan.messages[1].tool_calls[0].arguments)
    text = f"Meet me in {call['city']} next Friday at 18:30 for {call['nights']} nights, ref AB-12."
    assert kept_strings(text, values, words, "user") == [
        call["city"],
        "next Friday",
        "18:30",
        str(call["nights"]),
        "AB-12",
    ]
    assert plan.tools[0].name in kept_strings(plan.messages[1].thought, values, words, "thought")


def test_words_that_the_planner_notes_are_locked():
    plan = replace(
        FakePlanner(0).conversation(0), metadata={"calls": [{"name": "f", "spans": {"unit": "cheap as chips"}}]}
    )
    text = "Two rooms, cheap as chips, please."
    assert kept_strings(text, plan_values(plan), Words.of(plan), "user") == ["Two", "cheap as chips"]


def test_results_do_not_bind_the_user_and_repeated_digits_all_count():
    plan = FakePlanner(0).conversation(0)
    price = json.loads(plan.messages[2].content)["price"]
    values, words = plan_values(plan), Words.of(plan)
    assert str(price) in values["answer"] and str(price) not in values["user"]
    assert kept_strings("3, 12, 7, 2", values, words, "user") == ["3", "12", "7", "2"]
    assert broken_lock("3, 12, 7, 2", "They are 3, 12, 7.", ["3", "12", "7", "2"]) == "llm_value_changed"


def test_chinese_dates_and_counts_are_locked():
    words = Words(frozenset(), frozenset())
    assert kept_strings("下周五去杭州住三晚，两个人，大后天提醒我", {"user": ["杭州"]}, words, "user") == [
        "下周五",
        "杭州",
        "三晚",
        "两个",
        "大后天",
    ]


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("Fly me to Oslo from Rome.", "llm_values_reordered"),
        ("From Rome to Lima, please.", "llm_value_changed"),
        ("From Rome to Oslo at 9.", "llm_new_number"),
        ("Rome, then Oslo: book it.", None),
    ],
)
def test_broken_locks(new, reason):
    assert broken_lock("I fly from Rome to Oslo.", new, ["Rome", "Oslo"]) == reason


def test_nested_names_are_locked_and_the_form_of_a_value_is_not():
    parameters = {
        "type": "object",
        "properties": {
            "filters": {"type": "object", "properties": {"max_price": {"type": "integer"}}},
            "rows": {"type": "array", "items": {"type": "object", "properties": {"qty": {"type": "integer"}}}},
        },
    }
    span = {"of": [[5, "five minutes"]], "form": {"kind": "unit", "from": "minutes", "to": "seconds"}}
    conversation = Conversation(
        (Message("user", "five minutes, in seconds"), Message("assistant", "ok")),
        (Tool("find", "Find.", parameters),),
        metadata={"calls": [{"name": "find", "spans": {"filters.max_price": span}}]},
    )
    assert Words.of(conversation).parameters == {"filters", "max_price", "rows", "qty"}
    values = plan_values(conversation)["user"]
    assert "five minutes" in values and not {"unit", "minutes", "seconds"} & set(values)
