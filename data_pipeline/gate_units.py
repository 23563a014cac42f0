"""Arguments in another form than the words: units, layouts, parts, lists, codes. Used by gates; knows no generator.

The contract of `metadata["calls"][i]["spans"]`: dotted path of a leaf of the arguments → its span. A span is the words
themselves, or `{"text", "means"}`, or `{"text", "result"}`; or, where the tool takes another form than people say,

    {"of": [[value, span], ...], "form": {"kind": ..., ...}}

Each `value` is what its own span means in the plain form (ISO date, HH:MM, base unit, full name, …) and is checked like
any other argument; the argument must then be what `form` makes of these values:

    unit    from, to             a number in another unit ("minutes" → "seconds")
    date    layout               an ISO date by YYYY, MM or MMM, DD
    time    layout               HH:MM by HHMM, HH:MM:SS or h:MM AM/PM
    moment  separator            date and time in one text
    part    part                 given, family | year, month, day | hour, minute | currency
    list    separator            several values in one text
    flag    yes, no              a truth value
    enum    (code)               another spelling of the same member, or a code that the description explains

A tool has to say in its schema which form it wants, or nobody could know: `unannounced` checks that as well.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

Carry = Callable[[Any, Any], str | None]
"""(value, span) → reason why the words do not carry the value, None if they do."""

_SECONDS = {"milliseconds": "0.001", "seconds": "1", "minutes": "60", "hours": "3600", "days": "86400"}
_METRES = {"mm": "0.001", "millimeters": "0.001", "cm": "0.01", "centimeters": "0.01", "m": "1", "meters": "1"}
_METRES |= {"km": "1000", "kilometers": "1000"}
_DIMENSIONS: tuple[Mapping[str, str], ...] = (
    _SECONDS,
    _METRES,
    {"months": "1", "years": "12"},
    {"g": "1", "grams": "1", "kg": "1000", "kilograms": "1000"},
    {"mL": "1", "L": "1000"},
    {"square meters": "1", "hectares": "10000"},
    {"percent": "1", "fraction": "100"},
    {"cents": "1", "currency units": "100"},
)
"""Size of each unit in the smallest of its kind."""
_UNITS_ZH = {
    "milliseconds": "毫秒",
    "seconds": "秒",
    "minutes": "分钟",
    "months": "月",
    "millimeters": "毫米",
    "centimeters": "厘米",
    "meters": "米",
    "grams": "克",
    "kilograms": "千克",
    "square meters": "平方米",
    "fraction": "小数",
    "cents": "分",
    "mm": "毫米",
    "cm": "厘米",
    "m": "米",
    "g": "克",
    "kg": "千克",
    "mL": "毫升",
    "L": "升",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_CURRENCY_MARKS = {"USD": r"\$|dollar|usd|美元|美金", "CNY": r"元|块|cny|rmb|yuan|人民币"}


def carried(value: Any, span: Mapping[str, Any], carry: Carry) -> str | None:
    """Reason why `value` is not what the span's form makes of its words; None if it is."""
    sources = span["of"]
    for source, inner in sources:
        if reason := carry(source, inner):
            return reason
    return None if _agrees(value, [source for source, _ in sources], sources, span["form"]) else "form_not_kept"


def unannounced(schema: Mapping[str, Any], path: str, span: Any) -> str | None:
    """Reason why a caller could not know from the tool that the argument at `path` has this form; None if it could.

    Args:
        schema: of the argument at `path`.
        path: dotted path in the arguments; its last name may say the form as well.
        span: of the argument.
    """
    if not isinstance(span, dict) or "form" not in span:
        return None
    form, text = span["form"], str(schema.get("description", ""))
    kind = form["kind"]
    if kind == "unit":
        to = form["to"]
        english = re.search(rf"(?<![A-Za-z]){re.escape(to)}(?![A-Za-z])", text)
        said = bool(english) or _UNITS_ZH.get(to, to) in text
    elif kind in ("date", "time"):
        said = form["layout"] in text
    elif kind == "moment":
        said = f"DD{form['separator']}HH" in text
    elif kind == "list":
        said = bool(re.search(r"separated|joined|split|隔", text, re.I))
    elif kind == "flag":
        said = set(schema.get("enum", ())) == {form["yes"], form["no"]}
    elif kind == "enum" and "code" in form:
        code, member = re.escape(str(form["code"])), re.escape(str(span["of"][0][0]))
        said = bool(re.search(rf"(?<!\w){code} ?= ?(?:\w+\()?{member}(?![\w-])", text))
    elif kind == "enum":
        said = bool(schema.get("enum"))
    else:
        said = bool(text) or form["part"] in path
    return None if said else "form_not_in_schema"


