"""The language-model teacher against a real HTTP server on the loopback."""

import json
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from llm_helpers import PRICES, TASKS, pipeline, reasons, run, shard_bytes, teacher
from llm_server import KEY, LlmServer, serving
from pipeline_fakes import FakePlanner

from data_pipeline.llm.client import LlmClient
from data_pipeline.llm.grouping import group_by_tools
from data_pipeline.llm.ledger import Ledger
from data_pipeline.llm.prompts import ANSWER_SCHEMA
from data_pipeline.llm.repair import read_list
from data_pipeline.llm.wire import LlmSettings, Request, retry_after
from data_pipeline.teachers import Task, Usage
from fcdist.config.types import BudgetConfig
from fcdist.errors import GenerationError
from fcdist.schema.checks import check_conversation
from fcdist.schema.shards import read_shard, shard_paths

pytestmark = pytest.mark.usefixtures("words_key")


def test_words_change_and_ground_truth_stays(tmp_path):
    server = LlmServer()
    drafts, _ = run(server, tmp_path)
    assert [d.task for d in drafts] == TASKS and reasons(drafts) == {None: 12}
    for draft in drafts:
        plan, said = FakePlanner(0).conversation(draft.task.index), draft.conversation
        check_conversation(said)
        assert [m.tool_calls for m in said.messages] == [m.tool_calls for m in plan.messages]
        results = [m for m in plan.messages if m.role == "tool"]
        assert [m for m in said.messages if m.role == "tool"] == results
        assert said.messages[0].content != plan.messages[0].content
        assert said.messages[1].thought == "Well: " + plan.messages[1].thought
        assert (said.source, said.tools, said.id) == ("openai", plan.tools, plan.id)
        assert said.metadata["llm"] == "words-1"
    assert len(server.requests) == 3  # four conversations of one tool set each
    assert server.requests[0]["response_format"]["json_schema"]["strict"] is True


def test_usage_is_what_the_server_counted_and_a_rerun_is_free(tmp_path):
    server = LlmServer()
    drafts, asked = run(server, tmp_path)
    usage = sum((d.usage for d in drafts), Usage())
    assert usage == server.usage()
    assert asked.traffic().billed == usage and asked.traffic().requests == 3
    again = teacher("http://127.0.0.1:9/v1", tmp_path)  # nothing listens there
    assert list(again.drafts(TASKS)) == drafts
    assert (again.traffic().requests, again.traffic().cached, again.traffic().billed) == (0, 3, Usage())


def test_cache_is_keyed_by_everything_that_shapes_the_answer(tmp_path):
    server = LlmServer()
    run(server, tmp_path)
    for changes in ({"llm": "words-2"}, {"temperature": 0.1}, {"conversations_per_tool_set": 2}):
        before = len(server.requests)
        run(server, tmp_path, **changes)
        assert len(server.requests) > before
    before = len(server.requests)
    run(server, tmp_path, max_concurrency=1, timeout_s=9.0)
    assert len(server.requests) == before


def test_key_is_written_nowhere(tmp_path):
    run(LlmServer(), tmp_path)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) == 4 and not any(KEY.encode() in p.read_bytes() for p in files)


def test_requests_in_flight_are_bounded(tmp_path):
    server = LlmServer(behaviour="late")
    run(server, tmp_path, tasks=[Task(i) for i in range(24)], conversations_per_tool_set=1)
    assert len(server.requests) > 20 and server.most_in_flight == 3


@pytest.mark.parametrize("trouble", ["429", "500", "not_json"])
def test_passing_trouble_is_retried_and_nothing_is_lost_or_asked_twice(tmp_path, trouble):
    server = LlmServer(script=[trouble, trouble])
    started = time.monotonic()
    drafts, asked = run(server, tmp_path, max_concurrency=1)
    assert reasons(drafts) == {None: 12}
    assert len(server.requests) == 5 and len(server.answered) == 3
    assert len({json.dumps(task) for task in server.answered}) == 3
    assert (asked.traffic().requests, asked.traffic().retries) == (5, 2)
    assert asked.traffic().billed == server.usage()
    if trouble == "429":
        assert time.monotonic() - started > 0.4  # twice the 0.2 s of retry-after


