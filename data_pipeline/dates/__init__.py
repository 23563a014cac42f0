"""Calendar expressions of English and Chinese: sampled together with the day they mean.

Policy for ambiguous forms: weeks start on Monday; "this Friday" / 这周五 is the Friday of the current week, "next
Friday" / 下周五 the Friday of the next calendar week; a bare "Friday" / 周五 is the first one after today.
"""

import calendar
import random
from collections.abc import Callable
from datetime import date, timedelta

WEEKDAYS_EN = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKDAYS_ZH = ("一", "二", "三", "四", "五", "六", "日")
MONTHS_EN = tuple(calendar.month_name)[1:]
SMALL_EN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SMALL_ZH = ("零", "一", "两", "三", "四", "五", "六", "七", "八", "九", "十")

Expression = tuple[str, date]


def month_end(day: date) -> date:
    """Last day of the month of `day`."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def add_months(day: date, months: int) -> date:
    """The same day `months` later, or the last day of that month where it is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def weekday_of_week(day: date, weekday: int, weeks: int) -> date:
    """Weekday 0-6 (Monday first) of the week that lies `weeks` after the one of `day`."""
    return day - timedelta(days=day.weekday()) + timedelta(days=weekday, weeks=weeks)


def next_weekday(day: date, weekday: int) -> date:
    """First such weekday strictly after `day`."""
    return day + timedelta(days=(weekday - day.weekday() - 1) % 7 + 1)


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th …"""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def explicit_date(day: date, language: str, rng: random.Random) -> str:
    """`day` written out with its year."""
    if language == "zh":
        return rng.choice(
            (f"{day.year}年{day.month}月{day.day}日", f"{day.year}年{day.month}月{day.day}号", day.isoformat())
        )
    month = MONTHS_EN[day.month - 1]
    return rng.choice(
        (
            f"{month} {day.day}, {day.year}",
            f"{day.day} {month} {day.year}",
            day.isoformat(),
            f"{month} {ordinal(day.day)}, {day.year}",
        )
    )


def day_line(day: date, language: str, rng: random.Random) -> str:
    """The date with its weekday, for the system message."""
    if language == "zh":
        return f"{day.year}年{day.month}月{day.day}日，星期{WEEKDAYS_ZH[day.weekday()]}"
    weekday = WEEKDAYS_EN[day.weekday()]
    return rng.choice(
        (
            f"{weekday}, {day.isoformat()}",
            f"{day.isoformat()} ({weekday})",
            f"{weekday}, {MONTHS_EN[day.month - 1]} {day.day}, {day.year}",
        )
    )


def relative_date(today: date, language: str, rng: random.Random) -> Expression:
    """A day on or after `today` and the words for it."""
    while True:
        text, day = rng.choice(_ZH if language == "zh" else _EN)(today, rng)
        if day >= today:
            return text, day


def _en_count(n: int, rng: random.Random) -> str:
    return SMALL_EN[n] if n <= 10 and rng.random() < 0.5 else str(n)


def _zh_count(n: int, rng: random.Random) -> str:
    return SMALL_ZH[n] if n <= 10 and rng.random() < 0.5 else str(n)


def _en_this(today: date, rng: random.Random) -> Expression:
    weekday = rng.randrange(today.weekday(), 7)
    return f"this {WEEKDAYS_EN[weekday]}", weekday_of_week(today, weekday, 0)


def _en_next(today: date, rng: random.Random) -> Expression:
    weekday = rng.randrange(7)
    return f"next {WEEKDAYS_EN[weekday]}", weekday_of_week(today, weekday, 1)


def _en_bare(today: date, rng: random.Random) -> Expression:
    weekday = rng.randrange(7)
    text = rng.choice(("{}", "this coming {}", "the coming {}")).format(WEEKDAYS_EN[weekday])
    return text, next_weekday(today, weekday)


def _en_in_days(today: date, rng: random.Random) -> Expression:
    n = rng.randint(2, 14)
    return rng.choice(("in {} days", "{} days from now", "{} days from today")).format(
        _en_count(n, rng)
    ), today + timedelta(n)


def _en_in_weeks(today: date, rng: random.Random) -> Expression:
    n = rng.randint(1, 4)
    text = "a week from today" if n == 1 else rng.choice(("in {} weeks", "{} weeks from now")).format(_en_count(n, rng))
    return text, today + timedelta(weeks=n)


def _en_month_day(today: date, rng: random.Random) -> Expression:
    day = today + timedelta(rng.randint(3, 200))
    month = MONTHS_EN[day.month - 1]
    text = rng.choice((f"{month} {day.day}", f"{month} {ordinal(day.day)}", f"the {ordinal(day.day)} of {month}"))
    return text, day


def _en_month_edges(today: date, rng: random.Random) -> Expression:
    first = add_months(today.replace(day=1), 1)
    return rng.choice(
        (
            ("the last day of this month", month_end(today)),
            ("the last day of the month", month_end(today)),
            ("the first of next month", first),
            ("the last day of next month", month_end(first)),
            ("the first day of next month", first),
        )
    )


def _en_day_next_month(today: date, rng: random.Random) -> Expression:
    n = rng.randint(2, 28)
    return f"the {ordinal(n)} of next month", add_months(today.replace(day=1), 1).replace(day=n)


def _en_week_from(today: date, rng: random.Random) -> Expression:
    weekday = rng.randrange(7)
    return f"a week from {WEEKDAYS_EN[weekday]}", next_weekday(today, weekday) + timedelta(7)


def _zh_this(today: date, rng: random.Random) -> Expression:
    weekday = rng.randrange(today.weekday(), 7)
    text = rng.choice(("这周{}", "本周{}", "这个星期{}"))
    text = text.format(_zh_weekday(weekday, rng) if "期" in text else WEEKDAYS_ZH[weekday])
    return text, weekday_of_week(today, weekday, 0)


def _zh_next(today: date, rng: random.Random) -> Expression:
    weekday = rng.randrange(7)
    text = rng.choice(("下周{}", "下周{}", "下星期{}", "下礼拜{}"))
    text = text.format(WEEKDAYS_ZH[weekday] if "周" in text else _zh_weekday(weekday, rng))
    return text, weekday_of_week(today, weekday, 1)


def _zh_after_next(today: date, rng: random.Random) -> Expression:
    weekday = rng.randrange(7)
    return "下下周" + WEEKDAYS_ZH[weekday], weekday_of_week(today, weekday, 2)


def _zh_weekday(weekday: int, rng: random.Random) -> str:
    return "天" if weekday == 6 and rng.random() < 0.4 else WEEKDAYS_ZH[weekday]


def _zh_in_days(today: date, rng: random.Random) -> Expression:
    n = rng.randint(3, 14)
    return rng.choice(("{}天后", "{}天之后", "再过{}天")).format(_zh_count(n, rng)), today + timedelta(n)


def _zh_in_weeks(today: date, rng: random.Random) -> Expression:
    n = rng.randint(1, 4)
    return rng.choice(("{}周后", "{}个星期后")).format(SMALL_ZH[n]), today + timedelta(weeks=n)


def _zh_month_day(today: date, rng: random.Random) -> Expression:
    day = today + timedelta(rng.randint(3, 200))
    return f"{day.month}月{day.day}{rng.choice('号日')}", day


def _zh_edges(today: date, rng: random.Random) -> Expression:
    first = add_months(today.replace(day=1), 1)
    return rng.choice(
        (
            ("这个月最后一天", month_end(today)),
            ("本月最后一天", month_end(today)),
            ("月底最后一天", month_end(today)),
            ("下个月1号", first),
            ("下个月最后一天", month_end(first)),
        )
    )


def _zh_day_next_month(today: date, rng: random.Random) -> Expression:
    n = rng.randint(2, 28)
    return rng.choice(("下个月{}号", "下月{}号")).format(n), add_months(today.replace(day=1), 1).replace(day=n)


def _fixed(text: str, days: int) -> Callable[[date, random.Random], Expression]:
    return lambda today, rng: (text, today + timedelta(days))


_EN: tuple[Callable[[date, random.Random], Expression], ...] = (
    _fixed("today", 0),
    _fixed("tomorrow", 1),
    _fixed("tomorrow", 1),
    _fixed("the day after tomorrow", 2),
    _en_this,
    _en_next,
    _en_next,
    _en_bare,
    _en_bare,
    _en_in_days,
    _en_in_weeks,
    _en_month_day,
    _en_month_day,
    _en_month_edges,
    _en_day_next_month,
    _en_week_from,
)
_ZH: tuple[Callable[[date, random.Random], Expression], ...] = (
    _fixed("今天", 0),
    _fixed("明天", 1),
    _fixed("明天", 1),
    _fixed("后天", 2),
    _fixed("大后天", 3),
    _zh_this,
    _zh_next,
    _zh_next,
    _zh_after_next,
    _zh_in_days,
    _zh_in_weeks,
    _zh_month_day,
    _zh_month_day,
    _zh_edges,
    _zh_day_next_month,
)
