"""From one parameter of an imported tool to a slot: what its values are, and how a user says them."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import yaml

from data_pipeline.catalogue import Param
from data_pipeline.importers import samplers
from data_pipeline.importers.raw import RefusedError, words_of
from data_pipeline.importers.schemas import MAX_DEPTH, settle
from data_pipeline.importers.words import lexicon, noun_en, noun_zh, translate
from data_pipeline.slots import Context, Spec, Value, sample

_SECRET = re.compile(
    r"(?:.*_)?(?:password|passwd|pwd|secret|api_?key|apikey|access_key|private_key|secret_key|credentials?|cvv|ssn"
    r"|mnemonic|seed_phrase|passphrase|authorization|(?:access|auth|api|bearer|session|refresh|id)_token|cookies?|otp)"
)
_INNER = re.compile(
    r"(?:.*_)?(?:thought|thoughts|reasoning|rationale|thinking|call_benefit|random_string|dummy)(?:_.*)?"
)
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
_END = ("end", "to", "until", "before", "due", "deadline", "checkout", "return")
_JSON_TEXTS = ('{"status": "active"}', '{"limit": 5}', '{"name": "Atlas", "size": 3}', "[1, 2, 3]", '{"city": "Oslo"}')
_LISTED = re.compile(
    r"(?:\be\.?g\.?|\bfor example|\bsuch as|\bi\.e\.|\bexamples?:|\bone of|\boptions?:|\bvalues?:|\beither"
    r"|例如|比如|如|可选值?)"
    r"[,:：]?\s*(?P<list>[^\n]+)",
    re.I,
)
_QUOTED = re.compile(r"[\"'`“‘]([^\"'`“”‘’\n]{1,40})[\"'`”’]")
_MEASURED = frozenset(
    ("x", "y", "z", "weight", "mass", "length", "width", "depth", "radius", "distance", "speed", "ratio")
)
"""Words of numbers that are not counted but measured."""
_LONGEST = 80
"""Longest text, in characters, made from a pattern."""
_CODES = re.compile(r"(?<![\d.])(\d{1,3})\s*(?:[=:：]|-(?=\s*[^\d\s])|\bfor\b|表示|为)\s*(?=[^\d\s])")
_RANGE = re.compile(r"(?:between |from |\(|\[)?(-?\d+(?:\.\d+)?)\s*(?:-|–|to|and|~)\s*(-?\d+(?:\.\d+)?)")
_NOUN_BREAKERS = re.compile(r"[{}]")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a parameter's words may refer to."""

    group: str
    owner: str
    """The thing the tool is about, singular: whose `id` an unnamed id is."""
    pools: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """A spec and the ways its value enters a request; no way: as an attribute."""

    spec: dict[str, Any]
    en: tuple[str, ...] = ()
    zh: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def _roles() -> tuple[tuple[re.Pattern[str], Mapping[str, Any]], ...]:
    table = yaml.safe_load((Path(__file__).parent / "roles.yaml").read_text(encoding="utf-8"))
    return tuple((re.compile(entry["name"]), entry) for entry in table)


def parameter(key: str, name: str, schema: Any, required: bool, setting: Setting) -> Param:
    """The parameter `name` as a slot.

    Raises:
        RefusedError: no value of it can be said by a user and served.
    """
    node = settle(schema)
    slot = _slot(name, node, setting, 0)
    noun, chinese = _nouns(name, node, setting)
    return Param(
        key=key,
        spec=slot.spec,
        noun=noun,
        noun_zh=chinese,
        names=(name,),
        required=required,
        phrases_en=slot.en,
        phrases_zh=slot.zh,
        default=node.get("default"),
    )


def _nouns(name: str, node: Mapping[str, Any], setting: Setting) -> tuple[str, str]:
    text = str(node.get("description") or "")
    first = re.split(r"[.,:;(\n]", text.strip())[0].strip()
    noun = noun_en(name, setting.owner)
    if (len(name) == 1 or not noun) and first.isascii() and 0 < len(first.split()) <= 4:
        noun = first[0].lower() + first[1:] if first[1:2].islower() else first
        noun = re.sub(r"^(?:the|a|an) ", "", noun)
    chinese = noun_zh(name, text, setting.owner)
    return _NOUN_BREAKERS.sub("", noun or name), _NOUN_BREAKERS.sub("", chinese or noun or name)


