"""English expressions for days."""

import calendar
import re
from collections.abc import Callable
from datetime import date, timedelta

from data_pipeline.normalisers.calendar_days import (
    FESTIVALS_EN,
    Days,
    after,
    before,
    in_week,
    make_date,
    month_first,
    month_last,
    next_of_years,
    next_written,
    nth_of_month,
    quarter_first,
    shift_months,
    upcoming,
    working_day_of_month,
    working_days,
)
from data_pipeline.normalisers.numerals import NUMBER_WORDS
from data_pipeline.normalisers.reader import Base, Found, Reader, Shift

_FULL_WEEKDAYS = {name.lower(): n for n, name in enumerate(calendar.day_name)}
_WEEKDAYS = {name[:3]: n for name, n in _FULL_WEEKDAYS.items()} | {"tues": 1, "thur": 3, "thurs": 3} | _FULL_WEEKDAYS
_MONTHS = {name.lower(): n for n, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name[:3]: n for name, n in _MONTHS.items()} | {"sept": 9}
_ORDINAL_WORDS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"),
    *("twentieth", *(f"twenty-{n}" for n in ("first", "second", "third", "fourth", "fifth", "sixth", "seventh"))),
    *("twenty-eighth", "twenty-ninth", "thirtieth", "thirty-first"),
)
_ORDINALS = {word: n for n, word in enumerate(_ORDINAL_WORDS, 1)}
_YEAR_WORDS = {"last": -1, "this": 0, "next": 1}


def _alternatives(words: dict[str, int]) -> str:
    return "(?:" + "|".join(sorted(words, key=len, reverse=True)) + ")"


_WEEKDAY = f"({_alternatives(_WEEKDAYS)})"
_W = f"{_WEEKDAY}(?![a-z])"
_FULL_W = f"({_alternatives(_FULL_WEEKDAYS)})(?![a-z])"
_M = _alternatives(_MONTHS) + r"(?![a-z])\.?"
_N = r"(\d{1,3}|half a|an?|" + "|".join(sorted(NUMBER_WORDS, key=len, reverse=True)) + ")"
_NUMBERED = "floor|street|avenue|time|edition|season|episode|place|row|grade|birthday|anniversary|one|century|person"
_UNIT = r"(business days?|working days?|days?|weeks?|fortnights?|months?|years?)\b"
_NTH = r"(first|second|third|fourth|fifth|last|\d(?:st|nd|rd|th))"
_ORDINAL = f"(?:[0-3]?\\d(?:st|nd|rd|th)|{_alternatives(_ORDINALS)})(?![a-z])"
_DAY = rf"(?:{_ORDINAL}|[0-3]?\d(?![\d:]|st|nd|rd|th|\s*[ap]m\b))"
_TO = r"(?: to | through | until | - |-|–)(?:the )?"
_YEAR = r"(?:\d{4}|(?:this|next|last) year)"
_NEAR_MONTH = r"(?P<near>the month after next|(?:this|the|next|last) month)"
_MONTH = rf"(?:{_NEAR_MONTH}|(?P<month>{_M})(?:,? (?:of |in )?(?P<year>{_YEAR}))?)"
_NEAR = {"this month": 0, "the month": 0, "next month": 1, "last month": -1, "the month after next": 2}


def _count(text: str) -> int:
    return int(text) if text.isdigit() else 1 if text in ("a", "an") else NUMBER_WORDS[text]


def _day_number(text: str) -> int:
    return _ORDINALS[text] if text in _ORDINALS else int(re.sub(r"\D", "", text))


def _place(text: str) -> int:
    return -1 if text == "last" else _day_number(text)


def _shift(day: date, number: str, unit: str, sign: int) -> date:
    if number == "half a":
        return shift_months(day, 6 * sign)
    count = sign * _count(number)
    if unit.startswith(("business", "working")):
        return working_days(day, count)
    if unit.startswith("month"):
        return shift_months(day, count)
    if unit.startswith("year"):
        return shift_months(day, 12 * count)
    return day + timedelta(count * {"d": 1, "w": 7, "f": 14}[unit[0]])


def _year(text: str, today: date) -> int:
    return int(text) if text.isdigit() else today.year + _YEAR_WORDS[text[:4]]


