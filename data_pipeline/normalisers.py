"""Reads numbers, clock times and dates out of English and Chinese. Used by gates; knows nothing of the generator."""

import calendar
import re
from collections.abc import Callable
from datetime import date, timedelta

_WORDS = {
    w: i
    for i, w in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {w: 10 * i for i, w in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)}
_DIGITS_ZH = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_SCALES = {"million": 1e6, "billion": 1e9, "thousand": 1e3, "万": 1e4, "亿": 1e8, "千": 1e3, "百": 1e2}
_NUMBER = re.compile(r"(?<![\d.])-?(\d{1,3}(?:,\d{3})+(?!\d)|\d+)(\.\d+)?\s*(million|billion|thousand|万|亿)?", re.I)
_WORD = re.compile(
    r"\b("
    + "|".join(sorted(_WORDS, key=len, reverse=True))
    + r")(?:[- ](one|two|three|four|five|six|seven|eight|nine))?\b"
    r"(?:\s+(hundred|thousand|million))?",
    re.I,
)
_ZH = re.compile(r"[零〇一二两三四五六七八九十百千万亿]+")
_MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_name) if name}
_WEEKDAYS = {name.lower(): i for i, name in enumerate(calendar.day_name)}
_WEEKDAYS_ZH = {c: i for i, c in enumerate("一二三四五六日")} | {"天": 6}
_M, _W = "|".join(_MONTHS), "|".join(_WEEKDAYS)
_COUNT = r"(\d+|" + "|".join(_WORDS) + ")"


def numbers(text: str) -> set[float]:
    """Every number said in `text`, in digits or words; a percentage also as its fraction."""
    found: set[float] = set()
    for match in _NUMBER.finditer(text):
        value = float(match[1].replace(",", "") + (match[2] or "")) * _SCALES.get((match[3] or "").lower(), 1)
        found |= {value, -value} if match[0].startswith("-") else {value}
        found.add(round(value / 100, 8))
        if "," in match[1]:
            found |= {float(part) for part in match[1].split(",")}
    for match in _WORD.finditer(text):
        value = float(_WORDS[match[1].lower()] + (_WORDS[match[2].lower()] if match[2] else 0))
        value *= {"hundred": 100, "thousand": 1000, "million": 1e6}.get((match[3] or "").lower(), 1)
        found |= {value, round(value / 100, 8)}
    for match in _ZH.finditer(text):
        value = float(chinese_number(match[0]))
        found |= {value, round(value / 100, 8)}
    return found


def chinese_number(text: str) -> int:
    """二十三 → 23, 两百零五 → 205, 三万 → 30000."""
    total, section, digit = 0, 0, 0
    for char in text:
        if char in _DIGITS_ZH:
            digit = _DIGITS_ZH[char]
        elif char == "十":
            section, digit = section + (digit or 1) * 10, 0
        elif char in "百千":
            section, digit = section + (digit or 1) * int(_SCALES[char]), 0
        else:
            total, section, digit = (total + section + digit) * int(_SCALES[char]), 0, 0
    return total + section + digit


def times(text: str) -> set[str]:
    """Clock times in `text` as HH:MM, 24 hours."""
    found = set()
    for match in re.finditer(r"\b(\d{1,2})(?::(\d{2}))?\s*(am|pm)\b", text, re.I):
        hour = int(match[1]) % 12 + (12 if match[3].lower() == "pm" else 0)
        found.add(f"{hour:02d}:{int(match[2] or 0):02d}")
    found |= {f"{int(m[1]):02d}:{m[2]}" for m in re.finditer(r"(?<!\d)(\d{1,2}):(\d{2})(?!\d)(?!\s*[ap]m)", text, re.I)}
    for match in re.finditer(
        r"(早上|上午|中午|下午|晚上)?(\d{1,2}|[一二两三四五六七八九十]+)点(?:(半)|(\d{1,2})分?)?", text
    ):
        hour = int(match[2]) if match[2].isdigit() else chinese_number(match[2])
        hour += 12 if match[1] in ("下午", "晚上") and hour < 12 else 0
        found.add(f"{hour:02d}:{30 if match[3] else int(match[4] or 0):02d}")
    return found


def dates(text: str, today: date | None) -> set[str]:
    """Days meant in `text`, as ISO dates; relative ones only where `today` is known.

    Weeks start on Monday: "next Friday" and 下周五 lie in the next calendar week, "Friday" is the first after today.
    """
    lowered = text.lower()
    found = {date(y, m, d).isoformat() for y, m, d in _explicit(lowered) if _valid(y, m, d)}
    if today is None:
        return found
    for pattern, rule in _RULES:
        for match in re.finditer(pattern, lowered):
            day = rule(match, today)
            if day is not None:
                found.add(day.isoformat())
    return found


def _valid(year: int, month: int, day: int) -> bool:
    return 1 <= month <= 12 and 1 <= day <= calendar.monthrange(year, month)[1]


