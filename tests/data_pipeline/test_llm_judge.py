"""The judge: votes, reasons, costs of its own."""

import json
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm_helpers import PER_MILLION, PRICES, pipeline, teacher
from llm_server import LlmServer, serving
from pipeline_fakes import FakePlanner

from data_pipeline.llm.judge import FAULTS, NO_FAULT, Vote, decide, judge_request, read_votes
from data_pipeline.llm.wire import Completion
from data_pipeline.teachers import BudgetError, Draft, Task, Usage
from fcdist.config.types import BudgetConfig, JudgeConfig

pytestmark = pytest.mark.usefixtures("words_key")
JUDGE = JudgeConfig(llm="judge-1", prices=PRICES)


def drop(text, fault="wrong_answer", votes=(0, 1, 2)):
    """A judge that finds this fault where `text` stands, in some of its votes."""
    return lambda dialogue, vote: (False, fault) if text in json.dumps(dialogue) and vote in votes else (True, NO_FAULT)


def reviewed(server, folder, judge=JUDGE, count=12):
    with serving(server) as url:
        asked = teacher(url, folder, judge=judge)
        drafts = [Draft(Task(i), FakePlanner(0).conversation(i)) for i in range(count)]
        return asked.review(drafts), asked


def test_faulty_drafts_get_a_reason_and_the_others_pass(tmp_path):
    server = LlmServer(judge=drop("joke"))
    drafts, asked = reviewed(server, tmp_path)
    for draft in drafts:
        negative = draft.conversation.category == "negative"
        assert draft.reason == ("judge: wrong_answer" if negative else None)
    assert [draft.task.index for draft in drafts] == list(range(12))
    assert len(server.requests) == 3 and server.requests[0]["model"] == "judge-1"
    assert server.requests[0]["temperature"] == 0 and server.requests[0]["max_tokens"] == JUDGE.max_tokens
    usage = sum((draft.judge_usage for draft in drafts), Usage())
    assert usage == asked.traffic().billed
    assert usage.cost == pytest.approx(server.usage("judge-1", PER_MILLION).cost, rel=1e-12)
    assert all(draft.usage == Usage() for draft in drafts)


def test_majority_of_an_odd_number_of_votes_decides(tmp_path):
    three = JudgeConfig(llm="judge-1", votes=3, temperature=0.7)
    server = LlmServer(judge=drop("joke", votes=(1,)))
    drafts, _ = reviewed(server, tmp_path / "one", three)
    assert len(server.requests) == 9 and all(draft.reason is None for draft in drafts)
    drafts, _ = reviewed(LlmServer(judge=drop("joke", votes=(0, 2))), tmp_path / "two", three)
    assert sum(draft.reason is not None for draft in drafts) == 6


@pytest.mark.parametrize("behaviour", ["malformed", "refusal", "filtered", "twice"])
def test_draft_without_a_clear_verdict_is_dropped(tmp_path, behaviour):
    drafts, _ = reviewed(LlmServer(behaviour=behaviour), tmp_path)
    without = [draft for draft in drafts if draft.reason == "judge: no_verdict"]
    assert len(without) == (3 if behaviour == "twice" else 12)


def test_only_what_passed_the_gates_is_judged_and_drops_are_tried_again(tmp_path):
    server = LlmServer(judge=drop("Lima", votes=(0,)))
    facts = pipeline(server, tmp_path, judge=JUDGE, prices=PRICES)
    assert (facts["kept"], facts["missing"]) == (12, 0) and facts["counts"] == {"single": 6, "negative": 6}
    judged = [json.dumps(task) for task in server.answered if "dialogues" in task]
    assert judged and not any("flawed" in task for task in judged)
    outcomes = {outcome for of in facts["yields"]["openai"].values() for outcome in of}
    assert outcomes >= {"kept", "judge: wrong_answer"}
    for kind, model in (("usage", "words-1"), ("judge_usage", "judge-1")):
        expected = asdict(server.usage(model, PER_MILLION))
        assert facts[kind] == pytest.approx(expected, rel=1e-9)


def test_teacher_and_judge_draw_on_one_budget(tmp_path):
    server = LlmServer()
    with serving(server) as url:
        asked = teacher(url, tmp_path, judge=JUDGE, prices=PRICES, budget=BudgetConfig(tokens=9000))
        drafts = list(asked.drafts([Task(i) for i in range(4)]))
        drafts += [Draft(Task(i), FakePlanner(0).conversation(i)) for i in range(4, 40)]
        with pytest.raises(BudgetError, match=r"generate.budget.tokens=9000"):
            asked.review(drafts)
    assert server.usage("judge-1").tokens + server.usage().tokens <= 9000


def test_judge_may_live_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "another")
    words, judging = LlmServer(), LlmServer(key="another")
    with serving(words) as url, serving(judging) as other:
        judge = JudgeConfig(llm="judge-1", base_url=other, api_key_env="JUDGE_KEY")
        asked = teacher(url, tmp_path, judge=judge)
        asked.review(list(asked.drafts([Task(0)])))
    assert len(words.requests) == 1 and len(judging.requests) == 1


def test_judge_reads_everything_of_a_dialogue():
    plan = FakePlanner(0).conversation(0)
    task = json.loads(judge_request([plan], 0).messages[1]["content"])
    call = plan.messages[1].tool_calls[0]
    assert task["functions"][0]["name"] == plan.tools[0].name
    assert [turn["role"] for turn in task["dialogues"][0]["turns"]] == [message.role for message in plan.messages]
    assert task["dialogues"][0]["turns"][1]["calls"] == [f"{call.name}({call.arguments})"]
    assert task["dialogues"][0]["turns"][1]["thought"] == plan.messages[1].thought


def verdicts(*items):
    return Completion(json.dumps({"verdicts": list(items)}), "stop", False, Usage())


def test_contradictory_and_foreign_verdicts_do_not_count():
    said = [
        {"id": 0, "why": "", "keep": True, "fault": NO_FAULT},
        {"id": 1, "why": "", "keep": True, "fault": "unnatural"},
        {"id": 2, "why": "", "keep": False, "fault": NO_FAULT},
        {"id": 3, "why": "", "keep": False, "fault": "ugly"},
        {"id": 9, "why": "", "keep": True, "fault": NO_FAULT},
    ]
    assert read_votes(verdicts(*said), 4) == {0: Vote(True, NO_FAULT)}


@given(st.lists(st.sampled_from([None, NO_FAULT, *FAULTS]), min_size=1, max_size=9).filter(lambda v: len(v) % 2))
def test_kept_exactly_by_most_of_all_votes(faults):
    votes = [None if fault is None else Vote(fault == NO_FAULT, fault) for fault in faults]
    reason = decide(votes)
    assert (reason is None) == (2 * faults.count(NO_FAULT) > len(faults))
    if reason is not None:
        named = reason.removeprefix("judge: ")
        assert named in faults or (named == "no_verdict" and not set(faults) & set(FAULTS))
        assert all(faults.count(named) >= faults.count(fault) for fault in FAULTS)