def _slot(name: str, node: Mapping[str, Any], setting: Setting, depth: int) -> Slot:
    snake = "_".join(words_of(name))
    if _SECRET.fullmatch(snake):
        raise RefusedError("asks_for_a_secret", f"{name}: conversations should not teach users to type secrets")
    if _INNER.fullmatch(snake):
        raise RefusedError("written_by_the_model", f"{name} holds the model's own thoughts or nothing; no user says it")
    kind = node["type"]
    if kind == "boolean":
        return _flag(snake, node)
    if "enum" in node:
        return _choice(name, node["enum"], setting)
    if kind in ("integer", "number"):
        return _number(snake, node, setting)
    if kind == "string":
        return _string(name, snake, node, setting)
    if depth >= MAX_DEPTH - 1:
        raise RefusedError("too_deep", f"{name} nests more than {MAX_DEPTH - 1} levels; no sentence can ask for that")
    return _array(name, snake, node, setting, depth) if kind == "array" else _object(name, node, setting, depth)


def _flag(snake: str, node: Mapping[str, Any]) -> Slot:
    words = snake.split("_")
    style, rest = "switch", words
    if words[0] in ("include", "with", "show", "return", "get", "fetch", "add") and len(words) > 1:
        style, rest = "include", words[1:]
    elif words[0] in ("is", "mark") and len(words) > 1:
        style, rest = "is", words[1:]
    elif words[-1] == "only":
        style = "only"
    elif words[0] in ("enable", "use", "allow", "should", "has", "do") and len(words) > 1:
        rest = words[1:]
    spec = {
        "t": "bool",
        "draw": samplers.draw_flag,
        "default": node.get("default") is True,
        "style": style,
        "noun": " ".join(noun_en(word) for word in rest),
        "noun_zh": translate(rest),
    }
    return Slot(spec, ("{}",), ("{}",))


def _choice(name: str, values: Sequence[Any], setting: Setting) -> Slot:
    nouns = lexicon()["nouns"]

    def said(value: Any) -> tuple[Any, str, str]:
        text = str(value).lower() if isinstance(value, bool) else str(value)
        parts = words_of(text) if re.fullmatch(r"[a-z]{3,}(?:[_-][a-z]{2,})*", text) else []
        plain = " ".join(parts) if parts else text
        chinese = translate(parts) if parts and all(part in nouns for part in parts) else plain
        return value, plain, chinese

    spoken = tuple(said(value) for value in values if str(value).strip())
    if not spoken:
        raise RefusedError("empty_enum", f"{name} allows nothing but empty text")
    noun, chinese = noun_en(name, setting.owner), noun_zh(name, "", setting.owner)
    return Slot(
        {"t": "enum", "draw": samplers.draw_choice, "values": spoken},
        (f"with {noun} {{}}", f"({noun}: {{}})", f"with the {noun} set to {{}}"),
        (f"{chinese}为{{}}", f"{chinese}选{{}}", f"{chinese}是{{}}"),
    )


def _bounds(node: Mapping[str, Any]) -> tuple[float | None, float | None]:
    tiny = 1 if node["type"] == "integer" else 0.1
    low = node.get("minimum", node["exclusiveMinimum"] + tiny if "exclusiveMinimum" in node else None)
    high = node.get("maximum", node["exclusiveMaximum"] - tiny if "exclusiveMaximum" in node else None)
    return low, high


