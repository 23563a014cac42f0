"""What the assistant says: questions, refusals, thoughts, and answers made of result fields only."""

import json
import random
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import yaml

from data_pipeline.catalogue import FOLDER, BaseTool
from data_pipeline.slots import Value, join_words

_FIELD = re.compile(r"\{([\w.]+)\}")
_MAX_FACTS = 6
"""Arguments that a thought spells out; of the others it tells the name."""
_MAX_WORDS = 40
"""Longest words for a value, in characters, that a thought repeats."""
_MAX_THOUGHT = 280
"""Longest facts of a thought, in characters; longer ones shrink to the names of the arguments."""
_QUOTES = "\"'“”「」《》"
_THOUGHTS_CALL = {
    "en": (
        "Call {t} with {a}.",
        "{t} fits; given {a}.",
        "{t} does this: {a}.",
        "This needs {t}: {a}.",
        "Use {t}; {a}.",
    ),
    "zh": (
        "调用{t}，{a}。",
        "{t}符合，已知{a}。",
        "用{t}，参数：{a}。",
        "需要{t}：{a}。",
        "使用{t}；{a}。",
    ),
}
_THOUGHTS_CALL_BARE = {
    "en": ("Call {t}.", "{t} fits; it needs nothing else.", "This needs {t}."),
    "zh": ("调用{t}。", "{t}符合，不需要参数。", "需要{t}。"),
}
_THOUGHTS_CALLS = {
    "en": ("{k} calls are needed: {a}.", "This takes {k} calls: {a}.", "Call {a}."),
    "zh": ("需要{k}次调用：{a}。", "要调用{k}次：{a}。", "调用{a}。"),
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


def thought_call(calls: Sequence[tuple[str, Mapping[str, Value]]], language: str, rng: random.Random) -> str:
    """The reasoning before calls: the tool, and for each argument the user's words and what they become.

    Args:
        calls: name and arguments, by public parameter name, of each call.
        language: of the thought.
        rng: source of the layout.
    """
    colon, comma = ("：", "，") if language == "zh" else (": ", ", ")
    facts = [comma.join(_facts(values, colon)) for _, values in calls]
    if sum(map(len, facts)) > _MAX_THOUGHT:
        facts = [comma.join(values) for _, values in calls]
    if len(calls) > 1:
        opening, closing = ("（", "）") if language == "zh" else (" (", ")")
        each = [
            f"{name}{opening}{fact}{closing}" if fact else name for (name, _), fact in zip(calls, facts, strict=True)
        ]
        layout = rng.choice(_THOUGHTS_CALLS[language])
        return layout.format(k=len(calls), a=("；" if language == "zh" else "; ").join(each))
    layouts = _THOUGHTS_CALL if facts[0] else _THOUGHTS_CALL_BARE
    return rng.choice(layouts[language]).format(t=calls[0][0], a=facts[0])


def _facts(values: Mapping[str, Value], colon: str) -> list[str]:
    """`name: words`, or `name: words = argument` where they differ."""
    out: list[str] = []
    for name, value in values.items():
        argument = (
            "" if isinstance(value.arg, (Mapping, list)) else json.dumps(value.arg, ensure_ascii=False).strip('"')
        )
        if not argument or len(value.text) > _MAX_WORDS or len(argument) > _MAX_WORDS or len(out) >= _MAX_FACTS:
            out.append(name)
        elif value.text.strip(_QUOTES) in (argument, ""):
            out.append(f"{name}{colon}{argument}")
        else:
            out.append(f"{name}{colon}{value.text} = {argument}")
    return out


def thought(kind: str, language: str, rng: random.Random, **slots: str) -> str:
    """A thought before a turn without call: none, talk or ask."""
    table = {"none": _THOUGHTS_NONE, "talk": _THOUGHTS_TALK, "ask": _THOUGHTS_ASK}[kind]
    return rng.choice(table[language]).format(**slots)


def answer(
    tool: BaseTool, values: Mapping[str, Value], result: Mapping[str, Any], language: str, rng: random.Random
) -> str:
    """One or two sentences about `result`."""
    if tool.backing is not None:
        return tool.backing.answer(result, language, rng)
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
