"""Chinese expressions for days."""

import re
from collections.abc import Callable
from datetime import date, timedelta

from data_pipeline.normalisers.calendar_days import (
    FESTIVALS_ZH,
    SOLAR_TERMS,
    Days,
    after,
    before,
    in_week,
    lunar,
    make_date,
    month_first,
    month_last,
    next_of_years,
    next_written,
    nth_of_month,
    quarter_first,
    shift_months,
    solar_term,
    upcoming,
    working_day_of_month,
    working_days,
)
from data_pipeline.normalisers.numerals import chinese_number
from data_pipeline.normalisers.reader import Base, Found, Reader, Shift

_HAN = "一二两三四五六七八九十"
_N = rf"(\d{{1,3}}|半|[{_HAN}百]+)"
_ABOUT = "一两|两三|二三|三四|三五|四五|五六|六七|七八|八九"
_NUMBER = rf"\d{{1,2}}|[{_HAN}]{{1,3}}"
_UNIT = "(工作日|天|日|周|星期|礼拜|月|年)"
_D = "([一二三四五六日天])"
_WEEK = "(?:周|星期|礼拜)"
_W = f"{_WEEK}{_D}(?!共|直|样|些|般|起|边|会)"
_DAY_IN_BRACKETS = f"(?:[，,]?[（(]?{_WEEK}[一二三四五六日天][)）]?)?"
_YEAR_WORDS = {"前": -2, "去": -1, "今": 0, "明": 1, "后": 2}
_YEAR = r"(?:\d{4}|(?<!\d)\d{2}|[〇零一二三四五六七八九]{4}|[前去今明后])年的?"
_NEAR = {
    "这个月": 0,
    "这月": 0,
    "本月": 0,
    "当月": 0,
    "下个月": 1,
    "下月": 1,
    "下下个月": 2,
    "下下月": 2,
    "上个月": -1,
    "上月": -1,
    "上上个月": -2,
}
_MONTH = rf"(?:(?P<near>{'|'.join(sorted(_NEAR, key=len, reverse=True))})|(?P<year>{_YEAR})?(?P<month>{_NUMBER})月)"
_WEEKS = {
    "这": 0,
    "这个": 0,
    "本": 0,
    "下": 1,
    "下个": 1,
    "下下": 2,
    "下下下": 3,
    "下下个": 2,
    "上": -1,
    "上个": -1,
    "上上": -2,
    "上上个": -2,
}
_WHICH = f"({'|'.join(sorted(_WEEKS, key=len, reverse=True))})"
_LUNAR_MONTHS = {name: n for n, name in enumerate("正二三四五六七八九十冬腊", 1)} | {"十一": 11, "十二": 12}
_LM = "|".join(sorted(_LUNAR_MONTHS, key=len, reverse=True))
_LUNAR_YEAR = f"(?P<year>{_YEAR})?"
_QUARTERS = {
    "本季度": 0,
    "这个季度": 0,
    "这季度": 0,
    "季度": 0,
    "季": 0,
    "下个季度": 1,
    "下季度": 1,
    "上个季度": -1,
    "上季度": -1,
}
_TO = "(?:到|至|-|—|~)"
_LAST = "底|末|的?最后一天"
_FIRST = "初|的?第一天"


def _value(text: str) -> int:
    return int(text) if text.isdigit() else chinese_number(text)


def _weekday(text: str) -> int:
    return "一二三四五六日".index(text.replace("天", "日"))


def _place(text: str) -> int:
    return -1 if text.startswith("最后") else _value(text[1])


def _shift(day: date, number: str, unit: str, sign: int) -> date:
    if number == "半":
        return shift_months(day, 6 * sign) if unit == "年" else day + timedelta(15 * sign)
    count = sign * _value(number)
    if unit == "工作日":
        return working_days(day, count)
    if unit in ("月", "年"):
        return shift_months(day, count * (12 if unit == "年" else 1))
    return day + timedelta(count if unit in ("天", "日") else 7 * count)


