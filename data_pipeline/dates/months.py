"""Months, quarters and years: their days, edges, middles and n-th weekdays (月底, the second Tuesday of next month)."""

import random
from datetime import date

from data_pipeline.dates.arithmetic import (
    MONTHS_EN,
    SATURDAY,
    WEEKDAYS_EN,
    add_business_days,
    month_end,
    month_start,
    nth_weekday,
    numeral_zh,
    ordinal,
    quarter_end,
    quarter_start,
    weekday_zh,
)
from data_pipeline.dates.festivals import days_off_between
from data_pipeline.dates.grammar import Draw, Expression, Family

NTH_EN = {1: "first", 2: "second", 3: "third", 4: "fourth", -1: "last"}
NTH_ZH = {1: "第一个", 2: "第二个", 3: "第三个", 4: "第四个", -1: "最后一个"}
MIDDLE = 15


def named_month(today: date, rng: random.Random) -> date:
    """First day of one of the next months, which a name alone tells apart; later ones are rarely said without year."""
    return month_start(today, rng.randint(1, 8))


def _edge(edge: str, months: int, *texts: str) -> Draw:
    """First or last day or the middle of the month `months` ahead."""

    def draw(today: date, rng: random.Random) -> Expression:
        return rng.choice(texts), edge_of_month(month_start(today, months), edge)

    return draw


def edge_of_month(first: date, edge: str) -> date:
    """`first`, the 15th for "middle", or the last day for "end"."""
    return {"start": first, "middle": first.replace(day=MIDDLE), "end": month_end(first)}[edge]