def test_slow_answer_times_out_and_is_asked_again(tmp_path):
    server = LlmServer(script=["good", "slow"])
    drafts, asked = run(server, tmp_path, max_concurrency=1, timeout_s=0.3)
    assert reasons(drafts) == {None: 12} and asked.traffic().retries == 1


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("500", r"status 500, 3 times in a row.*run again"),
        ("401", r"status 401: the key in WORDS_KEY is not accepted"),
        ("404", r"status 404: generate.llm=words-1"),
        ("quota", r"status 429: the account's quota"),
    ],
)
def test_lasting_trouble_ends_the_run_with_the_cause(tmp_path, behaviour, message):
    server = LlmServer(behaviour=behaviour)
    with pytest.raises(GenerationError, match=message) as error:
        run(server, tmp_path, max_concurrency=1)
    assert KEY not in str(error.value)
    assert len(server.requests) == (3 if behaviour == "500" else 1)  # refusals are not retried


def test_answers_before_a_failure_are_kept(tmp_path):
    server = LlmServer(script=["good", "good", "401"])
    with pytest.raises(GenerationError):
        run(server, tmp_path, max_concurrency=1)
    drafts, asked = run(server, tmp_path)
    assert reasons(drafts) == {None: 12}
    assert (asked.traffic().requests, asked.traffic().cached) == (1, 2) and len(server.answered) == 3


def test_unreachable_server(tmp_path):
    asked = teacher("http://127.0.0.1:9/v1", tmp_path, max_retries=6)
    with pytest.raises(GenerationError, match=r"base_url=http://127.0.0.1:9/v1: no connection .* 3 times in a row"):
        list(asked.drafts(TASKS))


def test_wrong_key(tmp_path):
    with pytest.raises(GenerationError, match="the key in WORDS_KEY is not accepted") as error:
        run(LlmServer(key="another"), tmp_path)
    assert KEY not in str(error.value)


def test_missing_key_and_missing_model(tmp_path, monkeypatch):
    with pytest.raises(GenerationError, match=r"generate.llm is empty"):
        teacher("http://127.0.0.1:9/v1", tmp_path, llm="")
    monkeypatch.delenv("WORDS_KEY")
    with pytest.raises(GenerationError, match=r"generate.api_key_env=WORDS_KEY: .* not set"):
        teacher("http://127.0.0.1:9/v1", tmp_path)


@pytest.mark.parametrize(("behaviour", "form", "extra"), [("unsupported", "json_object", 1), ("plain", None, 2)])
def test_server_without_json_schema_is_asked_otherwise(tmp_path, behaviour, form, extra):
    server = LlmServer(behaviour=behaviour)
    drafts, asked = run(server, tmp_path, max_concurrency=1)
    assert reasons(drafts) == {None: 12} and len(server.requests) == 3 + extra
    assert server.requests[-1].get("response_format", {}).get("type") == form
    drafts_again, asked = run(server, tmp_path)
    assert drafts_again == drafts and asked.traffic().requests == 0


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("fenced", {None: 12}),
        ("foreign", {None: 12}),
        ("refusal", {"llm_refused": 12}),
        ("malformed", {"llm_unreadable": 12}),
        ("unchanged", {"llm_unchanged": 12}),
        ("fewer", {None: 9, "llm_missing_item": 3}),
        ("twice", {None: 9, "llm_duplicate_item": 3}),
        ("fewer_texts", {None: 9, "llm_wrong_texts": 3}),
        ("value", {None: 9, "llm_value_changed": 3}),
        ("number", {None: 9, "llm_new_number": 3}),
    ],
)
def test_bad_content_is_refused_item_by_item(tmp_path, behaviour, expected):
    server = LlmServer(behaviour=behaviour)
    drafts, _ = run(server, tmp_path)
    assert reasons(drafts) == expected and len(server.requests) == 3
    assert [d.task for d in drafts] == TASKS


def test_truncated_answer_keeps_its_complete_items(tmp_path):
    drafts, _ = run(LlmServer(behaviour="truncated"), tmp_path)
    found = reasons(drafts)
    assert set(found) == {None, "llm_missing_item"} and found[None] >= 6 and found.total() == 12