def _counted(sign: int) -> Callable[[re.Match[str], date], Found]:
    return lambda m, t: _shift(t, m[1], m[2], sign)


def _year(text: str, today: date) -> int:
    text = text.rstrip("的年")
    if text in _YEAR_WORDS:
        return today.year + _YEAR_WORDS[text]
    digits = text if text.isdigit() else "".join(str("〇一二三四五六七八九".index(c.replace("零", "〇"))) for c in text)
    return int(digits) if len(digits) == 4 else 2000 + int(digits)


def _in_month(match: re.Match[str], today: date, day_of: Callable[[date], date | None]) -> date | None:
    """`day_of` the month said in the groups near, month and year; of the next such month where no year is said."""
    if match["near"]:
        return day_of(month_first(today, _NEAR[match["near"]]))
    month = _value(match["month"])
    if not 1 <= month <= 12:
        return None
    if match["year"]:
        return day_of(date(_year(match["year"], today), month, 1))
    return next_of_years(lambda year: day_of(date(year, month, 1)), today)


def _numbered(first: date, number: str) -> date | None:
    return make_date(first.year, first.month, _value(number))


def _written(match: re.Match[str], today: date) -> date | None:
    month, day = _value(match["month"]), _value(match["day"])
    return make_date(_year(match["year"], today), month, day) if match["year"] else next_written(month, day, today)


def _span(match: re.Match[str], today: date) -> Days:
    """Two days of one month: 3月5号到8号."""
    first = _written(match, today)
    last = None if first is None else _numbered(first.replace(day=1), match["last"])
    return () if first is None else (first,) if last is None or last < first else (first, last)


def _bare_number(match: re.Match[str], today: date) -> date | None:
    """15号, or 15号周五: the next such day number, on such a weekday where one is said."""
    days = [_numbered(month_first(today, n), match[1]) for n in range(12)]
    if match[2]:
        fitting = upcoming((d for d in days if d is not None and d.weekday() == _weekday(match[2])), today)
        return fitting or upcoming(days, today)
    return upcoming(days, today)


def _of_week(match: re.Match[str], today: date) -> Days:
    """A weekday of a week; 下周日 and 下个周五 are open between that week and the coming days."""
    weeks, weekday = _WEEKS[match[1]], _weekday(match[3])
    found = in_week(today, weekday, weeks)
    coming = after(today, weekday)
    is_open = weekday == 6 or (match[1].endswith("个") and match[2] == "周")
    if weeks == 1 and is_open and coming < found:
        return found, coming
    return (found,)


def _bare_weekday(match: re.Match[str], today: date) -> Days:
    found = after(today, _weekday(match[1]))
    return (today, found) if today.weekday() == _weekday(match[1]) else (found,)


def _weekend(match: re.Match[str], today: date) -> Days:
    saturday = in_week(today, 5, _WEEKS[match[1]] if match[1] else 0)
    return (saturday + timedelta(_weekday(match[2]) - 5),) if match[2] else (saturday, saturday + timedelta(1))


def _weekday_in_weeks(match: re.Match[str], today: date) -> date:
    return in_week(today, _weekday(match[2]), _value(match[1]))


def _quarter(match: re.Match[str], today: date) -> date | None:
    ends = match["edge"].endswith(("底", "末", "最后一天"))
    if match["which"]:
        first = quarter_first(today, _QUARTERS[match["which"]])
        return quarter_first(first, 1) - timedelta(1) if ends else first
    month = 3 * _value(match["number"]) - 2

    def day_of(year: int) -> date:
        first = date(year, month, 1)
        return quarter_first(first, 1) - timedelta(1) if ends else first

    return day_of(_year(match["year"], today)) if match["year"] else next_of_years(day_of, today)


def _year_edge(match: re.Match[str], today: date) -> date:
    year = _year(match["year"], today) if match["year"] else today.year
    return date(year, 12, 31) if match["edge"].endswith(("底", "末", "最后一天")) else date(year, 1, 1)


