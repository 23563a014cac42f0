"""One model behind an unreliable connection: nothing lost, nothing twice, costs right to the token."""

import json
import sqlite3
from collections import Counter
from dataclasses import replace
from functools import partial
from itertools import count

import pytest
from llm_helpers import PER_MILLION, PRICES, TASKS, pipeline, reasons, run, settings, shard_bytes, teacher
from llm_server import LlmServer, serving
from mortality import is_killed_before

from data_pipeline.generate import _share_of
from data_pipeline.llm import client
from data_pipeline.llm.ledger import Ledger
from data_pipeline.llm.wire import Dialect, NoCompletionError, read_answer
from data_pipeline.provenance import generation_settings
from data_pipeline.teachers import BudgetError, Task, Usage
from fcdist.config.types import BudgetConfig, Config, JudgeConfig
from fcdist.errors import GenerationError

pytestmark = pytest.mark.usefixtures("words_key")
UNSEEN = ["cut_off", "hang_up", "not_json", "no_choices"]
"""Trouble after which the server may have billed what the client never saw."""


def book(folder):
    return Ledger(folder / "llm_cache" / "costs.sqlite3", BudgetConfig())


def same(usage, expected):
    """Equal tokens, and cost up to the order of adding."""
    return replace(usage, cost=0) == replace(expected, cost=0) and usage.cost == pytest.approx(expected.cost, rel=1e-9)


def assert_each_question_answered_once(server, times=3):
    texts = [json.dumps(task, sort_keys=True) for task in server.answered]
    assert len(texts) == len(set(texts)) == times


@pytest.mark.parametrize("trouble", ["429", "500", "503_date"])
def test_refused_requests_cost_nothing(tmp_path, trouble):
    server = LlmServer(script=["good", trouble, trouble])
    drafts, asked = run(server, tmp_path, max_concurrency=1, prices=PRICES)
    assert reasons(drafts) == {None: 12}
    assert_each_question_answered_once(server)
    assert same(asked.traffic().billed, server.usage(prices=PER_MILLION))
    assert (asked.traffic().requests, asked.traffic().retries, asked.traffic().lost) == (5, 2, 0)
    assert book(tmp_path).paid().money == pytest.approx(server.usage(prices=PER_MILLION).cost, rel=1e-12)
    assert book(tmp_path).lost().count == 0 and not book(tmp_path).has_pending()


@pytest.mark.parametrize("trouble", UNSEEN)
def test_answers_that_never_arrived_are_asked_again_and_stay_charged(tmp_path, trouble):
    server = LlmServer(script=["good", trouble])
    drafts, asked = run(server, tmp_path, max_concurrency=1, prices=PRICES)
    assert reasons(drafts) == {None: 12}
    assert (asked.traffic().requests, asked.traffic().retries, asked.traffic().lost) == (4, 1, 1)
    seen = sum((draft.usage for draft in drafts), Usage())
    assert same(asked.traffic().billed, seen) and book(tmp_path).paid().tokens == seen.tokens
    really = server.usage(prices=PER_MILLION)
    spent = book(tmp_path).paid().tokens + book(tmp_path).lost().tokens
    assert book(tmp_path).lost().count == 1 and spent >= really.tokens  # never less than the server can have billed


@pytest.mark.parametrize("behaviour", ["no_usage", "negative_usage"])
def test_answer_without_a_usable_count_is_kept_and_charged_at_its_bound(tmp_path, behaviour):
    server = LlmServer(script=["good", behaviour])
    drafts, asked = run(server, tmp_path, max_concurrency=1, prices=PRICES)
    assert reasons(drafts) == {None: 12} and len(server.requests) == 3
    assert asked.traffic().lost == 1 and book(tmp_path).lost().count == 1
    assert sum(draft.usage.answers for draft in drafts) == 3
    assert asked.traffic().billed.tokens < server.usage().tokens < book(tmp_path).paid().tokens + 10_000


@pytest.mark.parametrize("behaviour", ["filtered", "blocked"])
def test_content_filter_refuses_the_drafts_of_one_request(tmp_path, behaviour):
    server = LlmServer(script=[behaviour])
    drafts, asked = run(server, tmp_path, max_concurrency=1)
    assert reasons(drafts) == {"llm_refused": 4, None: 8} and asked.traffic().requests == 3
    assert book(tmp_path).paid().tokens == server.usage().tokens and not book(tmp_path).has_pending()
    run(server, tmp_path)
    assert len(server.requests) == 3  # it would be filtered again


