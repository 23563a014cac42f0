"""Switches, choices and numbers as slots."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from data_pipeline.importers import samplers
from data_pipeline.importers.identifiers import identifier, whole_identifier
from data_pipeline.importers.lexicon import lexicon, noun_en, noun_zh, translate
from data_pipeline.importers.raw import RefusedError, words_of
from data_pipeline.importers.roles import Setting, Slot, phrases_of, role_of

_MEASURED = frozenset(
    ("x", "y", "z", "weight", "mass", "length", "width", "depth", "radius", "distance", "speed", "ratio")
)
"""Words of numbers that are not counted but measured."""
_CODES = re.compile(r"(?<![\d.])(\d{1,3})\s*(?:[=:：]|-(?=\s*[^\d\s])|\bfor\b|表示|为)\s*(?=[^\d\s])")
_RANGE = re.compile(r"(?:between |from |\(|\[)?(-?\d+(?:\.\d+)?)\s*(?:-|–|to|and|~)\s*(-?\d+(?:\.\d+)?)")


def flag_slot(snake: str, node: Mapping[str, Any]) -> Slot:
    """A switch, said in the manner of its name: "include_…", "is_…", "…_only"."""
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


def choice_slot(name: str, values: Sequence[Any], setting: Setting) -> Slot:
    """One of `values`, as of an enum. Raises RefusedError where all are empty."""
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


def number_slot(snake: str, node: Mapping[str, Any], setting: Setting) -> Slot:
    """A number within its bounds; what is usual where there are none. Raises RefusedError."""
    words = snake.split("_")
    low, high = _bounds(node)
    if words[-1] == "id":
        return identifier(words, node, setting, partial(whole_identifier, low=low, high=high))
    role = role_of(snake, node["type"])
    digits = 1 if node["type"] == "number" and _MEASURED & set(words) and words[0] not in ("max", "min") else 0
    lo, hi, kind = 1.0, 100.0, "int" if digits == 0 else "num"
    codes = [int(code) for code in dict.fromkeys(_CODES.findall(str(node.get("description") or "")))]
    if len(codes) >= 2 and role is None:
        return choice_slot("_".join(words), codes, setting)
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
    return Slot(spec, *(phrases_of(role) if role else ((), ())))