def _half_year_edge(match: re.Match[str], today: date) -> date:
    year = _year(match[1], today) if match[1] else today.year
    first_half, ends = match[2] == "上", match[3].endswith(("末", "最后一天"))
    return date(year, *((6, 30) if first_half else (12, 31))) if ends else date(year, 1 if first_half else 7, 1)


def _solar_or_lunar(match: re.Match[str], today: date) -> Days:
    """八月十五: by which calendar is open; with 号 or 日 it would be the solar one."""
    month, day = _value(match[1]), _value(match[2])
    found = (
        next_of_years(lambda year: lunar(year, month, day) if month <= 12 and day <= 30 else None, today),
        next_written(month, day, today),
    )
    return tuple(dict.fromkeys(d for d in found if d is not None))


def _lunar(match: re.Match[str], today: date) -> date | None:
    month, words = _LUNAR_MONTHS[match["month"]], match["day"]
    day = chinese_number(words.removeprefix("初").replace("廿", "二十"))
    if match["year"]:
        return lunar(_year(match["year"], today), month, day)
    return next_of_years(lambda year: lunar(year, month, day), today)


_OF_YEAR = (*FESTIVALS_ZH.values(), *((lambda year, name=name: solar_term(year, name)) for name in SOLAR_TERMS))
_FESTIVAL = (
    rf"(?P<year>{_YEAR})?(?:农历)?(?:"
    + "|".join(f"(?P<f{n}>{name})" for n, name in enumerate((*FESTIVALS_ZH, *SOLAR_TERMS)))
    + ")(?:那天|当天)?"
)


def _festival(match: re.Match[str], today: date) -> date | None:
    of_year = _OF_YEAR[next(n for n in range(len(_OF_YEAR)) if match[f"f{n}"])]
    return of_year(_year(match["year"], today)) if match["year"] else next_of_years(of_year, today)


_DAYS_OFF = {"国": (10, 1, 7), "五": (5, 1, 5), "春": (1, 1, 7)}


def _after_days_off(match: re.Match[str], today: date) -> Days:
    """A weekday after a holiday of several days: after the day itself, or after all of them."""
    month, day, length = _DAYS_OFF[match[1][0]]
    solar = match[1][0] != "春"
    start = next_of_years(lambda year: make_date(year, month, day) if solar else lunar(year, month, day), today)
    if start is None:
        return ()
    weekday = _weekday(match[2])
    return tuple(dict.fromkeys(after(start + timedelta(n), weekday) for n in (0, length - 1)))


def _near(days: int) -> Callable[[re.Match[str], date], Found]:
    return lambda m, t: t + timedelta(days)