def _number(snake: str, node: Mapping[str, Any], setting: Setting) -> Slot:
    words = snake.split("_")
    low, high = _bounds(node)
    if words[-1] == "id":
        return _identifier(words, node, setting, partial(_whole_identifier, low=low, high=high))
    role = _role(snake, node["type"])
    digits = 1 if node["type"] == "number" and _MEASURED & set(words) else 0
    lo, hi, kind = 1.0, 100.0, "int" if digits == 0 else "num"
    codes = [int(code) for code in dict.fromkeys(_CODES.findall(str(node.get("description") or "")))]
    if len(codes) >= 2 and role is None:
        return _choice("_".join(words), codes, setting)
    default, told = node.get("default"), _RANGE.search(str(node.get("description") or ""))
    told = told if told and float(told[1]) < float(told[2]) <= 1e6 and "(" in told[0] + "(" else None
    if role:
        lo, hi, kind = role["lo"], role["hi"], "count" if role["kind"] == "count" else kind
        digits = role.get("digits", 0) if node["type"] == "number" else 0
    elif isinstance(default, int | float) and not isinstance(default, bool) and default:
        lo, hi = sorted((default / 2, default * 2))
        lo = max(lo, 1.0) if float(default).is_integer() and default > 0 else lo
        digits = 0 if float(default).is_integer() else 2
    elif told:
        lo, hi = float(told[1]), float(told[2])
        digits = 0 if float(told[1]).is_integer() and hi - lo >= 3 else 2
    if low is not None and (lo < low or lo > (high if high is not None else lo)):
        hi = max(hi, low + (hi - lo)) if hi <= low else hi
        lo = low
    if high is not None and (hi > high or lo > high):
        hi = high
        lo = min(lo, hi) if low is None else max(low, min(lo, hi))
    if node["type"] == "number" and hi - lo < 3 and not role:
        digits = 2
    if digits == 0:
        lo, hi = -(-lo // 1), hi // 1
    step = node.get("multipleOf")
    if lo > hi or (step and digits):
        raise RefusedError("no_value_in_range", f"{snake}: no readable number between {low} and {high}")
    if words[0] in ("min", "max", "start", "end", "from", "to") and not role:
        kind = "count"
    spec = {"t": kind, "draw": samplers.draw_number, "lo": lo, "hi": hi, "digits": digits}
    if role and role.get("plain"):
        spec["plain"] = True
    if step:
        spec["step"] = step
    return Slot(spec, *(_phrases(role) if role else ((), ())))


def _phrases(role: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(role.get("en", ())), tuple(role.get("zh", ()))


def _role(snake: str, kind: str) -> Mapping[str, Any] | None:
    for pattern, role in _roles():
        if kind in role["types"] and pattern.fullmatch(snake):
            return role
    return None


def _string(name: str, snake: str, node: Mapping[str, Any], setting: Setting) -> Slot:
    text, words = str(node.get("description") or ""), snake.split("_")
    if node.get("format") in ("binary", "byte", "base64") or "contentEncoding" in node or _BINARY.search(snake):
        raise RefusedError("binary_parameter", f"{name} holds bytes; nobody says them")
    if found := _by_format(snake, words, node, text):
        return found
    if words[-1] in ("id", "uuid", "guid"):
        return _identifier(words, node, setting, _identifier_maker(words, node, text, setting))
    options = examples_in(text, node)
    role = _role(snake, "string")
    if "pattern" in node:
        return _patterned(node, options, role)
    if (role is None and options) or (len(options) >= 2 and role is not None and role["kind"] in ("fixed", "name")):
        return _one_of(options)
    if role is not None:
        return _by_role(role, node, words)
    if _JSON.search(text):
        return Slot({"t": "quoted", "draw": samplers.draw_code, "values": _JSON_TEXTS})
    if _BINARY.search(text):
        raise RefusedError("binary_parameter", f"{name} holds encoded bytes; nobody says them")
    last = words[-1] if words[-1] in setting.pools else words[0]
    if last in setting.pools:
        return Slot(_drawn({"t": "pool", "pool": last}, "pool"))
    default = node.get("default")
    if isinstance(default, str) and 0 < len(default) <= 40:
        return Slot({"t": "enum", "draw": samplers.draw_choice, "values": ((default, default, default),)})
    if words[-1] in ("code", "key", "number", "no", "ref", "reference", "serial"):
        return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": "[A-Z]{2,3}-[1-9][0-9]{2,3}"})
    raise RefusedError(
        "values_unknown",
        f"nothing tells what {name} may be; add an enum, `examples` or 'e.g. ...' to its description",
    )


def _one_of(values: Sequence[str]) -> Slot:
    return Slot({"t": "pool", "draw": samplers.draw_choice, "values": tuple((v, v, v) for v in values)})


def _patterned(node: Mapping[str, Any], options: Sequence[str], role: Mapping[str, Any] | None) -> Slot:
    """Known values that fit the pattern, else strings made from it."""
    known = [*options, *map(str, (role or {}).get("values", ())), str(node.get("default") or "")]
    if fitting := [value for value in dict.fromkeys(known) if value and _fits(node, value)]:
        return _one_of(fitting)
    if role and role["kind"] == "pattern" and _fits(node, samplers.matching(role["pattern"], random.Random(0))):
        return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": role["pattern"]})
    longest = min(int(node.get("maxLength", _LONGEST)), _LONGEST)
    if len(samplers.matching(node["pattern"], random.Random(0))) > longest:
        raise RefusedError("no_fitting_value", f"no readable text fits its pattern {node['pattern']!r}; add `examples`")
    return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": node["pattern"]})


def _fits(node: Mapping[str, Any], value: str) -> bool:
    return re.search(node["pattern"], value) is not None and len(value) <= int(node.get("maxLength", _LONGEST))


def _drawn(spec: dict[str, Any], kind: str) -> dict[str, Any]:
    """A slot of the built-in types, drawn by the built-in sampler."""
    return {**spec, "t": kind, "draw": partial(_builtin, {**spec})}


def _builtin(inner: Spec, spec: Spec, context: Context) -> Value:
    return sample(inner, context)


def _by_format(snake: str, words: Sequence[str], node: Mapping[str, Any], text: str) -> Slot | None:
    shape = str(node.get("format") or "")
    if shape == "date" or (not shape and "pattern" not in node and _says_day(snake, text)):
        found = _WRITES_DAY.search(text)
        layout = _LAYOUTS.get(found[0].upper(), "%Y-%m-%d") if found and shape != "date" else "%Y-%m-%d"
        return _day(words, layout)
    if shape == "date-time" or (not shape and _MOMENT.fullmatch(snake) and "pattern" not in node):
        return Slot({"t": "date", "draw": samplers.draw_datetime}, *_day_phrases(words))
    if shape == "time" or (not shape and _CLOCK.fullmatch(snake) and re.search(r"HH|hh|hour|^$|clock", text)):
        return Slot(_drawn({"t": "time"}, "time"), ("at {}",), ("{}",))
    if shape == "email":
        return Slot(_drawn({"t": "email"}, "email"))
    if shape in ("uri", "url", "uri-reference", "iri"):
        return Slot({"t": "url", "draw": samplers.draw_url}, *_url_phrases(words))
    if shape == "uuid" and words[-1] not in ("id", "uuid"):
        return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": _UUID})
    if shape in _FORMAT_VALUES:
        return _one_of(_FORMAT_VALUES[shape])
    return None


_FORMAT_VALUES: Mapping[str, tuple[str, ...]] = {
    "ipv4": ("192.0.2.10", "198.51.100.4", "203.0.113.9"),
    "hostname": ("example.com", "api.example.net", "shop.example.org"),
    "duration": ("PT30M", "PT1H", "P1D", "PT45M"),
}
_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def _says_day(snake: str, text: str) -> bool:
    if _WRITES_DAY.search(text) and not re.search(r"HH|hh:|T\d\d", text):
        return True
    return bool(_DAY.fullmatch(snake)) and not re.search(
        r"timestamp|unix|epoch|number of|range|period|ISO 8601 d", text, re.I
    )


def _url_phrases(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (
        (("at {}", "from {}", ": {}"), ("网址是{}", "：{}"))
        if words[-1] in ("url", "link", "uri") and len(words) == 1
        else ((), ())
    )


def _day(words: Sequence[str], layout: str) -> Slot:
    return Slot({"t": "date", "draw": samplers.draw_date, "layout": layout}, *_day_phrases(words))


def _day_phrases(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if words[0] in _START or words[-1] in _START:
        return ("from {}", "starting {}"), ("从{}开始", "自{}起")
    if "due" in words or "deadline" in words:
        return ("due {}", "by {}"), ("{}截止",)
    if words[0] in _END or words[-1] in _END:
        return ("until {}", "through {}"), ("到{}为止", "截至{}")
    plain = len(words) == 1 or words[0] in ("target", "event", "travel", "appointment", "booking", "scheduled")
    return (("on {}", "for {}"), ("日期是{}", "时间是{}")) if plain else ((), ())


def _by_role(role: Mapping[str, Any], node: Mapping[str, Any], words: Sequence[str] = ("",)) -> Slot:
    kind, (en, zh) = role["kind"], _phrases(role)
    if len(words) > 1 and words[0] in ("from", "source", "origin"):
        en, zh = ("from {}",), ("从{}",)
    elif len(words) > 1 and words[0] in ("to", "target", "destination", "dest"):
        en, zh = ("to {}",), ("到{}",)
    elif len(words) > 1 and words[-1] not in ("name", "query", "term") and kind in ("pool", "fixed"):
        en, zh = (), ()
    if kind == "name":
        return Slot({"t": "pool", "draw": samplers.draw_name}, *_named(words))
    longest = node.get("maxLength", 10**6)
    if kind == "pool":
        return Slot(_drawn({"t": "pool", "pool": role["pool"]}, "pool"), en, zh)
    if kind in ("email", "phone", "person", "company"):
        return Slot(_drawn({"t": kind}, kind), en, zh)
    if kind == "url":
        return Slot(
            {"t": "url", "draw": samplers.draw_url}, en or _url_phrases(("url",))[0], zh or _url_phrases(("url",))[1]
        )
    if kind == "fixed":
        values = [str(value) for value in role["values"]]
        fitting = [value for value in values if len(value) <= longest] or values
        return replace(_one_of(fitting), en=en, zh=zh)
    if kind == "code":
        return Slot({"t": "quoted", "draw": samplers.draw_code, "values": tuple(role["values"])}, en, zh)
    if kind == "pattern":
        return Slot({"t": "code", "draw": samplers.draw_pattern, "pattern": role["pattern"]}, en, zh)
    return Slot({"t": "quoted", "draw": samplers.draw_quoted, "pool": role["pool"]}, en, zh)


def _named(words: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (("called {}", "named {}"), ("名称是{}", "叫{}")) if list(words) in (["name"], ["title"]) else ((), ())


def examples_in(text: str, node: Mapping[str, Any]) -> list[str]:
    """Values that a schema's `examples` or a description gives: (e.g. "mainnet", "sepolia") → mainnet, sepolia."""
    declared = node.get("examples") or ([node["example"]] if "example" in node else [])
    found = [value for value in declared if isinstance(value, str)] if isinstance(declared, list) else []
    for listed in _LISTED.finditer(text):
        part = re.split(r"\)|\. |\.$|;|。|；|）|\s-\s|, etc|\betc\b", listed["list"])[0]
        quoted = _QUOTED.findall(part)
        found += quoted or [item.strip() for item in re.split(r",|\bor\b|\band\b|、|或|/(?=[a-z])", part)]
    if not found:
        quoted = _QUOTED.findall(text)
        found = quoted if len(quoted) >= 2 or (quoted and len(text) < 80) else []
    clean = [item.strip(" .:：,") for item in found]
    return [
        item for item in dict.fromkeys(clean) if 0 < len(item) <= 40 and len(item.split()) <= 4 and not _is_prose(item)
    ]


def _is_prose(item: str) -> bool:
    return bool(
        re.search(
            r"[{}<>…\n=]|\.\.\.|^(?:the|a|an|all|any|if|to|for|default|optional|none|null|true|false|etc)\b", item, re.I
        )
    )


def _whole_identifier(rng: random.Random, low: float | None, high: float | None) -> int:
    first = int(max(low if low is not None else 1000, 1000 if high is None else 1))
    return rng.randint(first, int(min(high, first + 90000)) if high is not None else first + 90000)


def _identifier_maker(
    words: Sequence[str], node: Mapping[str, Any], text: str, setting: Setting
) -> Callable[[random.Random], Any]:
    if "pattern" in node:
        return partial(_from_pattern, str(node["pattern"]))
    if node.get("format") == "uuid" or words[-1] in ("uuid", "guid"):
        return partial(_from_pattern, _UUID)
    shapes = [e for e in examples_in(text, node) if re.search(r"\d", e) and not re.search(r"\s", e)]
    if shapes:  # as the example is built, with other digits
        return partial(_from_pattern, re.sub(r"\d+", lambda m: f"[1-9]\\d{{{len(m[0]) - 1}}}", re.escape(shapes[0])))
    kind = words[-2] if len(words) > 1 else setting.owner
    return partial(_from_pattern, f"{(re.sub('[^a-z]', '', kind) or 'id')[:2].upper()}-[1-9]\\d{{3,4}}")


def _from_pattern(pattern: str, rng: random.Random) -> str:
    return samplers.matching(pattern, rng)


def _identifier(
    words: Sequence[str], node: Mapping[str, Any], setting: Setting, make: Callable[[random.Random], Any]
) -> Slot:
    thing = "_".join(words[:-1]) if len(words) > 1 else setting.owner
    noun, chinese = noun_en("_".join(words), setting.owner), noun_zh("_".join(words), "", setting.owner)
    spec = {"t": "ref", "draw": samplers.draw_identifier, "kind": kind_of(setting.group, thing), "make": make}
    return Slot(
        spec,
        (f"with {noun} {{}}", f"({noun} {{}})", f"for {noun} {{}}"),
        (f"{chinese}是{{}}", f"{chinese}为{{}}", f"{chinese} {{}}"),
    )


def kind_of(group: str, thing: str) -> str:
    """Name of a kind of identifiers: those of one thing of one server."""
    return f"{samplers.slug(group)}/{samplers.slug(thing)}"


def _array(name: str, snake: str, node: Mapping[str, Any], setting: Setting, depth: int) -> Slot:
    items = node.get("items")
    if not isinstance(items, Mapping) or "prefixItems" in node:
        raise RefusedError("items_unknown", f"{name} does not say what its items are; add `items`")
    inner_node = settle(items, depth + 1)
    if not inner_node.get("description") and node.get("description"):
        inner_node = {**inner_node, "description": node["description"]}
    if inner_node["type"] == "array":
        raise RefusedError("too_deep", f"{name} is a list of lists; no sentence can ask for that")
    role = _role(snake, "array") if inner_node["type"] == "string" and "enum" not in inner_node else None
    inner = _by_role(role, inner_node) if role else _slot(_singular(name), inner_node, setting, depth + 1)
    low = max(int(node.get("minItems", 1)), 1)
    high = min(int(node.get("maxItems", max(3, low))), max(3, low))
    if low > high or low > 6:
        raise RefusedError("too_many_items", f"{name} needs {low} to {high} items")
    kinds = {"object": "objects", "integer": "ints", "number": "nums"}
    if inner.spec["t"] == "enum" and "enum" in inner_node:
        high = min(high, len(inner.spec["values"]))
        low = min(low, high)
    spec = {"t": kinds.get(inner_node["type"], "strs"), "draw": samplers.DrawList(inner.spec, low, high)}
    if role and role.get("en"):
        return Slot(spec, *_phrases(role))
    noun, chinese = noun_en(name, setting.owner), noun_zh(name, "", setting.owner)
    return Slot(
        spec,
        (f"with {noun} {{}}", f"with the {noun} {{}}", f"({noun}: {{}})"),
        (f"{chinese}是{{}}", f"{chinese}有{{}}", f"{chinese}为{{}}"),
    )


def _singular(name: str) -> str:
    return name[:-1] if name.endswith("s") and not name.endswith(("ss", "us")) else name


def _object(name: str, node: Mapping[str, Any], setting: Setting, depth: int) -> Slot:
    noun, chinese = noun_en(name, setting.owner), noun_zh(name, "", setting.owner)
    phrases = (
        (f"with {noun} {{}}", f"({noun}: {{}})", f"with this {noun}: {{}}"),
        (f"{chinese}为{{}}", f"{chinese}是{{}}"),
    )
    properties = node.get("properties") or {}
    if not properties:
        extra = node.get("additionalProperties", True)
        if extra is False or (isinstance(extra, Mapping) and extra.get("type", "string") != "string"):
            raise RefusedError("open_object", f"{name} is an object of undeclared fields; declare `properties`")
        return Slot({"t": "object", "draw": samplers.draw_pairs}, *phrases)
    needed = set(node.get("required") or ())
    fields: list[tuple[str, str, str, Spec, bool]] = []
    for key, schema in properties.items():
        try:
            inner_node = settle(schema, depth + 1)
            inner = _slot(key, inner_node, replace(setting, owner=_singular(name.lower())), depth + 1)
        except RefusedError as error:
            if key in needed:
                raise RefusedError(error.reason, f"{name}.{error.detail}") from None
            continue
        fields.append((key, *_nouns(key, inner_node, setting), inner.spec, key in needed))
    if not fields or needed - {field[0] for field in fields}:
        raise RefusedError("open_object", f"{name} has no field that a user could name")
    return Slot({"t": "object", "draw": samplers.DrawGroup(tuple(fields))}, *phrases)
