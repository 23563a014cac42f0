"""The Batch API against a loopback server: killed anywhere, nothing is asked twice and nothing is lost."""

import json
from collections import Counter
from dataclasses import replace
from itertools import count

import pytest
from filelock import FileLock
from llm_helpers import PER_MILLION, PRICES, TASKS, make_llm_teacher, pipeline, reasons, settings, shard_bytes, teacher
from llm_server import LlmServer, serving
from mortality import is_killed_before

from data_pipeline.llm import batches
from data_pipeline.llm.batch_state import BatchState
from data_pipeline.llm.batches import read_lines, split_batches
from data_pipeline.llm.ledger import Ledger
from data_pipeline.teachers import AnswersPendingError, BudgetError, Usage
from fcdist.config.types import BudgetConfig, Config, JudgeConfig
from fcdist.errors import GenerationError

pytestmark = pytest.mark.usefixtures("words_key")
HALF = tuple(price / 2 for price in PER_MILLION)


def batched(url, folder, **changes):
    return teacher(url, folder, batch_api=True, prices=PRICES, **changes)


def drafts_of(asked, tasks=TASKS, rounds=9):
    """Drafts of `tasks`, fetching as often as it takes."""
    asked.fetch()  # what an earlier run left under way
    for _ in range(rounds):
        try:
            return list(asked.drafts(tasks))
        except AnswersPendingError:
            asked.fetch()
    raise AssertionError("still pending")


def run(server, folder, **changes):
    with serving(server) as url:
        asked = batched(url, folder, **changes)
        return drafts_of(asked), asked


def book(folder):
    return Ledger(folder / "llm_cache" / "costs.sqlite3", BudgetConfig())


def state_of(folder, key="generate"):
    return BatchState.read(folder / "llm_cache" / "batches" / key / "state.json")


def assert_each_question_answered_once(server, times):
    texts = Counter(json.dumps(task, sort_keys=True) for task in server.answered)
    assert len(texts) == times and set(texts.values()) == {1}


def test_batches_give_the_same_drafts_at_half_the_price(tmp_path):
    server, direct = LlmServer(), LlmServer()
    drafts, asked = run(server, tmp_path / "batched")
    with serving(direct) as url:
        expected = list(teacher(url, tmp_path / "direct", prices=PRICES).drafts(TASKS))
    assert [replace(d, usage=Usage()) for d in drafts] == [replace(d, usage=Usage()) for d in expected]
    assert_each_question_answered_once(server, 3)
    assert len(server.batches.batches) == 1 and next(iter(server.batches.batches.values()))["metadata"]
    usage = sum((draft.usage for draft in drafts), Usage())
    assert usage == asked.traffic().billed and replace(usage, cost=0) == server.usage()
    assert usage.cost == pytest.approx(server.usage(prices=HALF).cost, rel=1e-12)
    assert book(tmp_path / "batched").paid().money == pytest.approx(usage.cost)
    assert (asked.traffic().requests, asked.traffic().retries, asked.traffic().cached) == (3, 0, 0)
    assert not book(tmp_path / "batched").has_pending()


@pytest.mark.parametrize("trouble", ["500", "cut_off", "heard_then_hang_up"])
@pytest.mark.parametrize("step", range(6))
def test_trouble_at_any_step_is_passed_over(tmp_path, trouble, step):
    server = LlmServer()
    server.batches.script = ["good"] * step + [trouble]
    drafts, _ = run(server, tmp_path)
    assert reasons(drafts) == {None: 12}
    assert_each_question_answered_once(server, 3)
    assert len(server.batches.batches) == 1  # a start that may have been heard is looked for first


MOMENTS = ((Ledger, "settle"), (Ledger, "reserve"), (batches, "write_lines"), (batches.BatchClient, "_patiently"))