def test_refused_items_are_tried_again_and_quotas_are_met(tmp_path):
    server = LlmServer(script=["fewer", "value", "malformed"])
    facts = pipeline(server, tmp_path)
    assert (facts["kept"], facts["missing"]) == (12, 0) and facts["counts"] == {"single": 6, "negative": 6}
    outcomes = Counter()
    for categories in facts["yields"]["openai"].values():
        outcomes += Counter({k: v for k, v in categories.items() if k.startswith("llm_")})
    assert {"llm_missing_item", "llm_value_changed", "llm_unreadable"} == set(outcomes)
    assert facts["usage"] == asdict(server.usage())
    shards = shard_paths(tmp_path / "shards" / "function_call")
    assert [c.id for path in shards for c in read_shard(path)] == [f"c{i}" for i in range(12)]


def test_same_files_from_any_number_of_processes_given_the_cache(tmp_path):
    server = LlmServer(script=["fewer", "malformed"], behaviour="late")
    facts = pipeline(server, tmp_path, num_workers=2, max_concurrency=2, prices=PRICES)
    assert server.most_in_flight <= 2  # of all processes together
    paid = Ledger(tmp_path / "llm_cache" / "costs.sqlite3", BudgetConfig()).paid()
    assert (paid.count, paid.tokens) == (server.usage().answers, server.usage().tokens)
    assert paid.money == pytest.approx(facts["usage"]["cost"], rel=1e-9)
    expected, asked = shard_bytes(tmp_path), len(server.requests)
    for path in (tmp_path / "shards" / "function_call").iterdir():
        path.unlink()
    pipeline(server, tmp_path, max_concurrency=5)
    assert shard_bytes(tmp_path) == expected and len(server.requests) == asked


def test_restart_after_failure_pays_only_for_what_is_missing(tmp_path):
    server = LlmServer(script=["good", "good", "401"])
    with pytest.raises(GenerationError):
        pipeline(server, tmp_path, max_concurrency=1)
    facts = pipeline(server, tmp_path, max_concurrency=1)
    texts = [json.dumps(task, sort_keys=True) for task in server.answered]
    assert facts["kept"] == 12 and len(texts) == len(set(texts)) == facts["usage"]["answers"]


def test_equal_requests_are_sent_once(tmp_path):
    server = LlmServer(behaviour="late")
    task = {"functions": [], "conversations": []}
    request = Request(({"role": "system", "content": "x"}, {"role": "user", "content": json.dumps(task)}), {}, "v")
    with serving(server) as url:
        client = LlmClient(
            LlmSettings(url, "WORDS_KEY", "words-1", 0.5), tmp_path, Ledger(tmp_path / "c", BudgetConfig())
        )
        first, second = client.complete_all([request, request])
    assert first == second and len(server.requests) == 1


def test_grouping_keeps_order_size_and_tool_set():
    plans = [FakePlanner(0, block=3).conversation(i) for i in range(20)]
    groups = group_by_tools(plans, 4)
    assert sorted(i for group in groups for i in group) == list(range(20))
    assert all(len(group) <= 4 and len({plans[i].tools[0].name for i in group}) == 1 for group in groups)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "3"}, 3), ({"retry-after-ms": "250"}, 0.25), ({"retry-after": "soon"}, 0), ({}, 0)],
)
def testretry_after(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_date_in_the_past_is_no_wait_and_waits_are_bounded():
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"retry-after": "86400"}) == 600


@pytest.mark.parametrize(
    ("reply", "ids"),
    [
        ('[{"id": 0, "texts": ["a"]}]', [0]),
        ('{"conversations": [{"id": 0, "texts": ["a"]}, {"id": 1, "texts": ["b"]}]}', [0, 1]),
        ('{"id": 2, "texts": []}', [2]),
        ('{"conversations": [{"id": 0, "texts": ["a"]}, {"id": 1, "te', [0]),
        ('ok ```json\n[{"id": 1, "texts": ["a"]}]\n``` and done', [1]),
        ('{"conversations": [{"id": "0", "texts": ["a"]}, {"id": true, "texts": []}, 7]}', []),
        ("[[", []),
        ("", []),
        ("null", []),
    ],
)
def test_replies_are_repaired(reply, ids):
    assert [item["id"] for item in read_list(reply, ANSWER_SCHEMA)] == ids


def test_programmatic_path_does_not_import_openai():
    code = (
        "import sys, data_pipeline.generate, data_pipeline.teachers;"
        "bad = {'openai', 'torch', 'transformers'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