def _agrees(value: Any, values: Sequence[Any], sources: Sequence[Sequence[Any]], form: Mapping[str, Any]) -> bool:
    kind = form["kind"]
    try:
        if kind == "unit":
            return bool(_in_unit(values[0], form["from"], form["to"]) == Decimal(str(value)))
        if kind == "date":
            return _read_date(value, form["layout"]) == date.fromisoformat(values[0])
        if kind == "time":
            return _read_time(value) == tuple(map(int, values[0].split(":")))
        if kind == "moment":
            return bool(value == form["separator"].join(values))
        if kind == "part":
            return _is_part(value, values[0], sources[0][1], form["part"])
        if kind == "list":
            return [item.strip() for item in value.split(form["separator"])] == [str(v).strip() for v in values]
        if kind == "flag":
            return bool(value == form["yes" if values[0] else "no"])
        return bool(kind == "enum" and _same_member(value, values[0], form))
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, ArithmeticError):
        return False


def _same_member(value: Any, member: Any, form: Mapping[str, Any]) -> bool:
    if "code" in form:
        return bool(value == form["code"])
    bare = [re.sub(r"\W|_", "", str(text)).casefold() for text in (value, member)]
    ending = "_" + re.sub(r"\W+", "_", str(member)).casefold()
    return bare[0] == bare[1] or str(value).casefold().endswith(ending)


def _in_unit(value: float, unit: str, to: str) -> Decimal:
    sizes = next(table for table in _DIMENSIONS if unit in table and to in table)
    return Decimal(str(value)) * Decimal(sizes[unit]) / Decimal(sizes[to])


def _read_date(text: str, layout: str) -> date:
    pattern = re.escape(layout).replace("YYYY", r"(?P<y>\d{4})").replace("DD", r"(?P<d>\d{2})")
    pattern = pattern.replace("MMM", r"(?P<n>[A-Za-z]{3})").replace("MM", r"(?P<m>\d{2})")
    match = re.fullmatch(pattern, text)
    if match is None:
        raise ValueError(text)
    found = match.groupdict()
    month = int(found["m"]) if "m" in found else _MONTHS.index(found["n"].lower()) + 1
    return date(int(found["y"]), month, int(found["d"]))


def _read_time(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,2}):?(\d{2})(?::00)?(?: ([AP])M)?", text)
    if match is None:
        raise ValueError(text)
    hour = int(match[1])
    return (hour % 12 + (12 if match[3] == "P" else 0) if match[3] else hour), int(match[2])


def _is_part(value: Any, whole: Any, span: Any, part: str) -> bool:
    if part in ("year", "month", "day"):
        return bool(value == getattr(date.fromisoformat(whole), part))
    if part in ("hour", "minute"):
        return bool(value == int(whole.split(":")[part == "minute"]))
    if part == "currency":
        words = span if isinstance(span, str) else str(span.get("text", ""))
        return bool(re.search(_CURRENCY_MARKS[value], words, re.I))
    if " " in whole:
        first, _, last = whole.partition(" ")
        return bool(value == (first if part == "given" else last))
    cut = len(value)
    if not 0 < cut < len(whole):
        return False
    return bool(whole[:cut] == value and cut <= 2) if part == "family" else bool(whole[-cut:] == value)