_BASES = (
    Base(f"每个?{_W}", lambda m, t: None),
    Base(f"每(?:个?月|年(?:{_NUMBER})月)(?:{_NUMBER})[号日]", lambda m, t: None),
    Base(f"{_MONTH}的?第[一二三四五]个?{_WEEK}的?(?:{_W})?", lambda m, t: None),
    Base("今[天日晚早夜儿]", _near(0)),
    Base("明[天日晚早儿]", _near(1)),
    Base("后[天日]", _near(2)),
    Base("大后天", _near(3)),
    Base("大大后天", _near(4)),
    Base("昨[天日晚夜儿]", _near(-1)),
    Base("前天", _near(-2)),
    Base("大前天", _near(-3)),
    Base(f"(?:再过|过|这)?(?:{_ABOUT})个?{_UNIT}(?:之后|以后|后|之?内)?", lambda m, t: None),
    Base(f"(?:再过|过)?{_N}个?{_UNIT}(?:之后|以后|后)(?:的今天)?(?!天)", _counted(1)),
    Base(f"(?:再过|过){_N}个?{_UNIT}(?!后|之后|以后)", _counted(1)),
    Base(f"{_N}个?{_UNIT}(?:之前|以前|前)(?:的今天)?", _counted(-1)),
    Base("明年的?今天", lambda m, t: shift_months(t, 12)),
    Base("去年的?今天", lambda m, t: shift_months(t, -12)),
    Base("下个?月的?今天", lambda m, t: shift_months(t, 1)),
    Base(f"下个?{_WEEK}的?今天", _near(7)),
    Base(f"上个?{_WEEK}的?今天", _near(-7)),
    Base("下一?个工作日", lambda m, t: working_days(t, 1)),
    Base("上一?个工作日", lambda m, t: working_days(t, -1)),
    Base(f"{_WHICH}(周|星期|礼拜){_D}(?!共|直|样|些|般|起|边|会)", _of_week),
    Base(f"{_WHICH}{_WEEK}的?{_W}", lambda m, t: in_week(t, _weekday(m[2]), _WEEKS[m[1]])),
    Base(f"{_WHICH}?周末的?(?:{_WEEK}([六日天]))?", _weekend),
    Base(f"{_N}(?:周|个星期|个礼拜)后的?{_W}", _weekday_in_weeks),
    Base(
        f"{_WHICH}{_WEEK}的?(最后一个|第一个)工作日",
        lambda m, t: in_week(t, 0 if m[2] == "第一个" else 4, _WEEKS[m[1]]),
    ),
    Base(f"(?:接下来|即将到来)(?:的|那个)?{_W}", lambda m, t: after(t, _weekday(m[1]))),
    Base(f"刚过去的{_W}", lambda m, t: before(t, _weekday(m[1]))),
    Base(_W, _bare_weekday),
    Base(f"{_MONTH}的?(?:{_LAST})", lambda m, t: _in_month(m, t, month_last)),
    Base(f"{_MONTH}(?:{_FIRST}(?!个))", lambda m, t: _in_month(m, t, lambda first: first)),
    Base(f"{_MONTH}中(?!旬)", lambda m, t: _in_month(m, t, lambda first: first.replace(day=15))),
    Base(f"{_MONTH}[上中下]旬", lambda m, t: None),
    Base("月[底末](?:最后一天)?", lambda m, t: month_last(t)),
    Base("月初", lambda m, t: month_first(t, 0)),
    Base("月中(?!旬)", lambda m, t: t.replace(day=15)),
    Base(
        rf"(?P<near>{'|'.join(sorted(_NEAR, key=len, reverse=True))})的?(?P<day>{_NUMBER})[号日]{_DAY_IN_BRACKETS}",
        lambda m, t: _numbered(month_first(t, _NEAR[m["near"]]), m["day"]),
    ),
    Base(
        f"{_MONTH}的?(第[一二三四五]个|最后一个){_W}",
        lambda m, t: _in_month(m, t, lambda first: nth_of_month(first, _weekday(m[5]), _place(m[4]))),
    ),
    Base(
        f"{_MONTH}的?(最后一个|第一个)工作日",
        lambda m, t: _in_month(m, t, lambda first: working_day_of_month(first, 0 if m[4] == "第一个" else -1)),
    ),
    Base(
        f"(?:(?P<which>{'|'.join(sorted(_QUARTERS, key=len, reverse=True))})"
        rf"|(?P<year>{_YEAR})?(?:第?(?P<number>[一二三四1-4])季度))(?P<edge>{_LAST}|{_FIRST})",
        _quarter,
    ),
    Base(r"(?P<which>)?(?P<year>)?q(?P<number>[1-4])(?P<edge>底|末)", _quarter),
    Base(f"(?P<year>{_YEAR})(?P<edge>年?[底末初]|的?最后一天|的?第一天)", _year_edge),
    Base("(?P<year>)(?P<edge>年[底末初])", _year_edge),
    Base(f"({_YEAR})?(上|下)半年的?(末|最后一天|第一天)", _half_year_edge),
    Base(_FESTIVAL, _festival),
    Base(f"(国庆节?|五一|春节)(?:假期)?之?后的?第一个{_W}", _after_days_off),
    Base(
        rf"(?P<year>(?:\d{{4}}|(?<!\d)\d{{2}}|[〇零一二三四五六七八九]{{4}})年)(?P<month>{_NUMBER})月(?P<day>{_NUMBER})[号日]?{_DAY_IN_BRACKETS}",
        lambda m, t: make_date(_year(m["year"], t), _value(m["month"]), _value(m["day"])),
        True,
    ),
    Base(
        rf"(?P<year>[前去今明后]年的?)?(?P<month>{_NUMBER})月(?P<day>{_NUMBER})[号日]{_DAY_IN_BRACKETS}",
        _written,
    ),
    Base(rf"{_LUNAR_YEAR}(?:农历|阴历)(?P<month>{_LM})月(?P<day>初?[{_HAN}]{{1,3}}|廿[{_HAN}])", _lunar),
    Base(rf"{_LUNAR_YEAR}(?P<month>{_LM})月(?P<day>初[{_HAN}]|廿[{_HAN}])", _lunar),
    Base(rf"{_LUNAR_YEAR}(?P<month>正|冬|腊)月(?P<day>[{_HAN}]{{1,3}})", _lunar),
    Base(rf"([{_HAN}]{{1,2}})月([{_HAN}]{{1,3}})(?![号日{_HAN}])", _solar_or_lunar),
    Base(rf"(?P<year>{_YEAR})?(?P<month>{_NUMBER})月(?P<day>{_NUMBER})[号日]?{_TO}(?P<last>{_NUMBER})[号日]", _span),
    Base(
        f"{_WHICH}{_WEEK}{_D}{_TO}{_W}", lambda m, t: tuple(in_week(t, _weekday(d), _WEEKS[m[1]]) for d in (m[2], m[3]))
    ),
    Base(rf"({_NUMBER})号(?![线楼房门机店码院馆厅桌舱])(?:[（(]?{_WEEK}{_D}[）)]?)?", _bare_number),
    Base(
        rf"(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}})(?!\d){_DAY_IN_BRACKETS}",
        lambda m, t: make_date(int(m[1]), int(m[2]), int(m[3])),
        True,
    ),
)
_SUFFIXES = (
    Shift("的?(?:第二天|后一天|次日)", lambda m, day: day + timedelta(1)),
    Shift(f"(?:之|以)?后的?第{_N}天", lambda m, day: day + timedelta(_value(m[1]))),
    Shift("的前一天", lambda m, day: day - timedelta(1)),
    Shift(f"(?:之|以)?前的?{_N}个?{_UNIT}", lambda m, day: _shift(day, m[1], m[2], -1)),
    Shift("的前一(周|个星期)", lambda m, day: day - timedelta(7)),
    Shift(f"(?:之|以)?后{_N}个?{_UNIT}", lambda m, day: _shift(day, m[1], m[2], 1)),
    Shift(f"(?:之|以)?后的?第一个{_W}", lambda m, day: after(day, _weekday(m[1]))),
    Shift(f"(?:之|以)?前的?最后一个{_W}", lambda m, day: before(day, _weekday(m[1]))),
    Shift("(?:之|以)?后的?第一个工作日", lambda m, day: working_days(day, 1)),
    Shift(f"那一?周的?{_W}", lambda m, day: in_week(day, _weekday(m[1]), 0)),
    Shift("(?:之|以)?[前后]几个?[天周]|前后|左右|期间|假期|前夕", lambda m, day: None),
    Shift("那天|当天", lambda m, day: day),
)
_STARTS = (
    rf"(?<![\d.])\d|[{_HAN}半〇零今明后大昨前去再过下上本这接即刚每月年季农阴正冬腊q]|(?<![{_HAN}\d每])(?:周|星期|礼拜)|"
    + "|".join((*FESTIVALS_ZH, *SOLAR_TERMS))
)
READER_ZH = Reader(_STARTS, _BASES, (), _SUFFIXES)
