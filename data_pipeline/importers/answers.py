"""How results of imported tools are told: of their fields only."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipeline.importers.lexicon import noun_en, noun_zh, translate
from data_pipeline.importers.raw import plain, words_of
from data_pipeline.importers.results import TEXT_FIELDS
from data_pipeline.replies import sentence
from data_pipeline.slots import join_words

_MAX_TOLD = 4


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
    if not facts or set(result) == {"status"} or result.get("result") is True:
        return rng.choice(_FINISHED[chinese]).format(n=noun[chinese])
    if len(result) == 1 and set(result) <= TEXT_FIELDS:
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