def test_answer_that_trickles_in_is_given_up_in_time(tmp_path):
    drafts, asked = run(LlmServer(script=["drip"]), tmp_path, TASKS[:4], max_concurrency=1, timeout_s=0.5)
    assert reasons(drafts) == {None: 4} and (asked.traffic().retries, asked.traffic().lost) == (1, 1)


@pytest.mark.parametrize(
    ("behaviour", "expected"), [("surrogates", {None: 3, "llm_missing_item": 1}), ("raw_surrogate", {None: 4})]
)
def test_text_that_no_file_can_hold_does_not_stop_the_run(tmp_path, behaviour, expected):
    drafts, _ = run(LlmServer(behaviour=behaviour), tmp_path, TASKS[:4])
    assert reasons(drafts) == expected
    for draft in drafts:
        json.dumps(draft.conversation.to_wire(), ensure_ascii=False).encode()


def test_retry_after_as_a_date_is_waited_for(tmp_path):
    server = LlmServer(script=["503_date"])
    drafts, _ = run(server, tmp_path, tasks=TASKS[:4], max_concurrency=1)
    assert reasons(drafts) == {None: 4} and len(server.sent) == 2


def test_reasoning_models_are_asked_in_their_own_terms(tmp_path):
    server = LlmServer(behaviour="reasoning")
    drafts, asked = run(server, tmp_path, max_concurrency=1)
    assert reasons(drafts) == {None: 12} and len(server.requests) == 5  # each refusal is learned from once
    assert server.requests[-1]["max_completion_tokens"] == 1000
    assert not {"max_tokens", "temperature"} & server.requests[-1].keys()
    assert asked.traffic().billed == server.usage()


def test_dialects_only_ever_give_way():
    dialect = Dialect()
    for said in ("use max_completion_tokens", "no temperature", "response_format", "json_object not supported"):
        dialect = dialect.after(400, said)
    assert dialect == Dialect(form=2, limit="max_completion_tokens", temperature=False)
    for said in ("use max_completion_tokens", "no temperature", "response_format", "content too long"):
        assert dialect.after(400, said) is None
    assert Dialect().after(500, "temperature") is None


@pytest.mark.parametrize(
    ("limit", "waits"),
    [({"requests_per_minute": 1}, [0, 60, 120]), ({"tokens_per_minute": 60}, [2500, 5000, 7500])],
)
def test_every_request_waits_for_its_turn(tmp_path, monkeypatch, limit, waits):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(client, "Limits", partial(client.Limits, sleep=sleep))
    drafts, _ = run(LlmServer(), tmp_path, max_concurrency=3, **limit)
    assert reasons(drafts) == {None: 12} and len(slept) == 3
    for seconds, expected in zip(
        sorted(slept), waits, strict=True
    ):  # a third of the bytes twice, at one token a second
        assert abs(seconds - expected) < 60 if "requests_per_minute" in limit else 0.8 < seconds / expected < 1.3


def test_budget_stops_cleanly_and_a_larger_one_goes_on_from_the_cache(tmp_path):
    expected = pipeline(LlmServer(), tmp_path / "whole", prices=PRICES)
    server = LlmServer()
    small = BudgetConfig(tokens=6000)
    message = r"generate.budget.tokens=6000 allows no .* of this shard are left.* 1 of 2 shards are finished"
    with pytest.raises(BudgetError, match=message):
        pipeline(server, tmp_path / "cut", prices=PRICES, budget=small, max_concurrency=1)
    asked = len(server.requests)
    assert 0 < asked < expected["usage"]["answers"] and book(tmp_path / "cut").paid().tokens <= 6000
    with pytest.raises(BudgetError):  # what is cached costs nothing, but nothing new is asked either
        pipeline(server, tmp_path / "cut", prices=PRICES, budget=small)
    assert len(server.requests) == asked
    facts = pipeline(server, tmp_path / "cut", prices=PRICES, budget=BudgetConfig(tokens=10**6))
    assert facts == expected | {"settings": facts["settings"]}
    assert shard_bytes(tmp_path / "cut") == shard_bytes(tmp_path / "whole")
    assert_each_question_answered_once(server, expected["usage"]["answers"])
    assert book(tmp_path / "cut").paid().tokens == server.usage().tokens


def test_budget_in_money_is_never_exceeded(tmp_path):
    server = LlmServer()
    tasks = [Task(i) for i in range(24)]
    with pytest.raises(BudgetError, match=r"generate.budget.money=0.025"):
        run(server, tmp_path, tasks, conversations_per_tool_set=1, prices=PRICES, budget=BudgetConfig(money=0.025))
    really = server.usage(prices=PER_MILLION).cost
    assert 0 < really <= 0.025 and book(tmp_path).paid().money == pytest.approx(really, rel=1e-12)


