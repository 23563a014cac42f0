"""Days before today: yesterday, last Friday, 上个月底, 去年国庆."""

import random
from datetime import date, timedelta

from data_pipeline.dates.arithmetic import (
    MONTHS_EN,
    SATURDAY,
    WEEKDAYS_EN,
    WEEKDAYS_ZH,
    add_business_days,
    count_en,
    count_zh,
    day_of_week_zh,
    month_end,
    month_start,
    nth_weekday,
    ordinal,
    previous_weekday,
    quarter_end,
    quarter_start,
    same_day,
    weekday_of_week,
    weekday_zh,
)
from data_pipeline.dates.festivals import FESTIVALS, days_off_between
from data_pipeline.dates.grammar import Draw, Expression, Family, fixed
from data_pipeline.dates.months import NTH_EN, NTH_ZH
from data_pipeline.dates.written import explicit_date


def _days_ago(language: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        n = rng.randint(2, 14) if rng.random() < 0.85 else rng.randrange(15, 100, 5)
        count = count_en(n, rng) if language == "en" else count_zh(max(n, 3), rng)
        return rng.choice(texts).format(count), today - timedelta(n if language == "en" else max(n, 3))

    return draw


def _weeks_ago(language: str, single: tuple[str, ...], *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        n = rng.choice((1, 1, 2, 2, 3, 4))
        count = count_en(n, rng) if language == "en" else count_zh(n, rng)
        return rng.choice(single if n == 1 else texts).format(count), today - timedelta(weeks=n)

    return draw


def _months_ago(language: str, single: tuple[str, ...], *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        n = rng.choice((1, 1, 2, 3, 4, 6))
        day = same_day(today, -n)
        count = count_en(n, rng) if language == "en" else count_zh(n, rng)
        return None if day is None else (rng.choice(single if n == 1 else texts).format(count), day)

    return draw


def _year_ago(*texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        day = same_day(today, -12)
        return None if day is None else (rng.choice(texts), day)

    return draw


def _last_en(today: date, rng: random.Random) -> Expression:
    """Only where the most recent one lies in the week before, so that both readings of "last" agree."""
    weekday = rng.randrange(today.weekday(), 7)
    return f"last {WEEKDAYS_EN[weekday]}", weekday_of_week(today, weekday, -1)


def _past_en(today: date, rng: random.Random) -> Expression:
    weekday = (today.weekday() - rng.randint(1, 6)) % 7
    return rng.choice(("this past {}", "the past {}")).format(WEEKDAYS_EN[weekday]), previous_weekday(today, weekday)


def _of_last_week_en(today: date, rng: random.Random) -> Expression | None:
    weekday = rng.randrange(6)
    if today.weekday() == 6:
        return None
    text = rng.choice(("{} last week", "{} of last week", "last week on {}")).format(WEEKDAYS_EN[weekday])
    return text, weekday_of_week(today, weekday, -1)


def _earlier_this_week(today: date, rng: random.Random) -> Expression | None:
    if today.weekday() in (0, 6):
        return None
    weekday = rng.randrange(today.weekday())
    return f"{WEEKDAYS_EN[weekday]} of this week", weekday_of_week(today, weekday, 0)


def _last_month(*texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        first = month_start(today, -1)
        n = rng.randint(2, month_end(first).day)
        return rng.choice(texts).format(ordinal(n), n), first.replace(day=n)

    return draw


def _earlier_this_month(*texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        if today.day < 3:
            return None
        n = rng.randint(2, today.day - 1)
        return rng.choice(texts).format(ordinal(n), n), today.replace(day=n)

    return draw


def _edge(edge: str, months: int, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        first = month_start(today, months)
        return rng.choice(texts), first if edge == "start" else month_end(first)

    return draw


def _quarter(edge: str, quarters: int, *texts: str) -> Draw:
    return lambda today, rng: (
        rng.choice(texts),
        (quarter_start if edge == "start" else quarter_end)(today, quarters),
    )


def _nth_of_last_month(language: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        place, weekday = rng.choice((1, 2, 3, -1)), rng.randrange(7)
        said = WEEKDAYS_EN[weekday] if language == "en" else weekday_zh(weekday, rng)
        nth = (NTH_EN if language == "en" else NTH_ZH)[place]
        day = nth_weekday(month_start(today, -1), weekday, place)
        return rng.choice(texts).format(nth=nth, weekday=said), day

    return draw


def _of_year(years: int, month: int, day: int, *texts: str) -> Draw:
    return lambda today, rng: (rng.choice(texts), date(today.year + years, month, day))


def _festival(language: str, years: int, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        festival = rng.choice(FESTIVALS[language])
        day = festival.of_year(today.year + years)
        if festival.lunar_year or day >= today:
            return None
        name = rng.choice(festival.names)
        return rng.choice(texts).format(name=name, bare=name.removeprefix("the ")), day

    return draw


def _day_in_year(years: int, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        day = date(today.year + years, 1, 1) + timedelta(rng.randrange(365))
        if day >= today:
            return None
        return rng.choice(texts).format(MONTHS_EN[day.month - 1], day.day, ordinal(day.day), day.month), day

    return draw


def _written(language: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        day = today - timedelta(rng.randint(1, 400))
        return explicit_date(day, language, rng), day

    return draw


def _last_business_day(language: str, *texts: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression | None:
        day = add_business_days(today, -1)
        if today.weekday() >= SATURDAY or days_off_between(day, today, language):
            return None
        return rng.choice(texts), day

    return draw


def _last_week_zh(weeks: int, *names: str) -> Draw:
    def draw(today: date, rng: random.Random) -> Expression:
        weekday, name = rng.randrange(6), rng.choice(names)  # Sunday depends on where weeks start
        return name + day_of_week_zh(weekday, name.lstrip("上个"), rng), weekday_of_week(today, weekday, weeks)

    return draw


def _this_week_zh(today: date, rng: random.Random) -> Expression | None:
    if today.weekday() == 0:
        return None
    weekday = rng.randrange(today.weekday())
    return rng.choice(("这周", "本周", "这个星期")) + WEEKDAYS_ZH[weekday], weekday_of_week(today, weekday, 0)


def _just_past_zh(today: date, rng: random.Random) -> Expression:
    weekday = (today.weekday() - rng.randint(1, 6)) % 7
    return "刚过去的" + weekday_zh(weekday, rng), previous_weekday(today, weekday)


ENGLISH = (
    Family("yesterday", 12, fixed(-1, "yesterday")),
    Family("day_before_yesterday", 4, fixed(-2, "the day before yesterday")),
    Family("days_ago", 7, _days_ago("en", "{} days ago", "{} days ago", "{} days back"), counted=True),
    Family(
        "weeks_ago",
        5,
        _weeks_ago("en", ("a week ago", "one week ago", "a week ago today"), "{} weeks ago"),
        counted=True,
    ),
    Family("months_ago", 2, _months_ago("en", ("a month ago", "one month ago"), "{} months ago"), counted=True),
    Family("year_ago", 0.6, _year_ago("a year ago", "a year ago today", "this day last year"), counted=True),
    Family("last", 9, _last_en),
    Family("this_past", 3, _past_en),
    Family("of_last_week", 3, _of_last_week_en),
    Family("earlier_this_week", 1, _earlier_this_week),
    Family("day_of_last_month", 3, _last_month("the {} of last month")),
    Family("earlier_this_month", 1.5, _earlier_this_month("the {} of this month")),
    Family("end_of_last_month", 2, _edge("end", -1, "the end of last month", "the last day of last month")),
    Family("first_of_last_month", 1, _edge("start", -1, "the first of last month", "the first day of last month")),
    Family("start_of_month", 0.8, _edge("start", 0, "the first of this month", "the start of this month")),
    Family("end_of_last_quarter", 0.8, _quarter("end", -1, "the end of last quarter", "the last day of last quarter")),
    Family("start_of_quarter", 0.4, _quarter("start", 0, "the start of this quarter", "the first day of this quarter")),
    Family("nth_of_last_month", 1, _nth_of_last_month("en", "the {nth} {weekday} of last month")),
    Family("start_of_year", 0.4, _of_year(0, 1, 1, "the start of the year", "the first day of this year")),
    Family("end_of_last_year", 0.8, _of_year(-1, 12, 31, "the end of last year", "the last day of last year")),
    Family("festival_last_year", 1, _festival("en", -1, "{name} last year", "last year's {bare}")),
    Family("festival_this_year", 0.6, _festival("en", 0, "{name} this year", "this year's {bare}")),
    Family("day_last_year", 1, _day_in_year(-1, "{0} {1} last year", "{0} {2} last year", "{0} {1} of last year")),
    Family("day_this_year", 0.8, _day_in_year(0, "{0} {1} this year", "{0} {1} of this year")),
    Family("last_business_day", 0.8, _last_business_day("en", "the previous business day", "the previous working day")),
    Family("written", 4, _written("en")),
)
CHINESE = (
    Family("昨天", 12, fixed(-1, *["昨天"] * 10, "昨日", "昨儿")),
    Family("前天", 6, fixed(-2, "前天")),
    Family("大前天", 2, fixed(-3, "大前天")),
    Family("天前", 7, _days_ago("zh", "{}天前", "{}天前", "{}天之前", "{}天以前"), counted=True),
    Family("周前", 4, _weeks_ago("zh", ("{}周前", "{}个星期前"), "{}周前", "{}个星期前", "{}个礼拜前"), counted=True),
    Family("个月前", 2, _months_ago("zh", ("{}个月前",), "{}个月前", "{}个月之前"), counted=True),
    Family("去年今天", 0.6, _year_ago("去年的今天", "去年今天", "一年前", "一年前的今天"), counted=True),
    Family("上周几", 12, _last_week_zh(-1, "上周", "上周", "上周", "上星期", "上个星期", "上礼拜")),
    Family("上上周几", 2, _last_week_zh(-2, "上上周", "上上个星期")),
    Family("这周几", 2, _this_week_zh),
    Family("刚过去的周几", 1, _just_past_zh),
    Family("上周今天", 0.6, fixed(-7, "上周的今天", "上周今天")),
    Family("上月几号", 3, _last_month("上个月{1}号", "上个月{1}号", "上月{1}号", "上月{1}日")),
    Family("本月几号", 1.5, _earlier_this_month("这个月{1}号", "本月{1}号", "本月{1}日")),
    Family("上月底", 2, _edge("end", -1, "上个月底", "上月底", "上个月最后一天")),
    Family("上月第一天", 1, _edge("start", -1, "上个月第一天", "上个月的第一天", "上月初")),
    Family("月初", 1.5, _edge("start", 0, "这个月第一天", "本月第一天", "月初", "本月初", "这个月初")),
    Family("上季度末", 0.8, _quarter("end", -1, "上季度末", "上个季度末", "上个季度最后一天")),
    Family("本季度初", 0.4, _quarter("start", 0, "本季度第一天", "这个季度第一天", "本季度初")),
    Family("上月第几个周几", 1, _nth_of_last_month("zh", "上个月{nth}{weekday}", "上个月的{nth}{weekday}")),
    Family("今年第一天", 0.4, _of_year(0, 1, 1, "今年第一天", "今年的第一天", "今年元旦")),
    Family("去年年底", 0.8, _of_year(-1, 12, 31, "去年年底", "去年底", "去年最后一天")),
    Family("去年的节日", 1, _festival("zh", -1, "去年{name}", "去年的{name}")),
    Family("今年的节日", 0.6, _festival("zh", 0, "今年{name}", "今年的{name}")),
    Family("去年几月几号", 1.2, _day_in_year(-1, "去年{3}月{1}号", "去年{3}月{1}日")),
    Family("前年几月几号", 0.4, _day_in_year(-2, "前年{3}月{1}号")),
    Family("今年几月几号", 0.8, _day_in_year(0, "今年{3}月{1}号", "今年{3}月{1}日")),
    Family("上一个工作日", 0.8, _last_business_day("zh", "上个工作日", "上一个工作日")),
    Family("全写", 4, _written("zh")),
)
