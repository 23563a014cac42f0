"""Results of tools that declare none: what their verb promises, and what can be computed from the call."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data_pipeline.expressions import evaluate
from data_pipeline.importers.arithmetic import Operation, computed
from data_pipeline.importers.lexicon import lexicon
from data_pipeline.importers.roles import role_of, slot_of_role
from data_pipeline.importers.samplers import draw_name
from data_pipeline.people import person
from data_pipeline.slots import Context, bare
from fcdist.errors import GenerationError

_DONE = {
    "create": "created/saved|已创建/已保存",
    "book": "confirmed|已确认",
    "update": "updated|已更新",
    "cancel": "deleted/removed|已删除",
    "send": "sent/delivered|已发送",
    "control": "completed/done|已完成/已执行",
    "convert": "completed/done|已完成",
    "analyze": "passed/completed|已通过/已完成",
}


def guessed(
    act: str,
    things: Sequence[str],
    context: Context,
    arguments: Mapping[str, Any],
    operation: Operation | None = None,
) -> dict[str, Any]:
    """A result for a tool that declares none.

    Args:
        act: archetype of its verb.
        things: words of what it is about.
        context: source of values.
        arguments: by plain name.
        operation: what it computes, where that is known.
    """
    rng, chinese = context.rng, context.language == "zh"
    if act in _DONE:
        return {"status": _pick(_DONE[act], rng, chinese)}
    if (sure := checked(things, arguments, operation)) is not None:
        return sure
    measured = any(isinstance(value, int | float | list) for value in arguments.values()) or not arguments
    if act == "compute" and not measured:  # a hash, a date: nothing that could be made up
        return {"status": _pick(_DONE["convert"], rng, chinese)}
    if act == "compute":
        return {"result": _neat(rng.choice((rng.randint(2, 900), round(rng.uniform(1, 300), 2))))}
    facts = lexicon()["facts"]
    for thing in reversed(things):
        if thing in facts:
            return {field: _fact(spec, context) for field, spec in facts[thing].items()}
    if things and things[-1] in _TEXTS:
        return {_TEXTS[things[-1]]: context.rng.choice(context.pools["sentence"])[chinese]}
    if things and things[-1] in ("directory", "directories", "folder", "folders"):
        return {"results": _rows(["file"], context, {})}
    plural = bool(things) and things[-1].endswith("s") and not things[-1].endswith(("ss", "us", "is"))
    if act == "search" or plural:
        return {"results": _rows(things, context, arguments)}
    return {"name": _name(things, context), "status": _pick("active/available/ready|正常/可用/就绪", rng, chinese)}


_TEXTS: Mapping[str, str] = {
    **{
        word: "content"
        for word in ("content", "contents", "html", "txt", "text", "markdown", "page", "webpage", "file")
    },
    **{
        word: "text" for word in ("transcript", "lyrics", "readme", "documentation", "docs", "body", "history", "story")
    },
    **{word: "summary" for word in ("summary", "overview", "description", "explanation", "definition", "analysis")},
    **{word: "message" for word in ("help", "greeting", "joke", "quote_of_day", "fact", "advice", "notice")},
    **{word: "output" for word in ("logs", "log", "output", "console")},
}
"""Things that are texts, and the field in which they come."""
TEXT_FIELDS = frozenset(_TEXTS.values())


def _named(things: Sequence[str], context: Context) -> str | None:
    """What one of the things may be called: by the role that the thing's word has as a parameter; None: unknown."""
    last = {"code": "file"}.get(things[-1], things[-1]) if things else ""
    role = role_of(last[:-1] if last.endswith("s") and not last.endswith("ss") else last, "string")
    if role is None or role.get("part") == "query" or role["kind"] in ("quoted", "code", "name", "pattern"):
        return None
    spec = slot_of_role(role, {}).spec
    return str(bare(spec["draw"](spec, context).text))


def _name(things: Sequence[str], context: Context) -> str:
    return _named(things, context) or str(draw_name({}, context).arg)