def test_requests_wait_for_those_in_flight_to_turn_out_cheaper(tmp_path):
    server = LlmServer(behaviour="late")
    # Three bounds do not fit at once, yet what three answers really cost does.
    drafts, _ = run(server, tmp_path, budget=BudgetConfig(tokens=13_000), max_concurrency=3)
    assert reasons(drafts) == {None: 12} and book(tmp_path).paid().tokens == server.usage().tokens <= 13_000


def test_cost_stands_in_every_draft_and_in_the_cache(tmp_path):
    server = LlmServer()
    drafts, _ = run(server, tmp_path, prices=PRICES)
    usage = sum((draft.usage for draft in drafts), Usage())
    assert usage.cost == pytest.approx(server.usage(prices=PER_MILLION).cost, rel=1e-12)
    again = list(teacher("http://127.0.0.1:9/v1", tmp_path).drafts(TASKS))  # unpriced now; bought at a price then
    assert again == drafts


def test_refused_key_leaves_no_reservation(tmp_path):
    with pytest.raises(GenerationError, match="is not accepted"):
        run(LlmServer(key="another"), tmp_path)
    assert not book(tmp_path).has_pending() and book(tmp_path).lost().count == 0


def test_unreachable_server_costs_nothing(tmp_path):
    with pytest.raises(GenerationError, match="no connection"):
        list(teacher("http://127.0.0.1:9/v1", tmp_path).drafts(TASKS))
    assert not book(tmp_path).has_pending() and book(tmp_path).lost().count == 0


@pytest.mark.parametrize(
    "body", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": {"content": 5}}]}, [], "text", None]
)
def test_bodies_that_are_no_completion(body):
    with pytest.raises(NoCompletionError):
        read_answer(body, None)


def test_killed_at_any_moment_only_what_is_in_flight_is_asked_again(tmp_path):
    expected, _ = run(LlmServer(), tmp_path / "whole")
    for event in count(1):
        server, folder = LlmServer(), tmp_path / str(event)
        with serving(server) as url:
            asked = partial(teacher, url, folder, max_concurrency=1)
            moments = ((Ledger, "settle"), (Ledger, "reserve"))
            killed = is_killed_before(event, lambda asked=asked: list(asked().drafts(TASKS)), moments)
        drafts, _ = run(server, folder)
        assert drafts == expected, event
        texts = Counter(json.dumps(task, sort_keys=True) for task in server.answered)
        assert len(texts) == 3 and texts.total() <= 4, event
        with sqlite3.connect(folder / "llm_cache" / "costs.sqlite3") as costs:
            costs.execute("UPDATE reserved SET until = 0")  # some minutes later
        assert not book(folder).has_pending()
        spent = book(folder).paid().tokens + book(folder).lost().tokens
        assert spent >= server.usage().tokens and book(folder).lost().count <= 1, event
        if not killed:
            break
    assert event > 9 and spent == server.usage().tokens


def test_settings_that_change_only_where_how_fast_and_at_what_price_make_the_same_data():
    def chosen(**changes):
        return generation_settings(Config(generate=settings("http://a/v1", **changes)))

    judge = JudgeConfig(llm="j")
    assert chosen() == chosen(
        base_url="http://b/v1",
        requests_per_minute=5,
        tokens_per_minute=9,
        prices=PRICES,
        budget=BudgetConfig(tokens=1),
        batch_api=True,
        batch_poll_s=1.0,
    )
    assert chosen(judge=judge) == chosen(judge=replace(judge, base_url="http://c/v1", api_key_env="K", prices=PRICES))
    others = [
        chosen(judge=judge),
        chosen(judge=replace(judge, votes=3, temperature=0.5)),
        chosen(llm_mode="free"),
        chosen(max_tokens=7),
        chosen(),
    ]
    assert all(a != b for i, a in enumerate(others) for b in others[i + 1 :])


def test_local_processes_share_the_limits_of_a_server():
    config = settings("http://a/v1", max_concurrency=7, requests_per_minute=100, tokens_per_minute=0)
    share = _share_of(config, 3)
    assert (share.max_concurrency, share.requests_per_minute, share.tokens_per_minute) == (2, 33, 0)
    assert _share_of(replace(config, requests_per_minute=2), 3).requests_per_minute == 1
