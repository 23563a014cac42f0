"""What words of tools mean: verbs, nouns and facts of `lexicon.yaml`, and what a parameter is called."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_pipeline.importers.raw import words_of
from data_pipeline.tables import read_table

HAN = re.compile("[一-鿿]")
_SHORT: Mapping[str, str] = {
    "num": "number of",
    "n": "number of",
    "max": "maximum",
    "min": "minimum",
    "q": "query",
    "desc": "description",
    "msg": "message",
    "lang": "language",
    "lat": "latitude",
    "lon": "longitude",
    "lng": "longitude",
    "qty": "quantity",
    "src": "source",
    "dst": "destination",
    "dest": "destination",
    "tz": "time zone",
    "img": "image",
    "dir": "directory",
    "repo": "repository",
    "org": "organization",
    "addr": "address",
    "ts": "timestamp",
    "dt": "date and time",
    "pwd": "password",
    "cfg": "configuration",
    "config": "configuration",
    "temp": "temperature",
    "db": "database",
    "pkg": "package",
    "ver": "version",
    "cat": "category",
    "loc": "location",
    "freq": "frequency",
    "params": "parameters",
    "args": "arguments",
    "prev": "previous",
    "avg": "average",
    "pct": "percentage",
}
_CAPITALS = ("id", "ids", "url", "urls", "uri", "api", "ip", "sql", "json", "html", "csv", "pdf", "uuid", "isbn", "doi")

_INSTRUCTS = re.compile(r"\d|^(?:传|填|输入|如果|是否|用于|指定|可选|默认|例如|设置为)")
"""Openings of Chinese descriptions that say what to do with a parameter, not what it is."""
_SIDES = {"to": "target", "from": "source"}
_SIDED = ("currency", "unit", "language", "account", "folder", "branch", "token", "format", "base")
_UNSAID = ("of", "the", "a", "an", "and", "s")
_COMPOUND = 3
"""Longest entry of the lexicon, in words."""
_UNITS = {
    **{"ms": "毫秒", "milliseconds": "毫秒", "seconds": "秒", "minutes": "分钟", "hours": "小时", "days": "天"},
    **{"meters": "米", "km": "公里", "kg": "千克", "cm": "厘米", "bytes": "字节", "mb": "MB", "percent": "%"},
}
"""Words at the end of a name that tell the unit."""


@lru_cache(maxsize=1)
def lexicon() -> Mapping[str, Any]:
    """verbs: base form → (archetype, Chinese); forms: inflected → base form; nouns: English → Chinese; facts."""
    table = read_table(Path(__file__).parent / "lexicon.yaml")
    verbs = {}
    for item in table["verbs"].split(";"):
        base, _, rest = item.strip().partition(" ")
        verbs[base] = tuple(rest.split("|"))
    forms = {form: base for base in verbs for form in _forms(base)}
    nouns = dict(item.strip().split(" ", 1) for item in table["nouns"].strip(" ;").split(";") if item.strip())
    return {"verbs": verbs, "forms": forms, "nouns": nouns, "facts": table["facts"]}


def _forms(verb: str) -> tuple[str, ...]:
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb, verb[:-1] + "ies"
    if verb.endswith(("s", "x", "ch", "sh", "z")):
        return verb, verb + "es"
    return verb, verb + "s"


def is_chinese(text: str) -> bool:
    """Whether a text is mainly Chinese, not only quotes it."""
    return len(HAN.findall(text)) * 3 > len(re.findall(r"\w", text))


def is_english(text: str) -> bool:
    """Whether nearly all letters are ASCII."""
    letters = [char for char in text if char.isalpha()]
    return bool(letters) and sum(char.isascii() for char in letters) >= 0.97 * len(letters)


def noun_en(name: str, owner: str = "") -> str:
    """How a parameter is called: max_results → maximum results, repoName → repository name, id → order ID."""
    words = words_of(name)
    if words in (["id"], ["uuid"]) and owner:
        words = [owner, "id"]
    if len(words) == 2 and words[0] in _SIDES and words[1] in _SIDED:
        words = [_SIDES[words[0]], words[1]]
    while len(words) > 1 and words[-1] in ("param", "arg", "str"):
        words = words[:-1]
    spelled = [_SHORT.get(word, word) if word not in ("n",) or len(words) > 1 else "number" for word in words]
    if len(words) == 1 and words[0] in ("num", "n"):
        spelled = ["number"]
    return " ".join(_spelled(spelled))


def _spelled(words: Iterable[str]) -> Iterator[str]:
    for word in words:
        yield "IDs" if word == "ids" else word.upper() if word in _CAPITALS else word


def noun_zh(name: str, description: str = "", owner: str = "") -> str:
    """The same in Chinese: a short Chinese description, else the name's words (`translate`)."""
    if is_chinese(description):
        head = re.split(r"[，。,.:：；;（(、\s\n]", description.strip())[0]
        if 1 < len(head) <= 10 and not _INSTRUCTS.search(head):
            return re.sub(r"^(?:要|需要)\w?\w?的", "", head)
    words = words_of(name)
    if words in (["id"], ["uuid"]) and owner:
        words = [owner, "id"]
    if words and words[0] in ("num", "number", "n") and len(words) > 1 and "_".join(words) not in lexicon()["nouns"]:
        counted = translate([word for word in words[1:] if word != "of"])
        return counted if counted.endswith("数") else f"{counted}{' ' if counted[-1:].isascii() else ''}数量"
    return translate(words) if words else name


def translate(words: Sequence[str]) -> str:
    """Chinese of a noun phrase where every word is known, else the English words: half of each reads like neither."""
    words = [word for word in words if word not in _UNSAID]
    told = words
    unit = ""
    if len(words) > 1 and words[-1] in _UNITS:
        unit, told = f"（{_UNITS[words[-1]]}）", words[: -2 if words[-2] == "in" and len(words) > 2 else -1]
    out, at = "", 0
    while at < len(told):
        text, size = _longest(told[at:])
        if not size:
            return " ".join(_spelled(words))
        out += (" " if out and text[0].isascii() and out[-1].isascii() else "") + text
        at += size
    return out + unit


def _longest(words: Sequence[str]) -> tuple[str, int]:
    """Chinese of as many of the first words as the lexicon knows together, and how many they are."""
    nouns = lexicon()["nouns"]
    for size in range(min(_COMPOUND, len(words)), 1, -1):
        if (text := nouns.get("_".join(words[:size]))) is not None:
            return text, size
    text = nouns.get(words[0]) or nouns.get(_SHORT.get(words[0], ""), "")
    return text, int(bool(text))
