"""Texts as slots: by format, pattern, examples or name."""

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from data_pipeline.importers import samplers
from data_pipeline.importers.examples import examples_in
from data_pipeline.importers.identifiers import UUID, declared_shape, identifier, identifier_maker
from data_pipeline.importers.raw import RefusedError
from data_pipeline.importers.roles import COINS, Setting, Slot, drawn, one_of, role_of, slot_of_role, url_phrases

_BINARY = re.compile(r"base64|binary|bytes", re.I)
_JSON = re.compile(r"\bJSON\b(?! (?:file|path))", re.I)
_WRITES_DAY = re.compile(r"YYYY[-/.]?MM[-/.]?DD|MM/DD/YYYY|DD[-/.]MM[-/.]YYYY|YYYY-MM(?!-)", re.I)
_LAYOUTS = {
    "YYYYMMDD": "%Y%m%d",
    "YYYY/MM/DD": "%Y/%m/%d",
    "YYYY.MM.DD": "%Y.%m.%d",
    "MM/DD/YYYY": "%m/%d/%Y",
    "DD/MM/YYYY": "%d/%m/%Y",
    "DD-MM-YYYY": "%d-%m-%Y",
    "DD.MM.YYYY": "%d.%m.%Y",
    "YYYY-MM": "%Y-%m",
}
_DAY = re.compile(r"(?:.*_)?(?:date|day|deadline|since|until|birthday|dob|due|check_?in|check_?out)(?:_from|_to)?")
_MOMENT = re.compile(r"(?:.*_)?(?:datetime|timestamp|(?:start|end|begin|due|event)_(?:time|at)|date_time)")
_CLOCK = re.compile(r"(?:.*_)?(?:time|time_of_day|at_time)")
_START = ("start", "from", "begin", "since", "after", "checkin", "departure")
_GONE = frozenset(
    ("since", "birthday", "birth", "dob", "born", "created", "posted", "published", "placed", "purchased")
)
"""Words of days that lie behind."""
_END = ("end", "to", "until", "before", "due", "deadline", "checkout", "return")
_JSON_TEXTS = ('{"status": "active"}', '{"limit": 5}', '{"name": "Atlas", "size": 3}', "[1, 2, 3]", '{"city": "Oslo"}')
_LONGEST = 80
"""Longest text, in characters, made from a pattern."""
_FORMAT_VALUES: Mapping[str, tuple[str, ...]] = {
    "ipv4": ("192.0.2.10", "198.51.100.4", "203.0.113.9"),
    "hostname": ("example.com", "api.example.net", "shop.example.org"),
    "duration": ("PT30M", "PT1H", "P1D", "PT45M"),
}


def text_slot(name: str, snake: str, node: Mapping[str, Any], setting: Setting) -> Slot:
    """A text whose values are known by format, pattern, examples, name or default. Raises RefusedError."""
    text, words = str(node.get("description") or ""), snake.split("_")
    if node.get("format") in ("binary", "byte", "base64") or "contentEncoding" in node or _BINARY.search(snake):
        raise RefusedError("binary_parameter", f"{name} holds bytes; nobody says them")
    if found := _by_format(snake, words, node, text):
        return found
    if words[-1] in ("id", "uuid", "guid"):
        return identifier(words, node, setting, identifier_maker(words, node, text, setting))
    options = examples_in(text, node)
    role = role_of(_meant(snake, setting), "string")
    if "pattern" in node:
        return _patterned(node, options, role)
    if (role is None and options) or (len(options) >= 2 and role is not None and role["kind"] in ("fixed", "name")):
        return one_of(options)
    if role is not None and role["kind"] == "pattern" and (shape := declared_shape(node)):
        return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": shape})
    if role is not None:
        return slot_of_role(role, node, words)
    if _JSON.search(text):
        return Slot({"t": "quoted", "draw": samplers.draw_code, "values": _JSON_TEXTS})
    if _BINARY.search(text):
        raise RefusedError("binary_parameter", f"{name} holds encoded bytes; nobody says them")
    last = words[-1] if words[-1] in setting.pools else words[0]
    if last in setting.pools and last not in _AMBIGUOUS and words[-1] not in _CODED:
        return Slot(drawn({"t": "pool", "pool": last}, "pool"))
    default = node.get("default")
    if isinstance(default, str) and 0 < len(default) <= 40:
        return Slot({"t": "enum", "draw": samplers.draw_choice, "values": ((default, default, default),)})
    if words[-1] in _CODED:
        return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": "[A-Z]{2,3}-[1-9][0-9]{2,3}"})
    raise RefusedError(
        "values_unknown",
        f"nothing tells what {name} may be; add an enum, `examples` or 'e.g. ...' to its description",
    )


_CODED = ("code", "key", "number", "no", "ref", "reference", "serial")
_AMBIGUOUS = (
    "element",
    "star",
    "case",
    "figure",
    "cell",
    "instrument",
    "bridge",
    "court",
    "item",
    "service",
    "event",
    "condition",
)
"""Pools whose name says something else in most tools."""
_FOLDERS = frozenset(("directory", "directories", "folder", "folders", "dir"))
_SOUGHT: Mapping[str, str] = {
    **{word: "city" for word in ("location", "place", "city", "weather", "forecast", "address")},
    **{"restaurant": "restaurant", "hotel": "hotel", "movie": "movie", "film": "movie", "book": "book"},
    **{
        "song": "song",
        "track": "song",
        "artist": "artist",
        "recipe": "recipe",
        "product": "product",
        "item": "product",
    },
    **{"game": "game", "job": "job_title", "stock": "symbol", "company": "company", "package": "package"},
    **{"user": "username", "contact": "contact", "people": "contact", "repository": "repo", "repo": "repo"},
    **{
        "file": "filename",
        "code": "function_name",
        "drug": "drug",
        "gene": "gene",
        "protein": "protein",
        "airport": "airport",
    },
}
"""What words that are searched for are, by the thing that is searched."""


