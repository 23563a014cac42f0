"""What imported tools return: by their declared result, else by what their verb promises; and how it is told."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data_pipeline.expressions import evaluate
from data_pipeline.importers.arithmetic import Operation, computed
from data_pipeline.importers.lexicon import lexicon, noun_en, noun_zh, translate
from data_pipeline.importers.parameters import parameter
from data_pipeline.importers.raw import RefusedError, words_of
from data_pipeline.importers.roles import Setting, role_of, slot_of_role
from data_pipeline.importers.samplers import draw_name
from data_pipeline.importers.schemas import settle
from data_pipeline.people import person
from data_pipeline.replies import sentence
from data_pipeline.slots import Context, Spec, bare, join_words
from fcdist.errors import GenerationError

Draw = Callable[[Context, Mapping[str, Any]], Any]
"""(context, arguments by plain name) → a result value."""
_MAX_FIELDS = 8
_MAX_TOLD = 4
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


def plain(name: str) -> str:
    """A name without case style: userId, user_id and user-id are the same."""
    return "".join(words_of(name))


@dataclass(frozen=True, slots=True)
class DeclaredValue:
    """A scalar of a declared result; an argument of the same name comes back unchanged."""

    name: str
    spec: Spec
    kind: type
    values: tuple[Any, ...]
    """Of an enum, else empty."""

    def __call__(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Draw it."""
        given = arguments.get(plain(self.name))
        if isinstance(given, self.kind) and not self.values:
            return given
        if self.values:
            return context.rng.choice(self.values)
        if self.kind is bool:
            return context.rng.random() < 0.8
        return self.spec["draw"](self.spec, context).arg