def test_killed_at_any_moment_nothing_is_asked_twice_and_nothing_lost(tmp_path):
    expected, _ = run(LlmServer(), tmp_path / "whole")
    for event in count(1):
        server, folder = LlmServer(), tmp_path / str(event)
        with serving(server) as url:
            killed = is_killed_before(event, lambda url=url, folder=folder: drafts_of(batched(url, folder)), MOMENTS)
        drafts, _ = run(server, folder)
        assert drafts == expected, event
        assert_each_question_answered_once(server, 3)
        assert len(server.batches.batches) == 1, event
        assert (book(folder).paid().count, book(folder).paid().tokens) == (3, server.usage().tokens), event
        assert book(folder).lost().count == 0 and not book(folder).has_pending(), event
        assert not state_of(folder).open(), event
        if not killed:
            break
    assert event > 20


@pytest.mark.parametrize("fate", ["half", "expired", "cancelled", "lost_line", "torn"])
def test_what_a_batch_left_unanswered_goes_into_the_next(tmp_path, fate):
    server = LlmServer()
    server.batches.rounds = [fate]
    drafts, asked = run(server, tmp_path)
    assert reasons(drafts) == {None: 12} and len(server.batches.batches) == (1 if fate == "torn" else 2)
    sizes = [len(server.batches.files[b["input_file_id"]].splitlines()) for b in server.batches.batches.values()]
    assert sizes == {"half": [3, 1], "expired": [3, 2], "cancelled": [3, 2], "lost_line": [3, 1], "torn": [3]}[fate]
    assert asked.traffic().requests == sum(sizes)
    if fate != "half":  # there the server answered, and then said that it had not
        assert_each_question_answered_once(server, 3)


def test_filtered_question_refuses_its_drafts_alone(tmp_path):
    server = LlmServer(script=["good", "blocked"])
    drafts, _ = run(server, tmp_path)
    assert reasons(drafts) == {None: 8, "llm_refused": 4} and len(server.batches.batches) == 1


def test_doubled_and_foreign_lines_are_left_out(tmp_path):
    server = LlmServer()
    server.batches.rounds = ["twice"]
    drafts, asked = run(server, tmp_path)
    assert reasons(drafts) == {None: 12} and asked.traffic().billed.answers == 3


def test_full_queue_is_tried_again_and_a_refused_file_is_an_error(tmp_path):
    server = LlmServer()
    server.batches.rounds = ["queue_full", "good"]
    drafts, asked = run(server, tmp_path / "full")
    assert reasons(drafts) == {None: 12} and asked.traffic().retries == 3
    server.batches.rounds = ["failed"]
    with pytest.raises(GenerationError, match=r"status 400: the request is refused.*invalid_file"):
        run(server, tmp_path / "refused")
    assert book(tmp_path / "refused").lost().count == 0 and not book(tmp_path / "refused").has_pending()


def test_request_that_never_succeeds_ends_the_run_with_the_cause(tmp_path):
    server = LlmServer()
    server.batches.rounds = ["lost_line"] * 9
    with pytest.raises(GenerationError, match=r"1 requests of a batch were not answered, one of them 3 times in a row"):
        run(server, tmp_path, max_retries=2)
    assert len(server.batches.batches) == 3


@pytest.mark.parametrize(("behaviour", "rounds"), [("unsupported", 2), ("plain", 3), ("reasoning", 3)])
def test_what_the_server_does_not_understand_is_learned_once(tmp_path, behaviour, rounds):
    server = LlmServer(behaviour=behaviour)
    drafts, _ = run(server, tmp_path)
    assert reasons(drafts) == {None: 12} and len(server.batches.batches) == rounds
    run(server, tmp_path, llm="words-2")  # the state of this server is kept for another model too
    assert len(server.batches.batches) == rounds + 1


def test_wrong_key_and_refused_model(tmp_path):
    with pytest.raises(GenerationError, match="the key in WORDS_KEY is not accepted"):
        run(LlmServer(key="another"), tmp_path / "a")
    with pytest.raises(GenerationError, match=r"status 404: generate.llm=words-1"):
        run(LlmServer(behaviour="404"), tmp_path / "b")