_PROGRAMS = frozenset(
    ("python", "javascript", "typescript", "script", "snippet", "source", "program", "programming", "execute", "lint")
)
_TITLED = ("book", "movie", "film", "song", "track", "hotel", "restaurant", "game", "recipe", "product")
_LOOKING_ROUND = frozenset(("list", "search", "find", "tree", "glob", "grep"))
_SEEKING = ("query", "q", "search_query", "search_term", "keyword")
_PACKAGES = frozenset(("package", "packages", "npm", "pypi", "cargo", "nuget", "crate", "composer"))
_REPOSITORIES = frozenset(("git", "github", "gitlab", "branch", "repository", "repo", "commit"))


def _meant(snake: str, setting: Setting) -> str:
    """The name by which a text is understood beside what its tool is about: a path of a folder tool is a folder."""
    if snake == "path" and (setting.owner in _FOLDERS or setting.named & _LOOKING_ROUND):
        return "directory"
    if snake == "name" and _PACKAGES & setting.about:
        return "package"
    if snake in ("title", "name") and setting.owner in _TITLED:
        return _SOUGHT[setting.owner]
    if snake == "code" and not _PROGRAMS & setting.about:
        return "reference_code"
    if snake == "ref" and not _REPOSITORIES & setting.about:
        return "element_ref"
    if COINS & setting.about and snake.endswith("address"):
        return "wallet_address"
    if COINS & setting.about and snake in ("symbol", "ticker"):
        return "coin"
    return _SOUGHT.get(setting.owner, snake) if snake in _SEEKING else snake


def _patterned(node: Mapping[str, Any], options: Sequence[str], role: Mapping[str, Any] | None) -> Slot:
    """Known values that fit the pattern, else strings made from it."""
    known = [*options, *map(str, (role or {}).get("values", ())), str(node.get("default") or "")]
    if fitting := [value for value in dict.fromkeys(known) if value and _fits(node, value)]:
        return one_of(fitting)
    if role and role["kind"] == "pattern" and _fits(node, samplers.matching(role["pattern"], random.Random(0))):
        return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": role["pattern"]})
    longest = min(int(node.get("maxLength", _LONGEST)), _LONGEST)
    if len(samplers.matching(node["pattern"], random.Random(0))) > longest:
        raise RefusedError("no_fitting_value", f"no readable text fits its pattern {node['pattern']!r}; add `examples`")
    return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": node["pattern"]})


def _fits(node: Mapping[str, Any], value: str) -> bool:
    return re.search(node["pattern"], value) is not None and len(value) <= int(node.get("maxLength", _LONGEST))


def _by_format(snake: str, words: Sequence[str], node: Mapping[str, Any], text: str) -> Slot | None:
    shape = str(node.get("format") or "")
    if shape == "date" or (not shape and "pattern" not in node and _says_day(snake, text)):
        found = _WRITES_DAY.search(text)
        layout = _LAYOUTS.get(found[0].upper(), "%Y-%m-%d") if found and shape != "date" else "%Y-%m-%d"
        return _day(words, layout)
    if shape == "date-time" or (not shape and _MOMENT.fullmatch(snake) and "pattern" not in node):
        return Slot({"t": "date", "draw": samplers.draw_datetime}, *_day_phrases(words))
    if shape == "time" or (not shape and _CLOCK.fullmatch(snake) and re.search(r"HH|hh|hour|^$|clock", text)):
        return Slot(drawn({"t": "time"}, "time"), ("at {}",), ("{}",))
    if shape == "email":
        return Slot(drawn({"t": "email"}, "email"))
    if shape in ("uri", "url", "uri-reference", "iri"):
        return Slot({"t": "url", "draw": samplers.draw_url}, *url_phrases(words))
    if shape == "uuid" and words[-1] not in ("id", "uuid"):
        return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": UUID})
    if shape in _FORMAT_VALUES:
        return one_of(_FORMAT_VALUES[shape])
    return None


def _says_day(snake: str, text: str) -> bool:
    if _WRITES_DAY.search(text) and not re.search(r"HH|hh:|T\d\d", text):
        return True
    return bool(_DAY.fullmatch(snake)) and not re.search(
        r"timestamp|unix|epoch|number of|range|period|ISO 8601 d", text, re.I
    )


def _day(words: Sequence[str], layout: str) -> Slot:
    spec = {"t": "date", "draw": samplers.draw_date, "layout": layout}
    if _GONE & set(words):
        spec["past"] = True
    return Slot(spec, *_day_phrases(words))


def _day_phrases(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if words[0] in _START or words[-1] in _START:
        return ("from {}", "starting {}"), ("从{}开始", "自{}起")
    if "due" in words or "deadline" in words:
        return ("due {}", "by {}"), ("{}截止",)
    if words[0] in _END or words[-1] in _END:
        return ("until {}", "through {}"), ("到{}为止", "截至{}")
    plain = len(words) == 1 or words[0] in ("target", "event", "travel", "appointment", "booking", "scheduled")
    return (("on {}", "for {}"), ("日期是{}", "时间是{}")) if plain else ((), ())