def _named_edge_en(edge: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        first = named_month(today, rng)
        return rng.choice(texts).format(MONTHS_EN[first.month - 1]), edge_of_month(first, edge)

    return draw


def _named_edge_zh(edge: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        first = named_month(today, rng)
        month = rng.choice((str(first.month), str(first.month), numeral_zh(first.month)))
        return rng.choice(texts).format(month), edge_of_month(first, edge)

    return draw


def _day_of_month(months: int, ordinals: bool, *texts: str) -> Draw:
    """A numbered day of this month (still to come) or a later one."""

    def draw(today: date, rng: random.Random) -> Expression | None:
        first = month_start(today, months)
        low = today.day + 1 if months == 0 else 2
        last = month_end(first).day
        if low > last:
            return None
        n = rng.randint(low, last)
        said = ordinal(n) if ordinals else rng.choice((str(n), str(n), str(n), numeral_zh(n)))
        return rng.choice(texts).format(said), first.replace(day=n)

    return draw


def _nth(months: int, language: str, *texts: str) -> Draw:
    """The n-th weekday of this month or a later one."""

    def draw(today: date, rng: random.Random) -> Expression:
        return _nth_of(month_start(today, months), language, rng.choice(texts), rng)

    return draw


def _nth_named(language: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        first = named_month(today, rng)
        month = MONTHS_EN[first.month - 1] if language == "en" else str(first.month)
        return _nth_of(first, language, rng.choice(texts).replace("{month}", month), rng)

    return draw


def _nth_next_january_en(today: date, rng: random.Random) -> Expression:
    return _nth_of(date(today.year + 1, 1, 1), "en", "the {nth} {weekday} of next year", rng, (1, 2))


def _nth_of(
    first: date, language: str, text: str, rng: random.Random, places: tuple[int, ...] = (1, 1, 2, 2, 3, 4, -1, -1)
) -> Expression:
    place, weekday = rng.choice(places), rng.randrange(7)
    said = WEEKDAYS_EN[weekday] if language == "en" else weekday_zh(weekday, rng)
    nth = (NTH_EN if language == "en" else NTH_ZH)[place]
    return text.format(nth=nth, weekday=said), nth_weekday(first, weekday, place)


def _business_day(months: int, place: int, language: str, *texts: str) -> Draw:
    """The first or last day from Monday to Friday of a month, where no holiday makes it another one."""

    def draw(today: date, rng: random.Random) -> Expression | None:
        first = month_start(today, months)
        if place > 0:
            edge, day = first, first if first.weekday() < SATURDAY else add_business_days(first, 1)
        else:
            edge = month_end(first)
            day = edge if edge.weekday() < SATURDAY else add_business_days(edge, -1)
        if days_off_between(min(edge, day), max(edge, day), language):
            return None
        return rng.choice(texts), day

    return draw


def _quarter(edge: str, quarters: int, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        return rng.choice(texts), (quarter_start if edge == "start" else quarter_end)(today, quarters)

    return draw


def _numbered_quarter(*texts: str) -> Draw:
    """The last day of this quarter or the next two by its number."""

    def draw(today: date, rng: random.Random) -> Expression:
        day = quarter_end(today, rng.randrange(3))
        number = day.month // 3
        return rng.choice(texts).format(number, "零一二三四"[number]), day

    return draw


def _quarter_of_year(*texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        year, number = today.year + rng.choice((0, 1)), rng.randint(1, 4)
        text = rng.choice(texts).format(number, "零一二三四"[number], year=year)
        return text, quarter_end(date(year, number * 3, 1))

    return draw


def _of_year(years: int, month: int, day: int, *texts: str) -> Draw:
    return lambda today, rng: (rng.choice(texts), date(today.year + years, month, day))


def _end_of_named_month_next_year(*texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        first = date(today.year + 1, rng.randint(1, 12), 1)
        return rng.choice(texts).format(MONTHS_EN[first.month - 1], first.month), month_end(first)

    return draw


ENGLISH = (
    Family("end_of_month", 3, _edge("end", 0, "the end of the month", "the end of this month", "month-end")),
    Family("last_day_of_month", 2, _edge("end", 0, "the last day of the month", "the last day of this month")),
    Family("end_of_next_month", 2, _edge("end", 1, "the end of next month", "the last day of next month")),
    Family("first_of_next_month", 2, _edge("start", 1, "the first of next month", "the first day of next month")),
    Family("start_of_next_month", 1, _edge("start", 1, "the start of next month", "the beginning of next month")),
    Family("middle_of_month", 0.4, _edge("middle", 0, "the middle of the month", "the middle of this month")),
    Family("middle_of_next_month", 0.4, _edge("middle", 1, "the middle of next month")),
    Family("end_in_two_months", 0.4, _edge("end", 2, "the end of the month after next")),
    Family("end_of_named_month", 2, _named_edge_en("end", "the end of {}", "the last day of {}")),
    Family("start_of_named_month", 1, _named_edge_en("start", "the first of {}", "the first day of {}")),
    Family("beginning_of_named_month", 0.4, _named_edge_en("start", "the start of {}", "the beginning of {}")),
    Family("middle_of_named_month", 0.4, _named_edge_en("middle", "mid-{}", "the middle of {}")),
    Family("end_of_named_month_next_year", 0.5, _end_of_named_month_next_year("the end of {0} next year")),
    Family("day_of_this_month", 1.5, _day_of_month(0, True, "the {} of this month")),
    Family("day", 3, _day_of_month(0, True, "the {}")),
    Family("day_of_next_month", 3, _day_of_month(1, True, "the {} of next month")),
    Family("day_in_two_months", 0.4, _day_of_month(2, True, "the {} of the month after next")),
    Family(
        "nth_of_next_month", 2, _nth(1, "en", "the {nth} {weekday} of next month", "the {nth} {weekday} in next month")
    ),
    Family(
        "nth_of_this_month", 1.5, _nth(0, "en", "the {nth} {weekday} of this month", "the {nth} {weekday} of the month")
    ),
    Family(
        "nth_of_named_month", 1.5, _nth_named("en", "the {nth} {weekday} of {month}", "the {nth} {weekday} in {month}")
    ),
    Family("nth_of_next_year", 0.4, _nth_next_january_en),
    Family(
        "last_business_day",
        1,
        _business_day(0, -1, "en", "the last business day of the month", "the last working day of this month"),
    ),
    Family(
        "first_business_day",
        1,
        _business_day(1, 1, "en", "the first business day of next month", "the first working day of next month"),
    ),
    Family("last_business_day_next", 0.6, _business_day(1, -1, "en", "the last business day of next month")),
    Family(
        "end_of_quarter",
        1.5,
        _quarter(
            "end", 0, "the end of the quarter", "the end of this quarter", "the last day of the quarter", "quarter-end"
        ),
    ),
    Family("end_of_next_quarter", 0.8, _quarter("end", 1, "the end of next quarter", "the last day of next quarter")),
    Family(
        "start_of_next_quarter", 0.8, _quarter("start", 1, "the first day of next quarter", "the start of next quarter")
    ),
    Family("end_of_numbered_quarter", 0.8, _numbered_quarter("the end of Q{0}", "the last day of Q{0}")),
    Family("end_of_quarter_of_year", 0.6, _quarter_of_year("the end of Q{0} {year}", "the last day of Q{0} {year}")),
    Family(
        "end_of_year",
        1.5,
        _of_year(0, 12, 31, "the end of the year", "the end of this year", "the last day of the year"),
    ),
    Family("end_of_next_year", 0.5, _of_year(1, 12, 31, "the end of next year", "the last day of next year")),
    Family("start_of_next_year", 0.6, _of_year(1, 1, 1, "the first day of next year", "the start of next year")),
)
CHINESE = (
    Family("月底", 3, _edge("end", 0, "月底", "月底", "这个月底", "本月底", "月末")),
    Family("本月最后一天", 2, _edge("end", 0, "这个月最后一天", "本月最后一天", "这个月的最后一天")),
    Family("下月底", 1.5, _edge("end", 1, "下个月底", "下月底", "下个月末")),
    Family("下月最后一天", 1, _edge("end", 1, "下个月最后一天", "下个月的最后一天")),
    Family("下月初", 1, _edge("start", 1, "下个月初", "下月初")),
    Family("下月第一天", 1, _edge("start", 1, "下个月第一天", "下个月的第一天")),
    Family("月中", 0.4, _edge("middle", 0, "月中", "这个月中", "本月中")),
    Family("下月中", 0.4, _edge("middle", 1, "下个月中", "下月中")),
    Family("下下个月底", 0.4, _edge("end", 2, "下下个月底", "下下个月最后一天")),
    Family("几月底", 1.5, _named_edge_zh("end", "{}月底", "{}月末", "{}月最后一天")),
    Family("几月初", 0.4, _named_edge_zh("start", "{}月初", "{}月第一天")),
    Family("明年几月底", 0.5, _end_of_named_month_next_year("明年{1}月底", "明年{1}月最后一天")),
    Family("本月几号", 2, _day_of_month(0, False, "这个月{}号", "本月{}号", "本月{}日")),
    Family("几号", 3, _day_of_month(0, False, "{}号")),
    Family("下月几号", 3, _day_of_month(1, False, "下个月{}号", "下个月{}号", "下月{}号", "下月{}日")),
    Family("下下个月几号", 0.5, _day_of_month(2, False, "下下个月{}号")),
    Family("下月第几个周几", 2, _nth(1, "zh", "下个月{nth}{weekday}", "下个月的{nth}{weekday}")),
    Family(
        "本月第几个周几", 1.5, _nth(0, "zh", "这个月{nth}{weekday}", "本月{nth}{weekday}", "这个月的{nth}{weekday}")
    ),
    Family("几月第几个周几", 1.5, _nth_named("zh", "{month}月{nth}{weekday}", "{month}月的{nth}{weekday}")),
    Family("本月最后一个工作日", 1, _business_day(0, -1, "zh", "这个月最后一个工作日", "本月最后一个工作日")),
    Family("下月第一个工作日", 1, _business_day(1, 1, "zh", "下个月第一个工作日", "下个月的第一个工作日")),
    Family("下月最后一个工作日", 0.6, _business_day(1, -1, "zh", "下个月最后一个工作日")),
    Family("季度末", 1.2, _quarter("end", 0, "季度末", "本季度末", "这个季度末", "本季度最后一天", "这个季度最后一天")),
    Family("下季度末", 0.8, _quarter("end", 1, "下个季度末", "下季度末", "下个季度最后一天")),
    Family("下季度初", 0.8, _quarter("start", 1, "下个季度第一天", "下季度第一天", "下个季度初")),
    Family("第几季度末", 0.8, _numbered_quarter("第{1}季度末", "{1}季度末", "第{1}季度最后一天", "Q{0}末")),
    Family("某年季度末", 0.5, _quarter_of_year("{year}年第{1}季度末", "{year}年第{1}季度最后一天")),
    Family("年底", 1.5, _of_year(0, 12, 31, "年底", "今年年底", "今年底", "年末", "今年最后一天")),
    Family("明年年底", 0.5, _of_year(1, 12, 31, "明年年底", "明年底", "明年最后一天")),
    Family("明年第一天", 0.5, _of_year(1, 1, 1, "明年第一天", "明年的第一天")),
    Family("上半年末", 0.4, _of_year(0, 6, 30, "上半年最后一天", "今年上半年最后一天")),
    Family("下半年初", 0.4, _of_year(0, 7, 1, "下半年第一天", "今年下半年第一天")),
)