def _in_month(match: re.Match[str], today: date, day_of: Callable[[date], date | None]) -> date | None:
    """`day_of` the month said in the groups near, month and year; of the next such month where no year is said."""
    if match["near"]:
        return day_of(month_first(today, _NEAR[match["near"]]))
    month = _MONTHS[match["month"].rstrip(".")]
    if match["year"]:
        return day_of(date(_year(match["year"], today), month, 1))
    return next_of_years(lambda year: day_of(date(year, month, 1)), today)


def _month_edge(match: re.Match[str], today: date) -> date | None:
    edge = match["edge"]
    if "end" in edge or "last" in edge:
        return _in_month(match, today, month_last)
    return _in_month(match, today, lambda first: first.replace(day=15 if "mid" in edge else 1))


def _numbered(first: date, number: int) -> date | None:
    return make_date(first.year, first.month, number)


def _bare_number(today: date, number: int) -> date | None:
    return upcoming((_numbered(month_first(today, n), number) for n in range(12)), today)


def _weekday_and_number(match: re.Match[str], today: date) -> date | None:
    found = (_numbered(month_first(today, n), _day_number(match["day"])) for n in range(48))
    return upcoming((day for day in found if day is not None and day.weekday() == _WEEKDAYS[match[1]]), today)


def _written(match: re.Match[str], today: date) -> date | None:
    month, number = _MONTHS[match["month"].rstrip(".")], _day_number(match["day"])
    if match["year"]:
        return make_date(_year(match["year"], today), month, number)
    return next_written(month, number, today)


def _span(match: re.Match[str], today: date) -> Days:
    """Two days of one month: March 3 to 10."""
    first = _written(match, today)
    last = None if first is None else _numbered(first.replace(day=1), _day_number(match["last"]))
    return () if first is None else (first,) if last is None or last < first else (first, last)


def _slashed(match: re.Match[str], today: date) -> Days:
    first, second = int(match[1]), int(match[2])
    orders = ((first, second), (second, first))
    if match[3]:
        year = int(match[3]) if len(match[3]) == 4 else 2000 + int(match[3])
        found = [make_date(year, month, day) for month, day in orders]
    else:
        found = [next_written(month, day, today) for month, day in orders]
    return tuple(dict.fromkeys(day for day in found if day is not None))


def _bare_weekday(match: re.Match[str], today: date) -> Days:
    found = after(today, _WEEKDAYS[match[1]])
    return (today, found) if today.weekday() == _WEEKDAYS[match[1]] else (found,)


def _next_weekday(match: re.Match[str], today: date) -> Days:
    """On a Sunday the week that begins tomorrow and the one after it are both called next."""
    found = in_week(today, _WEEKDAYS[match[1]], 1)
    return (found, found + timedelta(7)) if today.weekday() == 6 else (found,)


def _after_next(match: re.Match[str], today: date) -> Days:
    """The one after that of next week, or the second from today."""
    weekday = _WEEKDAYS[match[1]]
    return tuple(dict.fromkeys((in_week(today, weekday, 2), after(today, weekday) + timedelta(7))))


def _weekend(weeks: int) -> Callable[[re.Match[str], date], Days]:
    def meaning(match: re.Match[str], today: date) -> Days:
        saturdays = [in_week(today, 5, n) for n in ((0,) if weeks == 0 else (0, 1))]
        return tuple(saturday + timedelta(n) for saturday in saturdays for n in (0, 1))

    return meaning


def _quarter(match: re.Match[str], today: date) -> date | None:
    ends = match["edge"] is None or "end" in match["edge"] or "last" in match["edge"]
    if match["number"]:
        month = 3 * int(match["number"]) - 2

        def day_of(year: int) -> date:
            first = date(year, month, 1)
            return month_last(month_first(first, 2)) if ends else first

        return day_of(int(match["year"])) if match["year"] else next_of_years(day_of, today)
    first = quarter_first(today, {"the": 0, "this": 0, None: 0, "next": 1, "last": -1}[match["which"]])
    return quarter_first(first, 1) - timedelta(1) if ends else first


def _year_edge(match: re.Match[str], today: date) -> date:
    year = today.year + {"the": 0, "this": 0, "next": 1, "last": -1}[match["which"]]
    return date(year, 12, 31) if "end" in match["edge"] or "last" in match["edge"] else date(year, 1, 1)


