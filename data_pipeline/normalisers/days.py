"""Days, English and Chinese."""

import calendar
import re
from collections.abc import Callable
from datetime import date, timedelta

from data_pipeline.normalisers.numerals import NUMBER_WORDS, chinese_number

_MONTHS = {name.lower(): i for i, name in enumerate(calendar.month_name) if name}
_WEEKDAYS = {name.lower(): i for i, name in enumerate(calendar.day_name)}
_WEEKDAYS_ZH = {c: i for i, c in enumerate("一二三四五六日")} | {"天": 6}
_M, _W = "|".join(_MONTHS), "|".join(_WEEKDAYS)
_COUNT = r"(\d+|" + "|".join(NUMBER_WORDS) + ")"


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
    return NUMBER_WORDS[text] if text in NUMBER_WORDS else chinese_number(text)


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