def _explicit(text: str) -> list[tuple[int, int, int]]:
    out = [(int(m[1]), int(m[2]), int(m[3])) for m in re.finditer(r"(\d{4})[-年/](\d{1,2})[-月/](\d{1,2})", text)]
    out += [
        (int(m[3]), _MONTHS[m[1]], int(m[2]))
        for m in re.finditer(rf"({_M}) (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})", text)
    ]
    return out + [(int(m[3]), _MONTHS[m[2]], int(m[1])) for m in re.finditer(rf"(\d{{1,2}}) ({_M}) (\d{{4}})", text)]


def _count(text: str) -> int:
    if text.isdigit():
        return int(text)
    return _WORDS[text] if text in _WORDS else chinese_number(text)


def _upcoming(today: date, month: int, day: int) -> date | None:
    for year in range(today.year, today.year + 9):
        if _valid(year, month, day) and date(year, month, day) >= today:
            return date(year, month, day)
    return None


def _weekday(today: date, weekday: int, weeks: int) -> date:
    return today + timedelta(days=weekday - today.weekday(), weeks=weeks)


def _after(today: date, weekday: int) -> date:
    return today + timedelta(days=(weekday - today.weekday() - 1) % 7 + 1)


def _end(today: date, months: int) -> date:
    year, month = divmod(today.year * 12 + today.month - 1 + months, 12)
    return date(year, month + 1, calendar.monthrange(year, month + 1)[1])


def _next_month(today: date, day: int) -> date | None:
    last = _end(today, 1)
    return last.replace(day=day) if 1 <= day <= last.day else None


Rule = Callable[[re.Match[str], date], date | None]
_N = r"(\d+|[一二两三四五六七八九十]+)"
_RULES: tuple[tuple[str, Rule], ...] = (
    (r"(?<!from )\btoday\b|今天", lambda m, t: t),
    (r"(?<!after )\btomorrow\b|明天", lambda m, t: t + timedelta(1)),
    (r"day after tomorrow|(?<!大)后天", lambda m, t: t + timedelta(2)),
    (r"大后天", lambda m, t: t + timedelta(3)),
    (rf"\bin {_COUNT} days?\b", lambda m, t: t + timedelta(_count(m[1]))),
    (rf"\b{_COUNT} days from (?:now|today)", lambda m, t: t + timedelta(_count(m[1]))),
    (rf"\bin {_COUNT} weeks?\b", lambda m, t: t + timedelta(weeks=_count(m[1]))),
    (rf"\b{_COUNT} weeks from now", lambda m, t: t + timedelta(weeks=_count(m[1]))),
    (r"\ba week from today", lambda m, t: t + timedelta(7)),
    (rf"\ba week from ({_W})", lambda m, t: _after(t, _WEEKDAYS[m[1]]) + timedelta(7)),
    (rf"\bnext ({_W})", lambda m, t: _weekday(t, _WEEKDAYS[m[1]], 1)),
    (rf"(?<!coming )\bthis ({_W})", lambda m, t: _weekday(t, _WEEKDAYS[m[1]], 0)),
    (rf"(?<!next )(?<!this )(?<!week from )\b({_W})\b", lambda m, t: _after(t, _WEEKDAYS[m[1]])),
    (rf"\b({_M}) (\d{{1,2}})(?:st|nd|rd|th)?\b(?!,? \d{{4}})", lambda m, t: _upcoming(t, _MONTHS[m[1]], int(m[2]))),
    (rf"\bthe (\d{{1,2}})(?:st|nd|rd|th) of ({_M})", lambda m, t: _upcoming(t, _MONTHS[m[2]], int(m[1]))),
    (r"last day of (?:this|the) month", lambda m, t: _end(t, 0)),
    (r"last day of next month", lambda m, t: _end(t, 1)),
    (r"(?:the first|first day) of next month", lambda m, t: _next_month(t, 1)),
    (r"the (\d{1,2})(?:st|nd|rd|th) of next month", lambda m, t: _next_month(t, int(m[1]))),
    (r"(?<!下)下(?:周|星期|礼拜)([一二三四五六日天])", lambda m, t: _weekday(t, _WEEKDAYS_ZH[m[1]], 1)),
    (r"下下(?:周|星期|礼拜)([一二三四五六日天])", lambda m, t: _weekday(t, _WEEKDAYS_ZH[m[1]], 2)),
    (r"(?:这周|本周|这个星期)([一二三四五六日天])", lambda m, t: _weekday(t, _WEEKDAYS_ZH[m[1]], 0)),
    (rf"{_N}天(?:之)?后|再过{_N}天", lambda m, t: t + timedelta(_count(m[1] or m[2]))),
    (rf"{_N}(?:周|个星期)后", lambda m, t: t + timedelta(weeks=_count(m[1]))),
    (r"(?<!年)(?<!\d)(\d{1,2})月(\d{1,2})[号日]", lambda m, t: _upcoming(t, int(m[1]), int(m[2]))),
    (r"(?:这个月|本月|月底)最后一天", lambda m, t: _end(t, 0)),
    (r"下个月最后一天", lambda m, t: _end(t, 1)),
    (r"下个?月(\d{1,2})号", lambda m, t: _next_month(t, int(m[1]))),
)