def _rows(things: Sequence[str], context: Context, arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Two or three hits by their names; where these are unknown, they repeat the words that were searched for."""
    rng, chinese = context.rng, context.language == "zh"
    query = next((v for k, v in arguments.items() if k.endswith(_QUERIES) and isinstance(v, str) and len(v) < 40), None)
    number = rng.randint(2, 3)
    if query is not None and _named(things, context) is None:
        return [{"title": text.format(query)} for text in rng.sample(_TITLES_OF[chinese], number)]
    names = dict.fromkeys(_name(things, context) for _ in range(number))
    return [{"name": name} for name in names if name != query] or [{"name": str(draw_name({}, context).arg)}]


_QUERIES = ("query", "keyword", "keywords", "topic", "term", "search", "q", "question")
_TITLES_OF = (
    ("{}: an overview", "A guide to {}", "{} explained", "What is new in {}", "{} and its history", "Notes on {}"),
    ("{}概览", "{}入门指南", "{}详解", "{}最新进展", "{}的历史", "关于{}的笔记"),
)


def checked(things: Sequence[str], arguments: Mapping[str, Any], operation: Operation | None) -> dict[str, Any] | None:
    """A result that anybody could work out from the call; None: there is none."""
    numbers = [value for value in arguments.values() if isinstance(value, int | float) and not isinstance(value, bool)]
    if operation is not None:
        value = computed(operation, numbers)
        return {"result": value} if value is not None else {"error": "invalid", "message": "math domain error"}
    worth = [_WORTH[value] for key, value in arguments.items() if "currency" in key and value in _WORTH]
    if len(worth) == 2 and len(numbers) == 1:
        return {"result": round(numbers[0] * worth[0] / worth[1], 2)}
    listed = [n for v in arguments.values() if isinstance(v, list) for n in v if isinstance(n, int | float)]
    for words, function in _OF_LISTS:
        if words & set(things) and (numbers + listed):
            return {"result": _neat(function(numbers + listed))}
    if isinstance(text := arguments.get("expression"), str):
        try:
            return {"result": _neat(evaluate(text, {}))}
        except (GenerationError, ArithmeticError, ValueError):
            return None  # not a sum that can be checked here
    return None


_OF_LISTS: tuple[tuple[frozenset[str], Callable[[list[float]], float]], ...] = (
    (frozenset(("sum", "total")), sum),
    (frozenset(("mean", "average")), lambda numbers: sum(numbers) / len(numbers)),
    (frozenset(("max", "maximum")), max),
    (frozenset(("min", "minimum")), min),
)
_WORTH = {
    **{"USD": 1.0, "EUR": 1.09, "GBP": 1.27, "JPY": 0.0067, "CNY": 0.14},
    **{"CAD": 0.73, "AUD": 0.66, "CHF": 1.13, "INR": 0.012, "SGD": 0.75},
}
"""US dollars for one of each, about; the order of the arguments is from, to."""


def _neat(value: float) -> float:
    value = round(value, 4)
    return int(value) if float(value).is_integer() else value


def _pick(options: str, rng: random.Random, chinese: bool) -> str:
    return rng.choice(options.split("|")[chinese].split("/"))


def _fact(spec: str, context: Context) -> Any:
    kind, _, rest = spec.partition(" ")
    rng, chinese = context.rng, context.language == "zh"
    if kind == "pick":
        return _pick(rest, rng, chinese)
    if kind == "pool":
        return bare(rng.choice(context.pools[rest])[chinese])
    if kind == "person":
        return person(rng, context.language)
    parts = [float(part) for part in rest.split()]
    if kind == "time":
        return f"{rng.randint(int(parts[0]), int(parts[1])):02d}:{rng.choice((0, 15, 30, 45)):02d}"
    if kind == "int":
        return rng.randint(int(parts[0]), int(parts[1]))
    return round(rng.uniform(parts[0], parts[1]), int(parts[2]))