def _festival(match: re.Match[str], today: date) -> date | None:
    of_year = _OF_YEAR[next(n for n in range(len(_OF_YEAR)) if match[f"f{n}"])]
    said = match["before"] or match["after"]
    if said is None or said == "this":
        return next_of_years(of_year, today)
    if said == "last":
        return of_year(today.year) if of_year(today.year) < today else of_year(today.year - 1)
    return of_year(int(said) if said.isdigit() else today.year + _YEAR_WORDS[said[:4]])


_OF_YEAR = tuple(FESTIVALS_EN.values())
_FESTIVAL = (
    r"(?:(?P<before>this|last|(?:this|last|next) year)(?:'s)? )?(?:the )?(?:"
    + "|".join(f"(?P<f{n}>{name})" for n, name in enumerate(FESTIVALS_EN))
    + rf")(?![a-z])(?:,? (?:in |of )?(?P<after>{_YEAR}))?"
)
_BESIDE_W = rf"(?:{_W},? (?:the )?|the )?"
_AFTER_W = rf"(?:,? \(?{_W}\)?)?"
_EDGE = r"(?:the )?(?P<edge>end|last day|start|beginning|first day|first|1st|middle) of "


def _week(weeks: int) -> Callable[[re.Match[str], date], Found]:
    return lambda m, t: in_week(t, _WEEKDAYS[m[1]], weeks)


def _near(days: int) -> Callable[[re.Match[str], date], Found]:
    return lambda m, t: t + timedelta(days)


