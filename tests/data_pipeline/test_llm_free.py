"""Free mode: whole dialogues, decided by the simulator and the gates."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from llm_helpers import PER_MILLION, PRICES, TASKS, pipeline, reasons, run
from llm_server import LlmServer, invent, turn
from pipeline_fakes import FakePlanner

from data_pipeline.llm.free import BadDialogueError, agree, build_dialogue, describe_wanted, is_chinese, steps
from data_pipeline.llm.free_prompts import KINDS, dialogue_messages
from data_pipeline.programmatic import ProgrammaticTeacher
from data_pipeline.scenarios import CATEGORIES, plan_cells
from fcdist.config.types import GenerateConfig
from fcdist.schema.checks import check_conversation
from fcdist.schema.conversation import Message

pytestmark = pytest.mark.usefixtures("words_key")
PLAN = replace(
    FakePlanner(0).conversation(0),
    metadata={"tool_set": "s", "calls": [{"spans": {}}], "contrast": {"pair": "p"}, "missing": [{"noun": "city"}]},
)
EXECUTE = FakePlanner(0).execute
FACT = describe_wanted(0, PLAN)["facts"][0]


def good_turns():
    return invent({"wanted": [describe_wanted(0, PLAN)]})[0]["turns"]


def test_dialogues_are_new_and_their_truth_is_the_planners(tmp_path):
    server = LlmServer()
    drafts, _ = run(server, tmp_path, llm_mode="free")
    assert [d.task for d in drafts] == TASKS and reasons(drafts) == {None: 12} and len(server.requests) == 3
    for draft in drafts:
        plan, said = FakePlanner(0).conversation(draft.task.index), draft.conversation
        check_conversation(said)
        calls = [[(c.name, c.arguments) for c in m.tool_calls] for m in said.messages]
        assert calls == [[(c.name, c.arguments) for c in m.tool_calls] for m in plan.messages]
        assert [m.content for m in said.messages if m.role == "tool"] == [
            m.content for m in plan.messages if m.role == "tool"
        ]
        assert {m.content for m in said.messages if m.role == "user"}.isdisjoint(m.content for m in plan.messages)
        assert (said.source, said.category, said.tools, said.id) == ("openai", plan.category, plan.tools, plan.id)
        assert said.metadata["prompt"] == "free-1"


def test_several_conversations_a_request_with_every_kind_in_words(tmp_path):
    server = LlmServer()
    run(server, tmp_path, llm_mode="free")
    task = json.loads(server.requests[0]["messages"][1]["content"])
    assert [wanted["id"] for wanted in task["wanted"]] == [0, 1, 2, 3] and task["functions"]
    kinds = {wanted["kind"] for wanted in task["wanted"]}
    assert kinds == {KINDS["single"][0], KINDS["negative"][0]}
    for wanted in task["wanted"]:
        assert [step["by"] for step in wanted["outline"]][:2] == ["user", "assistant"]
        assert bool(wanted["facts"]) != ("gist" in wanted["outline"][0])  # facts tell what is said, else the gist does
    schema = server.requests[0]["response_format"]["json_schema"]
    assert schema["strict"] is True and closed(schema["schema"])


def closed(schema):
    """Strict outputs: every object names all its properties and allows no other."""
    if isinstance(schema, list):
        return all(map(closed, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        strict = schema["additionalProperties"] is False and schema["required"] == list(schema["properties"])
        return strict and all(map(closed, schema["properties"].values()))
    return all(map(closed, schema.values()))


def test_outline_says_what_facts_do_not_and_what_must_be_said():
    plan = replace(
        PLAN,
        category="slot_filling",
        messages=(
            Message("user", "I need a hotel in Kyoto, next week or so."),
            Message("assistant", "For how many nights, and what is the city?"),
            Message("user", "37."),
            *PLAN.messages[1:],
        ),
        metadata={"missing": [{"noun": "nights"}, {"noun": "city"}], "ambiguous": {"text": "next week or so"}},
    )
    assert describe_wanted(0, plan)["outline"] == [
        {"by": "user", "gist": plan.messages[0].content, "keep": ["next week or so"]},
        {"by": "assistant", "gist": plan.messages[1].content, "keep": ["nights", "city"]},
        {"by": "user", "gist": "37."},
        {"by": "assistant", "facts": [0]},
        {"by": "assistant"},
    ]
    assert describe_wanted(0, PLAN)["outline"] == [
        {"by": "user"},
        {"by": "assistant", "facts": [0]},
        {"by": "assistant"},
    ]


def test_every_category_has_a_description_in_both_languages():
    assert set(CATEGORIES) <= KINDS.keys()
    for language in ("en", "zh"):
        system, user = dialogue_messages(language, [], [])
        assert (system["role"], user["role"]) == ("system", "user")
        for word in ("`kind`", "`facts`", "`outline`", "`keep`", "`observation`", "`manner`", "JSON"):
            assert word in system["content"]


def test_whole_run_meets_quotas_and_counts_costs(tmp_path):
    server = LlmServer(script=["good", "malformed", "truncated"])
    facts = pipeline(server, tmp_path, llm_mode="free", prices=PRICES)
    assert (facts["kept"], facts["missing"]) == (12, 0) and facts["counts"] == {"single": 6, "negative": 6}
    assert facts["usage"]["cost"] == pytest.approx(server.usage(prices=PER_MILLION).cost, rel=1e-9)


def test_good_dialogue_with_metadata_that_still_holds():
    said = build_dialogue(PLAN, good_turns(), EXECUTE)
    check_conversation(said)
    assert said.metadata == {"tool_set": "s", "missing": [{"noun": "city"}]}
    assert [m.role for m in said.messages] == ["user", "assistant", "tool", "assistant"]
    assert said.messages[1].thought.startswith(FACT["name"]) and said.messages[2].tool_call_id == "call_1"
    assert build_dialogue(PLAN, good_turns(), EXECUTE, thoughts=False).messages[1].thought is None


def test_system_message_is_kept_and_not_the_models():
    plan = replace(PLAN, messages=(Message("system", "Today is Monday, 2024-05-06."), *PLAN.messages))
    said = build_dialogue(plan, good_turns(), EXECUTE)
    assert said.messages[0] == plan.messages[0] and describe_wanted(0, plan)["system"] == plan.messages[0].content


def edited(position, **changes):
    turns = good_turns()
    turns[position] |= changes
    return turns


CALL = {"name": FACT["name"], "arguments": json.dumps(FACT["arguments"])}


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (edited(2, text='{"price": 1}'), "llm_other_result"),
        (edited(2, text="about ten"), "llm_other_result"),
        (edited(1, calls=[]), "llm_empty_turn"),
        (edited(1, calls=[CALL | {"arguments": "{"}]), "llm_arguments_not_json"),
        (edited(1, calls=[CALL | {"arguments": '{"city": "Paris", "nights": 2}'}]), "llm_other_result"),
        (edited(1, calls=[CALL | {"arguments": '{"city": "Paris"}'}]), "llm_unknown_call"),
        (edited(1, calls=[CALL | {"arguments": "[1]"}]), "llm_unknown_call"),
        (edited(1, calls=[CALL | {"name": "find_hostel_0"}]), "llm_other_outline"),
        (edited(1, calls=[CALL, CALL]), "llm_other_outline"),
        (edited(0, text=" "), "llm_empty_turn"),
        (edited(0, calls=[CALL]), "llm_empty_turn"),
        (edited(0, text=PLAN.messages[0].content), "llm_unchanged"),
        (edited(3, role="observation"), "llm_other_outline"),
        ([turn("user", "Hello?"), turn("assistant", "Hello.")], "llm_other_outline"),
        ([*good_turns(), turn("user", "Thanks."), turn("assistant", "Welcome.")], "llm_other_outline"),
        ([turn("observation", "{}"), *good_turns()], "llm_other_outline"),
        (
            edited(0, text="帮我订一家酒店，最好离车站近一点，谢谢你了")[:1] + edited(3, text="好的，价格已经查到")[1:],
            "llm_language",
        ),
    ],
)
def test_what_the_simulator_or_the_plan_contradicts_is_refused(turns, reason):
    with pytest.raises(BadDialogueError, match=f"^{reason}$"):
        build_dialogue(PLAN, turns, EXECUTE)


def test_result_that_the_model_left_out_is_the_simulators():
    turns = good_turns()
    del turns[2]
    assert build_dialogue(PLAN, turns, EXECUTE) == build_dialogue(PLAN, good_turns(), EXECUTE)
    assert build_dialogue(PLAN, edited(2, text=None), EXECUTE).messages[2].content == PLAN.messages[2].content


def test_notation_of_numbers_and_order_of_keys_are_the_planners():
    nights = FACT["arguments"]["nights"]
    other = f'{{"nights": {nights}.0, "city": "{FACT["arguments"]["city"]}"}}'
    said = build_dialogue(PLAN, edited(1, calls=[CALL | {"arguments": other}]), EXECUTE)
    assert said.messages[1].tool_calls[0].arguments == PLAN.messages[1].tool_calls[0].arguments


def test_calls_are_executed_again_and_results_must_agree():
    asked = []

    def execute(conversation):
        asked.extend(call for message in conversation.messages for call in message.tool_calls)
        yield {"price": 7}

    other = [CALL | {"arguments": '{"city": "Paris", "nights": 2}'}]
    turns = edited(1, calls=other)
    turns[2] |= {"text": '{"price": 7.0}'}
    said = build_dialogue(PLAN, turns, execute)
    assert [call.arguments for call in asked] == ['{"city": "Paris", "nights": 2}']
    assert said.messages[2].content == '{"price": 7}'
    with pytest.raises(BadDialogueError, match="llm_other_result"):
        build_dialogue(PLAN, edited(1, calls=other), execute)


def test_call_that_the_simulator_cannot_execute_is_refused():
    def execute(conversation):
        raise KeyError("no such tool")
        yield

    with pytest.raises(BadDialogueError, match="llm_unknown_call"):
        build_dialogue(PLAN, good_turns(), execute)


def test_outlines_tell_apart_parallel_and_following_calls_and_questions():
    call, other = PLAN.messages[1].tool_calls[0], replace(PLAN.messages[1].tool_calls[0], id="call_1")
    user, result, said = Message("user", "x"), Message("tool", "{}"), Message("assistant", "y")
    together = [user, Message("assistant", None, None, (call, other)), result, result, said]
    chained = [user, Message("assistant", None, None, (call,)), result, Message("assistant", None, None, (other,))]
    later = [*chained[:3], said, user, chained[3]]
    asked = [user, said, *chained]
    outlines = [steps(messages) for messages in (together, chained, later, asked)]
    assert all(a != b for i, a in enumerate(outlines) for b in outlines[i + 1 :])
    assert steps(together) == steps([user, Message("assistant", None, "z", (other, call)), result, result, said])


def test_real_plans_are_served_by_the_real_simulator():
    """The planner's own dialogues, only with other first words, are what a perfect model writes."""
    planner = ProgrammaticTeacher(GenerateConfig(num_conversations=60), 3)
    for index in range(60):
        plan = planner.conversation(index)
        said = build_dialogue(plan, as_turns(plan), planner.execute)
        results = [m.content for m in plan.messages if m.role == "tool"]
        assert [m.content for m in said.messages if m.role == "tool"] == results
        assert {"calls", "contrast"}.isdisjoint(said.metadata) and describe_wanted(0, plan)["kind"]


