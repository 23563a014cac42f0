"""Days meant in English and Chinese text."""

from datetime import date
from functools import lru_cache

from data_pipeline.normalisers.days_en import READER_EN
from data_pipeline.normalisers.days_zh import READER_ZH


@lru_cache(maxsize=4096)
def _read(text: str, today: date | None) -> frozenset[str]:
    lowered = text.lower().replace("’", "'")
    found = READER_EN.read(lowered, today)
    if not text.isascii():
        found |= READER_ZH.read(lowered, today)
    return frozenset(day.isoformat() for day in found)


def dates(text: str, today: date | None) -> set[str]:
    """Days meant in `text`, as ISO dates; relative ones only where `today` is known.

    Policy: weeks start on Monday; "next Friday" and 下周五 lie in the next calendar week, "Friday" is the first after
    today; a month and day, a day number or a festival without year is the next one from today on; the start, middle
    and end of a month are its first, 15th and last day. Words that this leaves open (03/04, "the weekend", 下周日, a
    weekday said on that weekday) give each of their readings, vague ones ("next week") none.
    """
    return set(_read(text, today))
