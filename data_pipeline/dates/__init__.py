"""Calendar expressions of English and Chinese: sampled together with the day they mean.

Policy, which the reader in `data_pipeline.normalisers` keeps on its own:

- Weeks start on Monday. "This Friday" / 这周五 is the Friday of the current week, "next Friday" / 下周五 of the next,
  下下周五 of the one after; a bare "Friday" / 周五 and "this coming Friday" are the first after today. "Last Friday" is
  the most recent one, 上周五 the one of the week before.
- Days are counted from today, which is day 0: "in three days" / 三天后. Months keep the day number. 半个月 is 15 days.
- Business days are Monday to Friday.
- The start (初) of a month, quarter or year is its first day, the end (底, 末) its last; the middle of a month (中) is
  the 15th.
- A month and day, a day number or a festival without year is the next one from today on; festivals are single days
  (Easter is Easter Sunday, 国庆 is October 1).

Where the policy would surprise someone, the words are not sampled as clear: "next Friday" on a Sunday, 下周日, a
weekday on that weekday, business days near a holiday, a festival within two months after it, "a month from now" on the
31st. `ambiguous_date` draws such words, and vague ones, with the question to ask and its possible answers.
"""

import random
import re
from datetime import date

from data_pipeline.dates import anchored, counts, festivals, months, past, weeks, written
from data_pipeline.dates.ambiguous import ambiguous_date
from data_pipeline.dates.arithmetic import (
    MONTHS_EN,
    WEEKDAYS_EN,
    WEEKDAYS_ZH,
    ordinal,
)
from data_pipeline.dates.grammar import Expression, Grammar
from data_pipeline.dates.spans import Span, date_span
from data_pipeline.dates.written import day_line, explicit_date

__all__ = [
    "FUTURE",
    "MONTHS_EN",
    "PAST",
    "WEEKDAYS_EN",
    "WEEKDAYS_ZH",
    "Span",
    "adverbial",
    "ambiguous_date",
    "date_span",
    "day_line",
    "explicit_date",
    "ordinal",
    "past_date",
    "relative_date",
]

_TOPICS = (counts, weeks, months, festivals, written, anchored)
FUTURE = {
    "en": Grammar([family for topic in _TOPICS for family in topic.ENGLISH]),
    "zh": Grammar([family for topic in _TOPICS for family in topic.CHINESE]),
}
PAST = {
    "en": Grammar(past.ENGLISH, past=True),
    "zh": Grammar(past.CHINESE, past=True),
}
_ALONE = re.compile(
    r"today|tomorrow|yesterday|in |around |(?:next|last|this) (?!year's)|(?:early|late) next"
    r"|(?:an?|half a|one) (?:week|month|year|fortnight)|\w+ (?:days|weeks|months|business days|working days) "
    r"|the day (?:after tomorrow|before yesterday)|the same day"
)
_AT = re.compile(r"the (?:end|start|beginning) of|month-end|quarter-end")
_IN = re.compile(r"mid-|the middle of|early |late ")


def relative_date(
    today: date, language: str, rng: random.Random, *, named: bool = False, within: int | None = None
) -> Expression:
    """A day on or after `today` and the words for it; `named` and `within` as for `Grammar.draw`."""
    return FUTURE[language].draw(today, rng, named, within)


def past_date(
    today: date, language: str, rng: random.Random, *, named: bool = False, within: int | None = None
) -> Expression:
    """A day before `today` and the words for it; `named` and `within` as for `Grammar.draw`."""
    return PAST[language].draw(today, rng, named, within)


def adverbial(text: str) -> str:
    """An English expression as it stands after a verb: "on March 3", "at the end of the month", "tomorrow"."""
    if _ALONE.match(text):
        return text
    if _AT.match(text):
        return f"at {text}"
    return f"{'in' if _IN.match(text) else 'on'} {text}"