def as_turns(plan):
    """A plan as a model would write it."""
    turns = []
    for message in plan.messages:
        if message.role == "user":
            turns.append(turn("user", f"{message.content} {'谢谢' if plan.language == 'zh' else 'Thanks'}"))
        elif message.role == "assistant":
            calls = [{"name": call.name, "arguments": json.loads(call.arguments)} for call in message.tool_calls]
            turns.append(turn("assistant", message.content, message.thought, calls))
        elif message.role == "tool":
            turns.append(turn("observation", message.content))
    return turns


@pytest.mark.parametrize(
    ("said", "true", "same"),
    [
        ({"a": 1, "b": [2.0]}, {"b": [2], "a": 1.0}, True),
        ({"a": 0.30000001}, {"a": 0.3}, True),
        ({"a": "x"}, {"a": "x", "b": 1}, False),
        ({"a": True}, {"a": 1}, False),
        ([1, 2], [2, 1], False),
        ("ok", "ok", True),
        (None, None, True),
        ("1", 1, False),
    ],
)
def test_agreement_of_results(said, true, same):
    assert agree(said, true) is same


@pytest.mark.parametrize(
    ("text", "chinese"),
    [("帮我查一下 Oslo 的天气", True), ("Weather in 北京, please", False), ("12:30", False), ("查Beijing天气", True)],
)
def test_language_of_a_dialogue(text, chinese):
    assert is_chinese([Message("user", text)]) is chinese


def test_a_request_asks_for_a_negative_and_for_slot_filling_among_others():
    """What the source article asks of a language model, as far as the shares allow (slot filling: 0.96 of eight)."""
    config = GenerateConfig(teacher="openai", llm_mode="free")
    cells = plan_cells(4000, config.shares, config.languages, 8, 0, mixed=True)
    requests = [{cell.category for cell in cells[i : i + 8]} for i in range(0, 4000, 8)]
    assert sum({"negative", "slot_filling"} <= kinds for kinds in requests) > 0.9 * len(requests)
    plain = plan_cells(4000, config.shares, config.languages, 8, 0)
    assert Counter(cells) == Counter(plain)  # another order, the same quotas
    planner = ProgrammaticTeacher(replace(config, num_conversations=160), 0)
    plans = [planner.conversation(index) for index in range(160)]
    by_set = {}
    for plan in plans:
        by_set.setdefault(plan.metadata["tool_set"], set()).add(plan.category)
    assert sum(map(len, by_set.values())) > 5 * len(by_set)