@dataclass(frozen=True, slots=True)
class DeclaredObject:
    """An object of a declared result, all of whose servable fields are filled."""

    fields: tuple[tuple[str, Draw], ...]

    def __call__(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Draw it."""
        return {key: draw(context, arguments) for key, draw in self.fields}


@dataclass(frozen=True, slots=True)
class DeclaredList:
    """A list of a declared result, one to three items."""

    item: Draw

    def __call__(self, context: Context, arguments: Mapping[str, Any]) -> Any:
        """Draw it; items are different from one another where they can be."""
        rows: list[Any] = []
        for _ in range(context.rng.randint(2, 3)):
            row = self.item(context, {})
            if row not in rows:
                rows.append(row)
        return rows


def declared(name: str, schema: Any, setting: Setting, depth: int = 0) -> Draw:
    """How to draw a value of a result schema. Raises RefusedError where no value can be told."""
    node = settle(schema, depth)
    if node["type"] == "object":
        fields: list[tuple[str, Draw]] = []
        for key, inner in list((node.get("properties") or {}).items()):
            try:
                fields.append((key, declared(key, inner, setting, depth + 1)))
            except RefusedError:
                if key in (node.get("required") or ()):
                    raise
        if not fields:
            raise RefusedError("result_unknown", f"{name} declares no fields")
        return DeclaredObject(tuple(fields[:_MAX_FIELDS]))
    if node["type"] == "array":
        return DeclaredList(declared(name, node.get("items"), setting, depth + 1))
    spec = parameter("value", name, node, True, setting).spec
    kind = {"boolean": bool, "integer": int, "number": (int, float)}.get(node["type"], str)
    return DeclaredValue(name, spec, kind, tuple(node.get("enum") or ()))  # type: ignore[arg-type]


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
    if operation is not None:
        value = computed(operation, [number for number in arguments.values() if isinstance(number, int | float)])
        return {"result": value} if value is not None else {"error": "invalid", "message": "math domain error"}
    if act == "compute":
        return {"result": _computed(things, arguments, rng)}
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


def _named(things: Sequence[str], context: Context) -> str | None:
    """What one of the things may be called: by the role that the thing's word has as a parameter; None: unknown."""
    last = things[-1] if things else ""
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


def _computed(things: Sequence[str], arguments: Mapping[str, Any], rng: random.Random) -> float:
    numbers = [value for value in arguments.values() if isinstance(value, int | float) and not isinstance(value, bool)]
    numbers += [n for v in arguments.values() if isinstance(v, list) for n in v if isinstance(n, int | float)]
    if "sum" in things and numbers:
        return _neat(sum(numbers))
    if {"mean", "average"} & set(things) and numbers:
        return _neat(sum(numbers) / len(numbers))
    for function, words in ((max, ("max", "maximum")), (min, ("min", "minimum"))):
        if set(words) & set(things) and numbers:
            return _neat(function(numbers))
    if isinstance(text := arguments.get("expression"), str):
        try:
            return _neat(evaluate(text, {}))
        except (GenerationError, ArithmeticError, ValueError):
            pass  # not a sum that can be checked here
    return _neat(rng.choice((rng.randint(2, 900), round(rng.uniform(1, 300), 2))))


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


def tell(
    noun: tuple[str, str], act: str, result: Mapping[str, Any], issued: Any, language: str, rng: random.Random
) -> str:
    """One sentence about `result`, of its fields only."""
    chinese = language == "zh"
    if "error" in result:
        return sentence(language, "error", rng, i=str(list(result.values())[1]))
    if issued is not None:
        return sentence(language, "done", rng, n=noun[chinese], i=str(issued))
    rows = next((value for value in result.values() if isinstance(value, list) and value), None)
    if rows is not None:
        listed = join_words([_row(row, chinese) for row in rows], language)
        return sentence(language, "found", rng, l=listed, k=str(len(rows)))
    facts = list(_facts(result, chinese))[:_MAX_TOLD]
    if set(result) == {"status"} and act in ("create", "book", "update", "cancel", "send"):
        return sentence(language, "status", rng, n=noun[chinese], s=str(result["status"]))
    if not facts or set(result) == {"status"}:
        return rng.choice(_FINISHED[chinese]).format(n=noun[chinese])
    if len(result) == 1 and set(result) <= set(_TEXTS.values()):
        return rng.choice(_SAYING[chinese]).format(facts[0][1])
    if set(result) == {"result"}:
        return rng.choice(_RESULTS[chinese]).format(facts[0][1])
    if set(result) == {"name", "status"}:
        return rng.choice(_NAMED[chinese]).format(n=noun[chinese], t=result["name"], s=result["status"])
    return _sentence_of(facts, noun[chinese], chinese, rng)


_FINISHED = (
    ("All right, that's done.", "OK, done.", "That worked without a problem.", "Done, it went through."),
    ("好的，已经处理完毕。", "已完成。", "好的，搞定了。", "操作成功。"),
)
_SAYING = (
    ('It says: "{}".', 'This is what it says: "{}".', 'Here is the text: "{}".'),
    ("内容如下：“{}”。", "内容是：“{}”。", "查到的内容：“{}”。"),
)
_RESULTS = (
    ("The result is {}.", "The answer is {}.", "It comes to {}."),
    ("结果是{}。", "得到的结果：{}。", "答案是{}。"),
)
_NAMED = (
    ("Here is the {n}: {t} ({s}).", "I found the {n}: {t}, {s}.", "The {n} is {t}; status: {s}."),
    ("{n}如下：{t}（{s}）。", "查到了{n}：{t}，状态{s}。", "{n}是{t}，{s}。"),
)


def _sentence_of(facts: Sequence[tuple[str, str]], noun: str, chinese: bool, rng: random.Random) -> str:
    if chinese:
        layout, link = rng.choice((("{}。", "{}是{}"), ("查到了：{}。", "{}为{}"), ("结果如下：{}。", "{} {}")))
        return layout.format("，".join(link.format(name, value) for name, value in facts))
    if rng.random() < 0.5:
        told = join_words(
            [
                f"the {name} {'are' if name.endswith('s') and not name.endswith(('ss', 'us')) else 'is'} {value}"
                for name, value in facts
            ],
            "en",
        )
        return told[0].upper() + told[1:] + "."
    layout = rng.choice(("Here is what I found: {}.", "I have it: {}.", "The {n}: {}.", "For the {n} I got {}."))
    return layout.format(", ".join(f"{name} {value}" for name, value in facts), n=noun)


def _facts(result: Mapping[str, Any], chinese: bool) -> Sequence[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    for key, value in result.items():
        if isinstance(value, Mapping):
            out += _facts(value, chinese)
        elif not isinstance(value, list | bool) and value is not None:
            out.append((field_noun(key, chinese), str(value)))
        elif isinstance(value, bool):
            word = ("是" if value else "否") if chinese else ("yes" if value else "no")
            out.append((field_noun(key, chinese), word))
    return out


def field_noun(key: str, chinese: bool) -> str:
    """A result field in words; digits are left out, so that an answer has no number of its own."""
    words = [word for word in words_of(key) if not word.isdigit()] or ["value"]
    return (noun_zh("_".join(words)) if chinese else noun_en("_".join(words))) or translate(words)


def _row(row: Any, chinese: bool) -> str:
    if not isinstance(row, Mapping):
        return str(row)
    flat = [(key, v) for key, v in row.items() if not isinstance(v, Mapping | list | bool) and v is not None]
    if not flat:
        return "；".join(f"{n} {v}" for n, v in _facts(row, chinese)) or "1"
    first = next((i for i, (key, v) in enumerate(flat) if isinstance(v, str) and plain(key).endswith(_TITLES)), None)
    first = next((i for i, (_, v) in enumerate(flat) if isinstance(v, str)), 0) if first is None else first
    head, rest = str(flat[first][1]), [str(v) for i, (_, v) in enumerate(flat) if i != first][:1]
    if not rest:
        return head
    return f"{head}（{rest[0]}）" if chinese else f"{head} ({rest[0]})"


_TITLES = ("name", "title", "headline", "label", "summary", "subject")