def test_budget_bounds_a_batch_and_stops_with_the_rest_left(tmp_path):
    server = LlmServer()
    with pytest.raises(BudgetError, match=r"generate.budget.tokens=5200 .* 2 requests are left"):
        run(server, tmp_path, budget=BudgetConfig(tokens=5200))
    asked = len(server.answered)
    assert asked == 1 and book(tmp_path).paid().tokens == server.usage().tokens <= 5200
    drafts, _ = run(server, tmp_path, budget=BudgetConfig(tokens=10**6))
    assert reasons(drafts) == {None: 12}
    assert_each_question_answered_once(server, 3)


def test_whole_run_fetches_all_shards_together_and_writes_the_same_bytes(tmp_path, capsys):
    judge = JudgeConfig(llm="judge-1", prices=PRICES)
    server, direct = LlmServer(), LlmServer()
    facts = pipeline(server, tmp_path / "batched", batch_api=True, shard_size=3, prices=PRICES, judge=judge)
    expected = pipeline(direct, tmp_path / "direct", shard_size=3, prices=PRICES, judge=judge)
    conversations = {
        n: b for n, b in shard_bytes(tmp_path / "batched").items() if n.startswith("shard") and ".facts" not in n
    }
    assert conversations.items() <= shard_bytes(tmp_path / "direct").items()
    for kind, model in (("usage", "words-1"), ("judge_usage", "judge-1")):
        assert facts[kind]["cost"] == pytest.approx(expected[kind]["cost"] / 2)
        assert facts[kind]["cost"] == pytest.approx(server.usage(model, HALF).cost)
    assert len(server.batches.batches) <= 4  # words and verdicts, and again for what the gate refused
    assert "of 4 shards written" in capsys.readouterr().err


def test_a_second_process_is_told_to_wait(tmp_path):
    server = LlmServer()
    folder = tmp_path / "llm_cache" / "batches" / "generate"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(GenerationError, match="another process is working on these"):
        run(server, tmp_path)


def test_torn_state_is_an_error_and_never_asked_anew(tmp_path):
    run(LlmServer(), tmp_path)
    state_of(tmp_path).path.write_text('{"batches": [')
    with pytest.raises(GenerationError, match=r"state.json: the state of batches cannot be read"):
        run(LlmServer(), tmp_path, llm="words-2")


def test_key_is_in_no_file(tmp_path, words_key):
    server = LlmServer()
    server.batches.rounds = ["half"]
    run(server, tmp_path)
    assert not any(words_key.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_split_keeps_order_and_both_limits():
    lines = {str(i): "x" * (i % 7 + 1) for i in range(100)}
    runs = list(split_batches(lines, max_requests=9, max_bytes=30))
    assert [key for keys in runs for key in keys] == list(lines)
    sizes = [sum(len(lines[key]) for key in keys) for keys in runs]
    assert all(len(keys) <= 9 and size <= 30 for keys, size in zip(runs, sizes, strict=True))
    for keys, size, after in zip(runs, sizes, runs[1:], strict=False):
        assert len(keys) == 9 or size + len(lines[after[0]]) > 30  # no run is shorter than it must be
    assert list(split_batches({"big": "x" * 99}, max_bytes=30)) == [["big"]] and not list(split_batches({}))


def test_lines_that_are_no_objects_are_left_out():
    assert list(read_lines('{"a": 1}\n\n[2]\n{"b"\n{"c": 3}')) == [{"a": 1}, {"c": 3}]


def test_teacher_with_batches_needs_one_process(tmp_path):
    server = LlmServer()
    with serving(server) as url:
        config = Config(generate=settings(url, batch_api=True, num_workers=4))
        asked = make_llm_teacher(config, tmp_path)
        with pytest.raises(AnswersPendingError):
            list(asked.drafts(TASKS))
    assert not server.requests and not server.batches.batches  # nothing is sent before `fetch`
