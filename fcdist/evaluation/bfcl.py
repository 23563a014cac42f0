"""The Berkeley Function-Calling Leaderboard: data and checker of the PyPI package `bfcl-eval`, without its other parts.

The package is optional and installed without its dependencies; only its JSON files and `ast_checker`, a pure function
of JSON values, are used. Model output reaches the checker as decoded JSON and is never executed: the package's
multi-turn checker, which does execute it, is not imported.
"""

import importlib
import importlib.util
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace
from typing import Any

from fcdist.config.seeds import derive_seed
from fcdist.errors import EvaluationError
from fcdist.evaluation.matching import decoded
from fcdist.evaluation.measures import count, fits_schema
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

INSTALL = "pip install --no-deps bfcl-eval==2026.3.23"
CALL_CATEGORIES = (
    "simple_python",
    "multiple",
    "parallel",
    "parallel_multiple",
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
)
"""Categories whose answers are compared call by call."""
NO_CALL_CATEGORIES = ("irrelevance", "live_irrelevance")
"""Categories where no offered function fits."""
CATEGORIES = CALL_CATEGORIES + NO_CALL_CATEGORIES

_JSON_TYPES = {
    "dict": "object",
    "object": "object",
    "float": "number",
    "number": "number",
    "integer": "integer",
    "tuple": "array",
    "array": "array",
    "list": "array",
    "boolean": "boolean",
    "bool": "boolean",
    "string": "string",
    "any": "string",  # the checker, too, takes it for text
}
_KEPT_KEYWORDS = ("description", "default", "minimum", "maximum", "pattern", "minItems", "maxItems")
_MODEL = "fcdist"
"""Name under which the checker looks up that dots in function names were replaced."""


@dataclass(frozen=True, slots=True)
class BfclItem:
    """One question."""

    id: str
    category: str
    context: Conversation
    functions: Sequence[Mapping[str, Any]]
    """As in the data file; the checker wants them so."""
    possible: Sequence[Mapping[str, Any]]
    """Possible answers: per expected call {name: {argument: [accepted values]}}; empty where no call is due."""


@dataclass(frozen=True, slots=True)
class BfclVerdict:
    """What one answer got right."""

    item: BfclItem
    right: bool
    """By the benchmark's rule."""
    schema_valid: bool
    """Calls were parsed and all fit an offered function's schema."""
    triggered: bool
    """The answer began a call, readable or not."""
    reason: str


def read_category(category: str, limit: int, seed: int) -> list[BfclItem]:
    """Items of one category, in file order.

    Args:
        category: one of CATEGORIES.
        limit: a seeded choice of this many; 0: all.
        seed: chooses them.

    Raises:
        EvaluationError: unknown category, or bfcl-eval is not installed.
    """
    if category not in CATEGORIES:
        raise EvaluationError(f"evaluate.bfcl_categories: {category!r} is not one of {', '.join(CATEGORIES)}")
    data = _package_folder() / "data"
    entries = _read_lines(data / f"BFCL_v4_{category}.json")
    answers: dict[str, Any] = {}
    if category in CALL_CATEGORIES:
        lines = _read_lines(data / "possible_answer" / f"BFCL_v4_{category}.json")
        answers = {line["id"]: line["ground_truth"] for line in lines}
    if 0 < limit < len(entries):
        places = Random(derive_seed(seed, "bfcl", category)).sample(range(len(entries)), limit)
        entries = [entries[place] for place in sorted(places)]
    return [_read_item(entry, category, answers.get(entry["id"], [])) for entry in entries]


def judge_bfcl(item: BfclItem, answer: Message, triggered: bool) -> BfclVerdict:
    """Hold one parsed answer against the benchmark's rule.

    Args:
        item: the question.
        answer: parsed; unreadable calls are text.
        triggered: whether the text began a call at all. The benchmark counts an unreadable call as "no call".
    """
    calls = answer.tool_calls
    by_name = {tool.name: tool for tool in item.context.tools}
    valid = bool(calls) and all(fits_schema(call, by_name) for call in calls)
    if item.category in NO_CALL_CATEGORIES:
        return BfclVerdict(item, not calls, valid, triggered, "called_without_need" if calls else "right")
    if not calls:
        return BfclVerdict(item, False, False, triggered, "unreadable_call" if triggered else "no_call")
    reason = check_calls(item, calls)
    return BfclVerdict(item, reason is None, valid, triggered, reason or "right")


