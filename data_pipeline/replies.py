"""What the assistant says: questions, refusals, thoughts, and answers made of result fields only."""

import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from data_pipeline.catalogue import FOLDER, BaseTool
from data_pipeline.slots import Value, join_words

_FIELD = re.compile(r"\{([\w.]+)\}")
_THOUGHTS_CALL = {
    "en": (
        "The user wants to {h}. {t} fits.",
        "{t} does this: {a} given.",
        "Call {t} with {a}.",
        "{t} fits; given: {a}.",
        "This needs {t}.",
    ),
    "zh": (
        "用户想{h}，调用{t}。",
        "{t}符合，已给出{a}。",
        "用{t}，参数有{a}。",
        "需要调用{t}。",
        "{t}可以完成，{a}都有了。",
    ),
}
_THOUGHTS_NONE = {
    "en": (
        "No offered tool can do this.",
        "None of the tools fits this request.",
        "There is no tool for this, so say so.",
    ),
    "zh": ("没有工具能做这件事。", "现有工具都不适合这个请求。", "没有合适的工具，直接说明。"),
}
_THOUGHTS_TALK = {
    "en": ("No tool is needed here.", "This can be answered directly.", "Just a chat; no call."),
    "zh": ("不需要工具。", "可以直接回答。", "无需调用，直接回复。"),
}
_THOUGHTS_ASK = {
    "en": (
        "{t} needs the {n}; not given, so ask.",
        "Missing: {n}. Ask for it.",
        "{t} fits; not given: {n}.",
    ),
    "zh": ("{t}需要{n}，用户没说，要问。", "缺少{n}，先询问。", "{t}合适，但没有给出{n}。"),
}


@lru_cache(maxsize=1)
def replies() -> Any:
    """Sentences of both languages."""
    return yaml.safe_load((FOLDER / "replies.yaml").read_text(encoding="utf-8"))


def sentence(language: str, kind: str, rng: random.Random, **slots: str) -> str:
    """One of the sentences of `kind`, filled in."""
    return str(rng.choice(replies()[language][kind])).format(**slots)


def head_of(tool: BaseTool, language: str) -> str:
    """The tool's purpose as an imperative without slots."""
    if tool.id.startswith("lookup_"):
        return f"查询{tool.noun[1]}" if language == "zh" else f"look up the {tool.noun[0]}"
    heads = tool.heads_zh if language == "zh" else tool.heads_en
    return next(head for head in heads if "{" not in head and head[-1] not in "?？")


def thought_call(
    names: Sequence[str], bases: Sequence[BaseTool], arguments: Sequence[str], language: str, rng: random.Random
) -> str:
    """Names the tools that are called, and sometimes the arguments that were given."""
    given = join_words(list(arguments), language) if arguments else ("nothing" if language == "en" else "无")
    tools = join_words(list(dict.fromkeys(names)), language)
    if len(names) > 1:
        return f"{len(names)} calls are needed: {tools}." if language == "en" else f"需要{len(names)}次调用：{tools}。"
    options = (
        _THOUGHTS_CALL[language]
        if 0 < len(arguments) <= 5
        else _THOUGHTS_CALL[language][:1] + _THOUGHTS_CALL[language][-1:] * (language == "en")
    )
    return rng.choice(options).format(t=tools, a=given, h=_own(head_of(bases[0], language)))


def _own(head: str) -> str:
    return re.sub(r"\b(my|me)\b", lambda m: {"my": "their", "me": "them"}[m[1]], head)


def thought(kind: str, language: str, rng: random.Random, **slots: str) -> str:
    """A thought before a turn without call: none, talk or ask."""
    table = {"none": _THOUGHTS_NONE, "talk": _THOUGHTS_TALK, "ask": _THOUGHTS_ASK}[kind]
    return rng.choice(table[language]).format(**slots)


def answer(
    tool: BaseTool, values: Mapping[str, Value], result: Mapping[str, Any], language: str, rng: random.Random
) -> str:
    """One or two sentences about `result`."""
    chinese = language == "zh"
    if "error" in result:
        return sentence(language, "error", rng, i=str(list(result.values())[1]))
    if tool.say is not None:
        text = _FIELD.sub(lambda m: _field(m[1], values, result), tool.say[chinese])
        first = text.split(" ")[0]
        return text if chinese or any(char.isdigit() for char in first) else text[:1].upper() + text[1:]
    noun = tool.noun[chinese]
    issued = next((str(value) for key, value in result.items() if key.endswith("_id")), None)
    if issued is not None:
        return sentence(language, "done", rng, n=noun, i=issued)
    if "results" in result:
        rows = result["results"]
        first = next(iter(rows[0]))
        listed = join_words([_row(row, first, chinese) for row in rows], language)
        return sentence(language, "found", rng, l=listed, k=str(len(rows)))
    status = str(result.get("status", ""))
    if status == "done":
        return sentence(language, "status_done", rng, n=noun)
    words = {"cancelled": "已取消", "updated": "已更新", "sent": "已发送"}
    return sentence(language, "status", rng, n=noun, s=words.get(status, status) if chinese else status)


def _row(row: Mapping[str, Any], first: str, chinese: bool) -> str:
    rest = [str(value) for key, value in row.items() if key != first]
    if not rest:
        return str(row[first])
    return f"{row[first]}（{rest[0]}）" if chinese else f"{row[first]} ({rest[0]})"


def _field(path: str, values: Mapping[str, Value], result: Mapping[str, Any]) -> str:
    head, _, tail = path.partition(".")
    if head.isdigit():
        rows = next(value for value in result.values() if isinstance(value, list))
        return str(rows[int(head)][tail])
    if head in result:
        return number(result[head])
    return values[head].text


def number(value: Any) -> str:
    """A result value as it is said."""
    return str(value)
