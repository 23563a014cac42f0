"""Days, clock times, spans of both, months, weekdays, frequencies and time zones."""

from datetime import date, timedelta
from typing import Any

from data_pipeline.dates import (
    MONTHS_EN,
    WEEKDAYS_EN,
    WEEKDAYS_ZH,
    date_span,
    explicit_date,
    past_date,
    relative_date,
)
from data_pipeline.slot_types.base import (
    Context,
    SlotType,
    Spec,
    Value,
    carried,
    join_words,
    meant,
    plain,
    words_en,
    words_zh,
)

_FIRST_DAY = date(2025, 1, 1)
_PARTS_ZH = ((5, "凌晨"), (9, "早上"), (12, "上午"), (13, "中午"), (18, "下午"), (24, "晚上"))
_ZONES = (
    ("Asia/Shanghai", "Beijing time", "北京时间"),
    ("America/New_York", "New York time", "纽约时间"),
    ("America/Los_Angeles", "Los Angeles time", "洛杉矶时间"),
    ("Europe/London", "London time", "伦敦时间"),
    ("Europe/Berlin", "Berlin time", "柏林时间"),
    ("Asia/Tokyo", "Tokyo time", "东京时间"),
    ("Asia/Singapore", "Singapore time", "新加坡时间"),
    ("Australia/Sydney", "Sydney time", "悉尼时间"),
    ("UTC", "UTC", "UTC"),
)
_FREQUENCIES = (
    ("daily", "every day", "每天"),
    ("weekly", "every week", "每周"),
    ("monthly", "every month", "每个月"),
    ("weekdays", "on weekdays", "每个工作日"),
)


def _day(spec: Spec, context: Context) -> tuple[str, date]:
    past = bool(spec.get("past"))
    if context.today is not None:
        draw = past_date if past else relative_date
        named, within = bool(spec.get("named")), spec.get("within")
        return draw(context.today, context.language, context.rng, named=named, within=within)
    day = _FIRST_DAY + timedelta(-context.rng.randrange(1, 500) if past else context.rng.randrange(720))
    return explicit_date(day, context.language, context.rng), day


def _date(spec: Spec, context: Context) -> Value:
    """A day from today on, or (`past`) before it; `within` so many days, or one that is `named`, not counted to."""
    text, day = _day(spec, context)
    return carried(day.isoformat(), text)


def clock_text(hour: int, minute: int, context: Context) -> str:
    """A clock time as people write it: 3 pm, 15:00, 下午三点半."""
    return f"{hour:02d}:{minute:02d}" if context.rng.random() < 0.2 else spoken_clock(hour, minute, context)


def spoken_clock(hour: int, minute: int, context: Context) -> str:
    """A clock time with its half of the day."""
    rng = context.rng
    if context.chinese:
        part = next(name for end, name in _PARTS_ZH if hour < end)
        short = hour if hour <= 12 else hour - 12
        quarter = "一刻" if minute == 15 and rng.random() < 0.5 else f"{minute}分"
        in_words = rng.random() < 0.4 and (minute in (0, 30) or quarter == "一刻")  # nobody writes 九点45分
        spoken = words_zh(short) if in_words else str(short)
        return f"{part}{spoken}点" + ("" if minute == 0 else "半" if minute == 30 else quarter)
    if (hour, minute) == (12, 0) and rng.random() < 0.6:
        return "noon"
    if rng.random() < 0.12:
        return _at_length(hour, minute)
    half = "am" if hour < 12 else "pm"
    clock = f"{(hour - 1) % 12 + 1}" + ("" if minute == 0 else f":{minute:02d}")
    return rng.choice((f"{clock} {half}", f"{clock}{half}", f"{clock}{half}", f"{clock} {half.upper()}"))


def _at_length(hour: int, minute: int) -> str:
    part = "in the morning" if hour < 12 else "in the afternoon" if hour < 18 else "in the evening"
    number = words_en((hour - 1) % 12 + 1)
    past = {0: number, 15: f"quarter past {number}", 30: f"half past {number}"}
    return f"{past.get(minute) or f'quarter to {words_en(hour % 12 + 1)}'} {part}"


def _clock(spec: Spec, context: Context) -> tuple[int, int]:
    return context.rng.randint(spec.get("lo", 7), spec.get("hi", 21)), context.rng.choice((0, 0, 0, 30, 30, 15, 45))


def _time(spec: Spec, context: Context) -> Value:
    hour, minute = _clock(spec, context)
    return carried(f"{hour:02d}:{minute:02d}", clock_text(hour, minute, context))


