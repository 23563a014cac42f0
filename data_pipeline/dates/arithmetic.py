"""Calendar arithmetic and the words that every family of expressions shares."""

import calendar
import random
from datetime import date, timedelta

WEEKDAYS_EN = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKDAYS_ZH = ("一", "二", "三", "四", "五", "六", "日")
MONTHS_EN = tuple(calendar.month_name)[1:]
SMALL_EN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
SMALL_ZH = ("零", "一", "两", "三", "四", "五", "六", "七", "八", "九", "十")
DIGITS_ZH = "〇一二三四五六七八九"
SATURDAY, SUNDAY = 5, 6


def month_end(day: date) -> date:
    """Last day of the month of `day`."""
    return day.replace(day=calendar.monthrange(day.year, day.month)[1])


def month_start(day: date, months: int = 0) -> date:
    """First day of the month that lies `months` after the one of `day`."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    return date(year, month + 1, 1)


def add_months(day: date, months: int) -> date:
    """The same day `months` later, or the last day of that month where it is shorter."""
    start = month_start(day, months)
    return start.replace(day=min(day.day, month_end(start).day))


def same_day(day: date, months: int) -> date | None:
    """The same day `months` later; None where that month is too short, so that nobody has to say what is meant."""
    moved = add_months(day, months)
    return moved if moved.day == day.day else None


def quarter_start(day: date, quarters: int = 0) -> date:
    """First day of the quarter that lies `quarters` after the one of `day`."""
    return month_start(day, quarters * 3 - (day.month - 1) % 3)


def quarter_end(day: date, quarters: int = 0) -> date:
    """Last day of the quarter that lies `quarters` after the one of `day`."""
    return quarter_start(day, quarters + 1) - timedelta(1)


def weekday_of_week(day: date, weekday: int, weeks: int) -> date:
    """Weekday 0-6 (Monday first) of the week that lies `weeks` after the one of `day`."""
    return day + timedelta(days=weekday - day.weekday(), weeks=weeks)


def next_weekday(day: date, weekday: int) -> date:
    """First such weekday strictly after `day`."""
    return day + timedelta(days=(weekday - day.weekday() - 1) % 7 + 1)


def previous_weekday(day: date, weekday: int) -> date:
    """Last such weekday strictly before `day`."""
    return day - timedelta(days=(day.weekday() - weekday - 1) % 7 + 1)


def nth_weekday(first: date, weekday: int, n: int) -> date:
    """The n-th such weekday of the month that begins with `first`; the last one for n = -1."""
    if n < 0:
        return previous_weekday(month_start(first, 1), weekday)
    return next_weekday(first - timedelta(1), weekday) + timedelta(weeks=n - 1)


def add_business_days(day: date, count: int) -> date:
    """`count` (not 0) days from Monday to Friday after `day`, or before it."""
    step = timedelta(1 if count > 0 else -1)
    for _ in range(abs(count)):
        day += step
        while day.weekday() >= SATURDAY:
            day += step
    return day


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th …"""
    suffix = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def count_en(number: int, rng: random.Random) -> str:
    """A count in a word, where it is short, or in digits."""
    return SMALL_EN[number] if number <= 10 and rng.random() < 0.6 else str(number)


def count_zh(number: int, rng: random.Random) -> str:
    """A count in a character, where it is short, or in digits."""
    return SMALL_ZH[number] if number <= 10 and rng.random() < 0.6 else str(number)


def numeral_zh(number: int) -> str:
    """1-99 in characters, as in 二十三号."""
    tens, ones = divmod(number, 10)
    return ("" if tens == 0 else "十" if tens == 1 else DIGITS_ZH[tens] + "十") + (DIGITS_ZH[ones] if ones else "")


def weekday_zh(weekday: int, rng: random.Random) -> str:
    """周五, 星期五 or 礼拜五; Sunday also with 天."""
    unit = rng.choice(("周", "周", "周", "星期", "星期", "礼拜"))
    return unit + day_of_week_zh(weekday, unit, rng)


def day_of_week_zh(weekday: int, unit: str, rng: random.Random) -> str:
    """The character after 周, 星期 or 礼拜."""
    return "天" if weekday == SUNDAY and unit[-1] != "周" and rng.random() < 0.7 else WEEKDAYS_ZH[weekday]