_BASES = (
    Base(r"(?:every|each) (?:other )?" + _W, lambda m, t: None),
    Base(rf"(?:the )?{_DAY} of (?:every|each) month", lambda m, t: None),
    Base(rf"(?:every|each) (?:year on )?{_M} {_DAY}", lambda m, t: None),
    Base(rf"(?:the )?{_W} (?:of|in) the {_NTH} (?:full )?week (?:of|in) {_MONTH}", lambda m, t: None),
    Base(r"(?:today|tonight|this (?:morning|afternoon|evening))\b", _near(0)),
    Base(r"tomorrow\b", _near(1)),
    Base(r"yesterday\b", _near(-1)),
    Base(rf"in {_N} {_UNIT}(?:'s?)?(?: time\b)?", lambda m, t: _shift(t, m[1], m[2], 1)),
    Base(rf"{_N} {_UNIT} from (?:now|today)\b", lambda m, t: _shift(t, m[1], m[2], 1)),
    Base(rf"{_N} {_UNIT} (?:ago|back)\b(?: today)?", lambda m, t: _shift(t, m[1], m[2], -1)),
    Base(r"(?:this|the same) day next week|a week today", _near(7)),
    Base(r"(?:a week tomorrow|tomorrow week)\b", _near(8)),
    Base(r"(?:this|the same) day next month", lambda m, t: shift_months(t, 1)),
    Base(r"(?:this|the same) day (last|next) year", lambda m, t: shift_months(t, 12 * _YEAR_WORDS[m[1]])),
    Base(r"the next (?:business|working) day", lambda m, t: working_days(t, 1)),
    Base(r"the previous (?:business|working) day", lambda m, t: working_days(t, -1)),
    Base(rf"this {_W}|(?:the )?{_W} (?:of )?this week", lambda m, t: in_week(t, _WEEKDAYS[m[1] or m[2]], 0)),
    Base(rf"next {_W}", _next_weekday),
    Base(rf"last {_W}", lambda m, t: before(t, _WEEKDAYS[m[1]])),
    Base(rf"(?:this |the )?(?:up)?coming {_W}", lambda m, t: after(t, _WEEKDAYS[m[1]])),
    Base(rf"(?:this|the) past {_W}", lambda m, t: before(t, _WEEKDAYS[m[1]])),
    Base(rf"(?:the )?{_W} (?:of )?next week", _week(1)),
    Base(rf"next week,? (?:on )?{_W}", _week(1)),
    Base(rf"(?:the )?{_W} (?:of )?the week after next", _week(2)),
    Base(rf"(?:the )?{_W} (?:of )?last week", _week(-1)),
    Base(rf"last week,? (?:on )?{_W}", _week(-1)),
    Base(rf"(?:the )?{_W} (?:of )?this weekend", _week(0)),
    Base(rf"this weekend,? (?:on )?{_W}", _week(0)),
    Base(rf"{_W} week\b|a week on {_W}", lambda m, t: after(t, _WEEKDAYS[m[1] or m[2]]) + timedelta(7)),
    Base(_FULL_W, _bare_weekday),
    Base(rf"(?:the )?{_W} after next\b", _after_next),
    Base(
        rf"{_N} {_WEEKDAY}s from (?:now|today)\b",
        lambda m, t: after(t, _WEEKDAYS[m[2]]) + timedelta(7 * (_count(m[1]) - 1)),
    ),
    Base(r"the (?:week|weekend|month) after next\b", lambda m, t: None),
    Base(r"(?:this (?:coming )?|the (?:coming )?)weekend\b", _weekend(0)),
    Base(r"next weekend\b", _weekend(1)),
    Base(r"the (?:start|beginning) of next week\b", lambda m, t: in_week(t, 0, 1)),
    Base(r"the end of the work(?:ing)? week\b", lambda m, t: in_week(t, 4, 0)),
    Base(r"the end of (?:the|this) week\b", lambda m, t: (in_week(t, 4, 0), in_week(t, 6, 0))),
    Base(r"the end of next week\b", lambda m, t: (in_week(t, 4, 1), in_week(t, 6, 1))),
    Base(_EDGE + _MONTH, _month_edge),
    Base(rf"(?P<edge>mid)-(?:{_MONTH})", _month_edge),
    Base(rf"(?:around|sometime in) the middle of {_MONTH}", lambda m, t: None),
    Base(r"month-end\b", lambda m, t: month_last(t)),
    Base(
        rf"(?:the )?(?P<day>{_DAY}) of {_NEAR_MONTH}",
        lambda m, t: _numbered(month_first(t, _NEAR[m["near"]]), _day_number(m["day"])),
    ),
    Base(
        rf"the (?P<day>[0-3]?\d(?:st|nd|rd|th))\b(?! (?:{_NUMBERED})\b)",
        lambda m, t: _bare_number(t, _day_number(m["day"])),
    ),
    Base(
        rf"(?:the )?{_NTH} {_W} (?:of|in) {_MONTH}",
        lambda m, t: _in_month(m, t, lambda first: nth_of_month(first, _WEEKDAYS[m[2]], _place(m[1]))),
    ),
    Base(
        rf"(?:the )?{_NTH} {_W} (?:of|in) next year",
        lambda m, t: nth_of_month(date(t.year + 1, 1, 1), _WEEKDAYS[m[2]], _place(m[1])) if m[1] != "last" else None,
    ),
    Base(
        rf"the (first|last) (?:business|working) day (?:of|in) {_MONTH}",
        lambda m, t: _in_month(m, t, lambda first: working_day_of_month(first, 0 if m[1] == "first" else -1)),
    ),
    Base(
        r"(?:the )?(?P<edge>end|last day|start|beginning|first day) of (?:(?P<which>the|this|next|last) quarter"
        r"|q(?P<number>[1-4])(?:,? (?:of )?(?P<year>\d{4}))?)\b",
        _quarter,
    ),
    Base(
        r"(?P<edge>quarter-end)(?P<which>)?(?P<number>)?(?P<year>)?\b", lambda m, t: quarter_first(t, 1) - timedelta(1)
    ),
    Base(
        r"(?:the )?(?P<edge>end|last day|start|beginning|first day) of (?P<which>the|this|next|last) year\b", _year_edge
    ),
    Base(_FESTIVAL, _festival),
    Base(
        r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)" + rf"(?: ?\({_W}\))?",
        lambda m, t: make_date(int(m[1]), int(m[2]), int(m[3])),
        True,
    ),
    Base(
        rf"{_W},? (\d{{4}})-(\d{{1,2}})-(\d{{1,2}})(?!\d)",
        lambda m, t: make_date(int(m[2]), int(m[3]), int(m[4])),
        True,
    ),
    Base(rf"{_BESIDE_W}(?P<month>{_M}) (?:the )?(?P<day>{_DAY})(?P<year>){_AFTER_W}", _written),
    Base(
        rf"{_BESIDE_W}(?P<month>{_M}) (?:the )?(?P<day>{_DAY})(?:,? (?:of )?(?P<year>(?:this|next|last) year))",
        _written,
    ),
    Base(
        rf"{_BESIDE_W}(?P<month>{_M}) (?:the )?(?P<day>{_DAY})(?:,? (?:of )?(?P<year>\d{{4}}))(?!\d){_AFTER_W}",
        _written,
        True,
    ),
    Base(rf"{_BESIDE_W}(?P<day>{_DAY})(?: of)? (?P<month>{_M})(?P<year>){_AFTER_W}", _written),
    Base(
        rf"{_BESIDE_W}(?P<day>{_DAY})(?: of)? (?P<month>{_M})(?:,? (?:of )?(?P<year>(?:this|next|last) year))", _written
    ),
    Base(
        rf"{_BESIDE_W}(?P<day>{_DAY})(?: of|-)? ?(?P<month>{_M})(?:-|,? (?:of )?)(?P<year>\d{{4}})(?!\d){_AFTER_W}",
        _written,
        True,
    ),
    Base(rf"(?P<month>{_M}) (?:the )?(?P<day>{_DAY}){_TO}(?P<last>{_DAY})(?:,? (?P<year>\d{{4}}))?(?!\d)", _span),
    Base(
        rf"(?:the )?(?P<day>{_DAY}){_TO}(?P<last>{_DAY})(?: of)? (?P<month>{_M})(?:,? (?P<year>\d{{4}}))?(?!\d)", _span
    ),
    Base(rf"{_W},? the (?P<day>{_ORDINAL})", _weekday_and_number),
    Base(r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})(?![\d/])", _slashed, True),
    Base(r"(?!24/7)(\d{1,2})/(\d{1,2})()(?![\d/])", _slashed),
)
_PREFIXES = (
    Shift(rf"(?:a )?(?:couple|few|several|some) (?:of )?{_UNIT} (?:after|from|before|following) ", lambda m, day: None),
    Shift(r"(?:the )?day after ", lambda m, day: day + timedelta(1)),
    Shift(r"(?:the )?day before ", lambda m, day: day - timedelta(1)),
    Shift(rf"{_N} {_UNIT} (?:after|from|following) ", lambda m, day: _shift(day, m[1], m[2], 1)),
    Shift(rf"{_N} {_UNIT} before ", lambda m, day: _shift(day, m[1], m[2], -1)),
    Shift(rf"the (?:first )?{_W} (?:after|following) ", lambda m, day: after(day, _WEEKDAYS[m[1]])),
    Shift(rf"the (?:last )?{_W} before ", lambda m, day: before(day, _WEEKDAYS[m[1]])),
    Shift(r"the first (?:business|working) day after ", lambda m, day: working_days(day, 1)),
)
_NAMES = f"{_alternatives(_FULL_WEEKDAYS)}|{'|'.join(FESTIVALS_EN)}"
_UNIT_HEAD = "(?:business |working |day|week|fortnight|month|year)"
_STARTS = (
    rf"(?<![a-z0-9.])(?:today|tonight|tomorrow|yesterday|day (?:after|before)|mid-|month-end|quarter-end|{_NAMES}|{_M} "
    rf"|(?:in )?{_N} (?:{_UNIT_HEAD}|{_WEEKDAY}s )|\d+(?:st|nd|rd|th|[-/.]\d|-[a-z]| (?:of )?{_M})"
    rf"|{_alternatives(_ORDINALS)} (?:of |{_WEEKDAY})"
    rf"|{_W},? (?:the )?(?:\d|{_M})|the (?:{_ORDINAL}|\d|{_NAMES}|same |next |previous |last |coming |upcoming |past "
    r"|start |beginning |end |middle |day |week)|(?:end|start|beginning|middle|(?:last|first) day) of "
    rf"|(?:this|next|last) (?:{_W}|day|week|year|morning|afternoon|evening|coming|upcoming|past|{_NAMES})"
    rf"|(?:up)?coming |(?:every|each) |(?:a )?(?:couple|few|several) |(?:around|sometime in) the )"
)
READER_EN = Reader(_STARTS, _BASES, _PREFIXES, ())