def _datetime(spec: Spec, context: Context) -> Value:
    words, day = _day(spec, context)
    hour, minute = _clock(spec, context)
    clock = clock_text(hour, minute, context)
    space = " " if words[-1].isdigit() and clock[0].isdigit() else ""
    text = f"{words}{space}{clock}" if context.chinese else f"{words} at {clock}"
    return meant(f"{day.isoformat()}T{hour:02d}:{minute:02d}:00", text)


def _time_range(spec: Spec, context: Context) -> Value:
    hour = context.rng.randint(8, 17)
    minute, end = context.rng.choice((0, 0, 30)), hour + context.rng.randint(1, 3)
    texts = f"{hour:02d}:{minute:02d}", f"{end:02d}:{minute:02d}"
    if context.rng.random() < 0.8:
        texts = spoken_clock(hour, minute, context), spoken_clock(end, minute, context)
    joint = "{}到{}" if context.chinese else context.rng.choice(("from {} to {}", "between {} and {}"))
    arg = {"start": f"{hour:02d}:{minute:02d}", "end": f"{end:02d}:{minute:02d}"}
    return Value(arg, joint.format(*texts), {"start": texts[0], "end": texts[1]})


def _date_range(spec: Spec, context: Context) -> Value:
    span = date_span(context.today, context.language, context.rng)
    arg = {"start": span.first.isoformat(), "end": span.last.isoformat()}
    return Value(arg, span.text, {"start": span.first_words, "end": span.last_words})


def _month(spec: Spec, context: Context) -> Value:
    month, year = context.rng.randint(1, 12), context.rng.randint(2023, 2026)
    if context.today is not None:  # reports are about months that are over
        year = context.today.year - (month >= context.today.month)
    text = f"{year}年{month}月" if context.chinese else f"{MONTHS_EN[month - 1]} {year}"
    return meant(f"{year}-{month:02d}", text)


def _weekday_words(days: list[int], context: Context) -> list[str]:
    if context.chinese:
        head = context.rng.choice(("周", "周", "星期"))
        return [head + WEEKDAYS_ZH[day] for day in days]
    return [WEEKDAYS_EN[day] for day in days]


def _weekday(spec: Spec, context: Context) -> Value:
    day = context.rng.randrange(7)
    return meant(WEEKDAYS_EN[day].lower(), _weekday_words([day], context)[0])


def _weekdays(spec: Spec, context: Context) -> Value:
    days = sorted(context.rng.sample(range(7), context.rng.choice((2, 2, 3))))
    words = _weekday_words(days, context)
    values = [meant(WEEKDAYS_EN[day].lower(), word) for day, word in zip(days, words, strict=True)]
    leaves = {str(i): value.leaves[""] for i, value in enumerate(values)}
    return Value([value.arg for value in values], join_words(words, context.language), leaves)


def _frequency(spec: Spec, context: Context) -> Value:
    arg, english, chinese = context.rng.choice(_FREQUENCIES)
    return meant(arg, chinese if context.chinese else english)


def _timezone(spec: Spec, context: Context) -> Value:
    arg, english, chinese = context.rng.choice(_ZONES)
    return meant(arg, chinese if context.chinese else english)


def _span(kind: str) -> dict[str, Any]:
    end = {"type": "string", "description": kind}
    return {"type": "object", "properties": {"start": end, "end": end}, "required": ["start", "end"]}


_DAYS = {"type": "string", "enum": [day.lower() for day in WEEKDAYS_EN]}
TYPES: dict[str, SlotType] = {
    "date": SlotType(_date, plain("string")),
    "time": SlotType(_time, plain("string")),
    "datetime": SlotType(_datetime, plain("string", format="date-time"), "local time, YYYY-MM-DDTHH:MM:SS"),
    "time_range": SlotType(_time_range, lambda spec: _span("HH:MM, 24-hour")),
    "date_range": SlotType(_date_range, lambda spec: _span("YYYY-MM-DD")),
    "month": SlotType(_month, plain("string"), "YYYY-MM"),
    "weekday": SlotType(_weekday, plain("string", enum=_DAYS["enum"])),
    "weekdays": SlotType(_weekdays, plain("array", items=_DAYS)),
    "frequency": SlotType(_frequency, plain("string", enum=[arg for arg, _, _ in _FREQUENCIES])),
    "timezone": SlotType(_timezone, plain("string"), "IANA name"),
}