def check_calls(item: BfclItem, calls: Sequence[ToolCall]) -> str | None:
    """The benchmark's own verdict: None, or its error type. Arguments that are not a JSON object are wrong."""
    output: list[dict[str, Any]] = []
    for call in calls:
        arguments = decoded(call)
        if arguments is None:
            return "arguments_not_an_object"
        output.append({call.name: arguments})
    checker, python = _checker()
    try:
        verdict = checker(list(item.functions), output, list(item.possible), python, item.category, _MODEL)
    except (TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
        # The checker assumes well-typed nesting; where an answer breaks that, the answer is what is wrong.
        return f"checker_{type(error).__name__}"
    return None if verdict["valid"] else str(verdict.get("error_type", "wrong"))


def summarise_bfcl(verdicts: Sequence[BfclVerdict]) -> dict[str, dict[str, Any]]:
    """Category → {"right", "of", "schema_valid" | "strict_no_trigger", "reasons"}."""
    grouped: dict[str, list[BfclVerdict]] = defaultdict(list)
    for verdict in verdicts:
        grouped[verdict.item.category].append(verdict)
    summary: dict[str, dict[str, Any]] = {}
    for category, group in grouped.items():
        reasons: dict[str, int] = defaultdict(int)
        for verdict in group:
            reasons[verdict.reason] += 1
        summary[category] = count(v.right for v in group) | {"reasons": dict(sorted(reasons.items()))}
        if category in NO_CALL_CATEGORIES:
            summary[category]["strict_no_trigger"] = count(not v.triggered for v in group)
        else:
            summary[category]["schema_valid"] = count(v.schema_valid for v in group)
    return summary


def first_possible_answer(item: BfclItem) -> list[ToolCall]:
    """The calls made of each argument's first accepted value: what an oracle would answer."""
    calls: list[ToolCall] = []
    for expected in item.possible:
        for name, arguments in expected.items():
            values = {key: _unlist(options[0]) for key, options in arguments.items() if options and options[0] != ""}
            calls.append(ToolCall(id="", name=_json_name(name), arguments=json.dumps(values, ensure_ascii=False)))
    return calls


def _unlist(value: Any) -> Any:
    """An accepted value as a call would carry it: objects list the accepted values of each key, at any depth."""
    if isinstance(value, Mapping):
        chosen = {
            key: options[0] if isinstance(options, list) and options else options for key, options in value.items()
        }
        return {key: _unlist(item) for key, item in chosen.items() if item != ""}
    if isinstance(value, list):
        return [_unlist(item) for item in value]
    return value


def _read_item(entry: Mapping[str, Any], category: str, possible: Sequence[Mapping[str, Any]]) -> BfclItem:
    messages = tuple(Message(role=m["role"], content=m["content"]) for turn in entry["question"] for m in turn)
    tools = tuple(
        Tool(_json_name(f["name"]), f.get("description", ""), json_schema(f["parameters"])) for f in entry["function"]
    )
    return BfclItem(
        id=entry["id"],
        category=category,
        context=Conversation(messages=messages, tools=tools, id=entry["id"], source="bfcl", category=category),
        functions=entry["function"],
        possible=possible,
    )


def json_schema(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A function document's parameters as JSON Schema: types renamed, keywords that are none left out."""
    schema: dict[str, Any] = {}
    if "type" in parameters:
        schema["type"] = _JSON_TYPES.get(str(parameters["type"]).lower(), "string")
    schema |= {key: parameters[key] for key in _KEPT_KEYWORDS if key in parameters}
    if isinstance(parameters.get("enum"), list) and parameters["enum"]:
        schema["enum"] = parameters["enum"]
    if isinstance(parameters.get("properties"), Mapping):
        schema["properties"] = {name: json_schema(item) for name, item in parameters["properties"].items()}
    if isinstance(parameters.get("items"), Mapping):
        schema["items"] = json_schema(parameters["items"])
    if isinstance(parameters.get("required"), list):
        schema["required"] = [name for name in parameters["required"] if name in schema.get("properties", {})]
    return schema


def _json_name(name: str) -> str:
    return name.replace(".", "_")


def _read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _package_folder() -> Path:
    found = importlib.util.find_spec("bfcl_eval")
    if found is None or found.origin is None:
        raise EvaluationError(f"bfcl-eval is not installed: `{INSTALL}`, or set evaluate.bfcl_categories=[]")
    return Path(found.origin).parent


@lru_cache(maxsize=1)
def _checker() -> tuple[Callable[..., Mapping[str, Any]], Any]:
    """(`ast_checker`, its marker for Python)."""
    _package_folder()
    with _import_guard():
        checker = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
        enums = importlib.import_module("bfcl_eval.constants.enums")
    return checker.ast_checker, enums.Language.PYTHON


@contextmanager
def _import_guard() -> Iterator[None]:
    """Import parts of bfcl-eval without what they drag in.

    `constants.model_config` imports every model vendor's client, for one flag; a stand-in with that flag takes its
    place while the checker is imported. Some modules make folders when imported; they go to a temporary place.
    """
    name, key = "bfcl_eval.constants.model_config", "BFCL_PROJECT_ROOT"
    stand_in = ModuleType(name)
    stand_in.MODEL_CONFIG_MAPPING = {_MODEL: SimpleNamespace(underscore_to_dot=True)}  # type: ignore[attr-defined]
    before, root = sys.modules.get(name), os.environ.get(key)
    with tempfile.TemporaryDirectory() as folder:
        sys.modules[name], os.environ[key] = stand_in, folder
        try:
            yield
        finally:
            if before is None:
                del sys.modules[name]
            else:
                sys.modules[name] = before
            if root is None:
                del os.environ[key]
            else:
                os.environ[key] = root
