"""BFCL through its own checker. The oracle's counts are known; anything else means data or conversion changed."""

import builtins
import json

import pytest

from fcdist.errors import EvaluationError
from fcdist.evaluation import bfcl
from fcdist.evaluation.bfcl import CATEGORIES, check_calls, first_possible_answer, judge_bfcl, read_category
from fcdist.schema.checks import check_tools
from fcdist.schema.conversation import Message, ToolCall


def judge_calls(item, calls, triggered=True):
    return judge_bfcl(item, Message("assistant", tool_calls=tuple(calls)), triggered)


@pytest.mark.parametrize(
    ("category", "right", "of"),
    [
        ("simple_python", 399, 400),
        ("multiple", 200, 200),
        ("parallel", 200, 200),
        ("parallel_multiple", 199, 200),
        ("live_simple", 256, 258),
        ("live_multiple", 1048, 1053),
    ],
)
def test_oracle(category, right, of):
    items = read_category(category, 0, 0)
    verdicts = [judge_calls(item, first_possible_answer(item)) for item in items]
    assert (sum(v.right for v in verdicts), len(items)) == (right, of)
    for item in items:
        check_tools(item.context.tools)
    assert not any(judge_calls(item, [], triggered=False).right for item in items[:50])


def test_wrong_answers_are_wrong_with_a_reason():
    item = next(i for i in read_category("simple_python", 0, 0) if i.id == "simple_python_0")
    right = {"base": 10, "height": 5}
    cases = {
        "right": right,
        "value_error:others": right | {"base": 11},
        "type_error:simple": right | {"base": "10"},
        "simple_function_checker:missing_required": {"base": 10},
        "simple_function_checker:unexpected_param": right | {"depth": 1},
    }
    for reason, arguments in cases.items():
        verdict = judge_calls(item, [ToolCall("", "calculate_triangle_area", json.dumps(arguments))])
        assert verdict.reason == reason and verdict.right is (reason == "right")
    assert judge_calls(item, []).reason == "unreadable_call"
    assert judge_calls(item, [], triggered=False).reason == "no_call"
    assert check_calls(item, [ToolCall("", "calculate_triangle_area", "[1]")]) == "arguments_not_an_object"


def test_no_model_output_is_executed_or_crashes_the_checker(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("model output was executed")

    items = [item for category in ("simple_python", "live_simple") for item in read_category(category, 60, 0)]
    check_calls(items[0], [])  # imports the checker
    monkeypatch.setattr(builtins, "eval", refuse)
    monkeypatch.setattr(builtins, "exec", refuse)
    hostile = ["__import__('os').system('true')", {"a": {"b": [1]}}, [[1], {"c": None}], 1e308, None, {}]
    for item in items:
        for value in hostile:
            arguments = {name: value for function in item.possible for call in function.values() for name in call}
            calls = [ToolCall("", tool.name, json.dumps(arguments)) for tool in item.context.tools]
            assert judge_calls(item, calls).reason != "" and not judge_calls(item, calls).right


def test_irrelevance_by_the_benchmark_and_strictly():
    item = read_category("irrelevance", 1, 0)[0]
    quiet = judge_calls(item, [], triggered=False)
    broken = judge_calls(item, [], triggered=True)
    called = judge_calls(item, [ToolCall("", item.context.tools[0].name, "{}")])
    assert [v.right for v in (quiet, broken, called)] == [True, True, False]
    summary = bfcl.summarise_bfcl([quiet, broken, called])["irrelevance"]
    assert (summary["right"], summary["of"]) == (2, 3)
    assert summary["strict_no_trigger"] == {"right": 1, "of": 3}


def test_limit_is_a_seeded_choice_in_file_order():
    ids = [item.id for item in read_category("multiple", 0, 0)]
    some = [item.id for item in read_category("multiple", 20, 1)]
    assert some == [item.id for item in read_category("multiple", 20, 1)]
    assert some != [item.id for item in read_category("multiple", 20, 2)]
    assert some == sorted(some, key=ids.index) and len(set(some)) == 20


def test_unknown_category_and_missing_package_say_what_to_do(monkeypatch):
    with pytest.raises(EvaluationError, match="simple_python"):
        read_category("simple", 0, 0)
    monkeypatch.setattr(bfcl.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EvaluationError, match="pip install --no-deps bfcl-eval"):
        read_category(CATEGORIES[0], 0, 0)
