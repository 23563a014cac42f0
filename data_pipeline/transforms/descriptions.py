"""Descriptions of tools and parameters in many layouts, from what a field knows: noun, unit, meanings, default …"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from data_pipeline.catalogue import BaseTool
from data_pipeline.transforms.habits import Style, unit_zh
from data_pipeline.transforms.naming import result_key
from data_pipeline.transforms.shapes import Field, Shape

_TOOL_EN = (
    "{H}.",
    "{H}.",
    "{H}.",
    "Use this to {h}.",
    "{H} for the user.",
    "Function to {h}.",
    "{H} and return the result.",
    "Lets you {h}.",
    "API to {h}.",
    "{H} based on the given parameters.",
    "{H} with the supplied details.",
)
_TOOL_MORE_EN = (
    "{H}. {needs}",
    "{H}. {needs}",
    "Call this when the user wants to {h}.",
    "Call this when the user asks to {h}. {needs}",
    "Tool of the {domain} module: {h}.",
    "[{domain}] {H}.",
    "Purpose: {h}. {needs}",
    "Handles requests to {h}.",
    "{H}. {gives}",
    "{H}. {needs} {gives}",
    "Allows the assistant to {h}. {gives}",
)
_TOOL_ZH = ("{h}。", "{h}", "用于{h}。", "{h}并返回结果。")
_TOOL_MORE_ZH = (
    "{h}。{needs}",
    "当用户想要{h}时调用。",
    "功能：{h}。{needs}",
    "接口：{h}。",
    "{h}。{gives}",
    "{h}。{needs}{gives}",
    "可以{h}。",
)
_FIELD_EN = ("{N}.", "The {n}.", "The {n}.", "{N}", "The {n} to use.", "{N} for the request.", "Specifies the {n}.")
_FIELD_MORE_EN = ("{N}", "{N}.", "The {n}.", "{N} ({t}).", "{T}: {n}.", "{R} {n}.", "{R}: the {n}.")
_FIELD_ALL_EN = (*_FIELD_EN, *_FIELD_MORE_EN)
_TERSE_EN = ("{N}", "{N}.")
_FORMATS = {
    "YYYY-MM-DD": ("YYYY-MM-DD", "in YYYY-MM-DD format", "ISO 8601, YYYY-MM-DD"),
    "HH:MM": ("HH:MM, 24-hour", "in HH:MM format", "24-hour HH:MM"),
}
_LAYOUTS = ("{}", "in {} format", "format {}", "written as {}")
_FIRST_PERSON = re.compile(r"\b(?:I|us|our|we)\b")
_USER = re.compile(r"\b(my|me|I)\b")
_SPOKEN_ZH = re.compile("一下|算算|算一算|算出|看看|查查|帮|个|几|AA|点外卖|往")
"""Marks heads that people say and nobody writes into a manual."""
_SEPARATORS = {",": ("comma", "逗号"), ";": ("semicolon", "分号"), "|": ("vertical bar", "竖线")}


def tool_description(base: BaseTool, shape: Shape, style: Style, rng: random.Random, opaque: bool = False) -> str:
    """What the tool does; a tool with a made-up name always says more than its name.

    Args:
        base: the tool.
        shape: its parameters as they are offered.
        style: habits of the set.
        rng: source of the layout.
        opaque: the name says nothing.
    """
    disguised = style.habits is not None
    if style.chinese:
        layouts: Sequence[str] = (*_TOOL_ZH, *_TOOL_MORE_ZH) if disguised else _TOOL_ZH
        return rng.choice(layouts).format(h=_head_zh(base, rng), needs=_needs_zh(shape), gives=_gives_zh(base, style))
    head = _head(base, rng)
    layouts = _TOOL_EN
    if disguised:
        layouts = _TOOL_EN[:4] if style.habits and style.habits.terse and not opaque else (*_TOOL_EN, *_TOOL_MORE_EN)
    layout = rng.choice(layouts)
    if "user" in head:  # "Cancel the user's order", and not "Cancel the user's order for the user"
        layout = layout.replace(" for the user", "")
    text = layout.format(
        H=_capital(head), h=head, needs=_needs(shape), gives=_gives(base, style), domain=base.domain.replace("_", " ")
    )
    return " ".join(text.split())


def _head(base: BaseTool, rng: random.Random) -> str:
    if base.id.startswith("lookup_"):
        return f"{rng.choice(('get', 'look up', 'retrieve', 'find'))} the {base.noun[0]}"
    return rng.choice(_heads(base.heads_en))


@lru_cache(maxsize=1024)
def _heads(heads: tuple[str, ...]) -> tuple[str, ...]:
    """English heads as a manual says them."""
    plain = [h for h in heads if not h.endswith("?") and "{" not in h]
    neutral = [h for h in plain if not _FIRST_PERSON.search(h)] or plain
    said = {"my": "the user's", "me": "the user", "I": "the user"}
    return tuple(_USER.sub(lambda match: said[match[1]], head) for head in neutral)


def _head_zh(base: BaseTool, rng: random.Random) -> str:
    if base.id.startswith("lookup_"):
        return f"{rng.choice(('查询', '获取', '查找'))}{base.noun[1]}"
    return rng.choice(_heads_zh(base.heads_zh))


@lru_cache(maxsize=1024)
def _heads_zh(heads: tuple[str, ...]) -> tuple[str, ...]:
    """Chinese heads as a manual says them."""
    plain = [h for h in heads if "{" not in h and h[-1] not in "?？"]
    written = [h for h in plain if not _SPOKEN_ZH.search(h)] or plain[:1]
    return tuple(h.replace("我的", "用户的").replace("告诉我", "告知").replace("提醒我", "提醒用户") for h in written)


def _required(shape: Mapping[str, Field]) -> list[Field]:
    """What a caller must give; of an object that a transform made, its fields."""
    found: list[Field] = []
    for item in shape.values():
        if item.required:
            found += _required(item.fields) if item.kind == "group" and item.fields else [item]
    return found


def _needs(shape: Shape) -> str:
    nouns = [item.noun for item in _required(shape) if item.noun]
    return f"Needs the {_listed(nouns, ' and ', ', ')}." if 0 < len(nouns) < 5 else ""


def _needs_zh(shape: Shape) -> str:
    nouns = [item.noun_zh for item in _required(shape) if item.noun_zh]
    return f"需要{_listed(nouns, '和', '、')}。" if 0 < len(nouns) < 5 else ""


def _fields(base: BaseTool, style: Style) -> list[str]:
    return [result_key(key, style) for key in base.out if key not in ("status", "result", "results")]


def _gives(base: BaseTool, style: Style) -> str:
    fields = _fields(base, style)
    return f"Returns {_listed(fields, ' and ', ', ')}." if 0 < len(fields) < 4 else ""


def _gives_zh(base: BaseTool, style: Style) -> str:
    fields = _fields(base, style)
    return f"返回{_listed(fields, '和', '、')}。" if 0 < len(fields) < 4 else ""


def _listed(items: Sequence[str], last: str, between: str) -> str:
    return last.join([between.join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _sentence(note: str) -> str:
    """A note as a sentence; a layout such as "h:MM" keeps its case."""
    return (_capital(note) if note[:2].isalpha() else note) + "."


def field_describer(style: Style, rng: random.Random) -> Callable[[Field], str]:
    """Gives every field of a tool its description."""
    return lambda field: (_field_zh if style.chinese else _field_en)(field, style, rng)


def _field_en(field: Field, style: Style, rng: random.Random) -> str:
    noun, habits = field.noun, style.habits
    if not noun:
        return ""
    if field.kind == "group" and field.fields:
        return _group_en(field, rng)
    layouts = _FIELD_EN if habits is None else _TERSE_EN if habits.terse else _FIELD_ALL_EN
    layout = "{N}." if noun.startswith("whether") or field.fields else rng.choice(layouts)
    required = "Required" if field.required else "Optional"
    text = layout.format(N=_capital(noun), n=noun, t=field.json_type, T=_capital(field.json_type), R=required)
    notes = _notes_en(field, "{R}" not in layout, rng)
    if not notes:
        return text
    bare, dot = text.rstrip(".?"), "." if text.endswith(".") else ""
    if habits is None:
        return f"{bare} ({', '.join(notes)}){dot}"
    joined = [f"{bare} ({', '.join(notes)}){dot}", f"{bare}. {' '.join(_sentence(note) for note in notes)}"]
    if ":" not in bare and not bare.endswith(")"):
        joined += [f"{bare}, {', '.join(notes)}{dot}", f"{bare}: {'; '.join(notes)}{dot}"]
    return rng.choice(joined)


def _group_en(field: Field, rng: random.Random) -> str:
    nouns = [item.noun for item in field.fields.values() if item.noun]
    layouts = ["{N}."]
    if 1 < len(nouns) == len(field.fields) < 5 and not any("," in noun for noun in nouns):
        layouts += ["{N}: {l}.", "Object with {l}."]
    return rng.choice(layouts).format(N=_capital(field.noun), l=_listed(nouns, " and ", ", "))


def _notes_en(field: Field, optional: bool, rng: random.Random) -> list[str]:
    notes: list[str] = []
    if field.meanings:
        notes.append(", ".join(f"{value} = {english}" for value, (english, _) in field.meanings.items()))
    if field.unit and not _tells(field.noun, field.unit):
        code = "code" in field.unit or "name" in field.unit or "," in field.unit
        notes.append(
            field.unit if code else rng.choice((f"in {field.unit}", f"in {field.unit}", f"unit: {field.unit}"))
        )
    if field.layout:
        notes.append(rng.choice(_FORMATS.get(field.layout) or [layout.format(field.layout) for layout in _LAYOUTS]))
    if field.separator:
        name = _SEPARATORS[field.separator][0]
        notes.append(rng.choice((f"{name}-separated", f'joined with "{field.separator}"', f"separated by {name}s")))
    if not field.required:
        if field.default is not None:
            notes.append(
                rng.choices(
                    (
                        f"default {field.default}",
                        f"optional, defaults to {field.default}",
                        f"{field.default} if omitted",
                    ),
                    (5, 3, 2),
                )[0]
            )
        elif optional and rng.random() < 0.3:
            notes.append("optional")
    if field.schema.get("enum") and not field.meanings:
        if rng.random() < 0.3:
            notes.append("one of " + ", ".join(map(str, field.schema["enum"])))
    elif field.examples and rng.random() < 0.25:
        notes.append(f"e.g. {rng.choice(field.examples)}")
    return notes


@lru_cache(maxsize=1024)
def _tells(noun: str, unit: str) -> bool:
    """Whether a noun already tells the unit ("portion in grams")."""
    return re.search(rf"(?<!\w){re.escape(unit)}(?!\w)", noun) is not None


def _field_zh(field: Field, style: Style, rng: random.Random) -> str:
    noun = field.noun_zh
    if not noun:
        return ""
    notes: list[str] = []
    if field.meanings:
        notes.append("，".join(f"{value}={chinese}" for value, (_, chinese) in field.meanings.items()))
    if field.unit and unit_zh(field.unit) not in noun:
        notes.append(
            f"单位：{unit_zh(field.unit)}" if field.json_type in ("integer", "number") else unit_zh(field.unit)
        )
    if field.layout:
        layout = field.layout.replace(" or ", "或")
        notes.append(rng.choice((f"格式为{layout}", f"格式：{layout}", f"{layout}格式")))
    if field.separator:
        notes.append(f"用{_SEPARATORS[field.separator][1]}分隔")
    if not field.required:
        if field.default is not None:
            notes.append(rng.choice((f"默认{field.default}", f"可选，默认为{field.default}")))
        elif rng.random() < 0.4:
            notes.append("可选")
    if field.examples and not field.schema.get("enum") and rng.random() < 0.2:
        notes.append(f"例如{rng.choice(field.examples)}")
    if not notes:
        return noun
    joined = "；".join(notes)
    if style.habits is None:
        return f"{noun}（{joined}）"
    return rng.choice((f"{noun}（{joined}）", f"{noun}，{joined}", f"{noun}。{joined}。"))
