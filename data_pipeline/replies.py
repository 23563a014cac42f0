"""What the assistant says: questions, refusals, and answers made of result fields only."""

import random
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from data_pipeline.catalogue import FOLDER, BaseTool, article, titled
from data_pipeline.slots import Value, join_words
from data_pipeline.tables import read_table

_ARTICLE = re.compile(r"\b([Aa]) ([A-Za-z]+)")
_ONE = re.compile(
    r"(?<![\w.,-])(1 (?:day|hour|minute|second|year|meter|kilometer|result|star|gram|degree|ticket|synonym|row))s\b"
)
_FIELD = re.compile(r"\{([\w.]+)\}")
_SECOND = {"my": "your", "me": "you", "I": "you"}
_THIRD = {"my": "their", "me": "them", "I": "they"}


@lru_cache(maxsize=1)
def replies() -> Any:
    """Sentences of both languages."""
    return read_table(FOLDER / "replies.yaml")


def sentence(language: str, kind: str, rng: random.Random, **slots: str) -> str:
    """One of the sentences of `kind`, filled in."""
    return str(rng.choice(replies()[language][kind])).format(**slots)


@lru_cache(maxsize=4096)
def head_of(tool: BaseTool, language: str) -> str:
    """The tool's purpose as an imperative without slots."""
    if tool.id.startswith("lookup_"):
        return f"查询{tool.noun[1]}" if language == "zh" else f"look up the {tool.noun[0]}"
    heads = tool.heads_zh if language == "zh" else tool.heads_en
    head = next(head for head in heads if "{" not in head and head[-1] not in "?？")
    return head.replace("一下", "")  # 没法查天气, not 没法查一下天气


def is_plural(noun: str) -> bool:
    """Whether an English noun takes "are"; of "number of nights" the first word counts."""
    head = noun.split(" of ")[0]
    return head.endswith("s") and not head.endswith(("ss", "us", "is"))


def second_person(head: str, language: str) -> str:
    """A head of the user's, as said to the user: "check my balance" → "check your balance"."""
    return head.replace("我", "您") if language == "zh" else _with_pronouns(head, _SECOND)


def third_person(head: str, language: str) -> str:
    """A head of the user's, as said about the user: "check my balance" → "check their balance"."""
    return head.replace("我", "自己") if language == "zh" else _with_pronouns(head, _THIRD)


def _with_pronouns(head: str, table: Mapping[str, str]) -> str:
    return " ".join(table.get(word, word) for word in head.split(" "))


def answer(
    tool: BaseTool, values: Mapping[str, Value], result: Mapping[str, Any], language: str, rng: random.Random
) -> str:
    """One or two sentences about `result`."""
    if tool.backing is not None:
        return tool.backing.answer(result, language, rng)
    chinese = language == "zh"
    if "error" in result:
        kind = "error_conflict" if result["error"] == "conflict" else "error"
        return sentence(language, kind, rng, i=str(list(result.values())[1]))
    if tool.say is not None:
        text = _FIELD.sub(lambda m: _field(m[1], values, result), tool.say[chinese])
        first = text.split(" ")[0]
        if chinese:
            return text
        text = _ARTICLE.sub(lambda m: f"{m[1]} {m[2]}" if article(m[2]) == "a" else f"{m[1]}n {m[2]}", text)
        return singular_after_one(text if any(char.isdigit() for char in first) else text[:1].upper() + text[1:])
    noun = tool.noun[chinese]
    issued = next((str(value) for key, value in result.items() if key.endswith("_id")), None)
    if issued is not None:
        return sentence(language, "done", rng, n=noun, i=issued)
    if "results" in result:
        rows = result["results"]
        first = next(iter(rows[0]))
        pool = str(tool.out["results"]["of"][first]).removeprefix("pool ") if chinese else ""
        listed = join_words([_row(row, first, pool, chinese) for row in rows], language)
        return sentence(language, "found", rng, l=listed, k=str(len(rows)))
    status = str(result.get("status", ""))
    if status == "done":
        return sentence(language, "status_done", rng, n=noun)
    words = {
        **{"cancelled": "已取消", "closed": "已关闭", "deleted": "已删除"},
        **{"updated": "已更新", "sent": "已发送"},
    }
    return sentence(language, "status", rng, n=noun, s=words.get(status, status) if chinese else status)


def _row(row: Mapping[str, Any], first: str, pool: str, chinese: bool) -> str:
    name = titled(pool, str(row[first]))
    rest = [str(value) for key, value in row.items() if key != first]
    if not rest:
        return name
    return f"{name}（{rest[0]}）" if chinese else f"{name} ({rest[0]})"


def _field(path: str, values: Mapping[str, Value], result: Mapping[str, Any]) -> str:
    head, _, tail = path.partition(".")
    if head.isdigit():
        rows = next(value for value in result.values() if isinstance(value, list))
        return str(rows[int(head)][tail])
    if head in result:
        return str(result[head])
    return values[head].text


def measured(result: Mapping[str, Any], language: str) -> str:
    """The result of a computation with its unit, where it has one."""
    unit = str(result.get("unit", ""))
    blank = " " if language == "en" and unit and not unit.startswith(("%", "°")) else ""
    return f"{result['result']}{blank}{unit}"


def singular_after_one(text: str) -> str:
    """ "1 days" → "1 day"."""
    return _ONE.sub(r"\1", text) if "1 " in text else text
