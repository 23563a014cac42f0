"""Answers after a call: every fact comes from a result or from the user, and short results are told."""

import re
from datetime import date
from functools import lru_cache

from data_pipeline.gates.facts import Told, dated, names, plain_numbers
from data_pipeline.gates.reading import Reading, is_empty, is_error

_ASKS = re.compile(r"[?？]|\bconfirm|\bcorrect\b|确认|吗[。!！]?$", re.I)
_NOTHING = re.compile(
    r"\b(?:no (?:such |matching |available )?(?:results?|match(?:es)?|records?)\b|nothing (?:was )?found|"
    r"could ?n[o']t find any|did ?n[o']t find any|found nothing)|没有找到(?:任何|符合|相关)|未找到|没找到|查不到|"
    r"找不到|没有(?:任何)?(?:符合|匹配|相关)的?(?:结果|记录)"
)
_IN_DENIALS = ("no", "find any", "没", "未找到", "不到")
"""One of these stands in whatever `_NOTHING` finds; they are found sooner."""
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAYS_ZH = "一二三四五六日"
_WEEKDAY = rf"({'|'.join(_WEEKDAYS)})|(?:星期|周|礼拜)([{_WEEKDAYS_ZH}天])"
_WEEKDAY_BEFORE = re.compile(rf"(?:{_WEEKDAY})[,，\s(（]*$", re.I)
_WEEKDAY_AFTER = re.compile(rf"[,，\s(（]*(?:{_WEEKDAY})", re.I)
_YEAR = re.compile(r"\d\d{3}(?!\d)")
"""Without it there is no full date; it begins with one digit, so that the engine can skip to digits."""
_REACH = 14
"""Characters beside a date in which its weekday may stand."""


def answers(reading: Reading) -> str | None:
    """What the assistant says after a call was told by a result or the user, and agrees with the result."""
    if not reading.calls:
        return None
    told, first = reading.view(Told), reading.calls[0].turn
    for turn, text in reading.answers():
        if turn < first:
            continue
        if fact := told.unknown_fact(text, turn):
            return f"answer_has_other_{fact}"
        # A question may name a guess ("Do you mean ...?"); a report may not.
        reports = reading.messages[turn - 1].role == "tool" or not _ASKS.search(text)
        if reports and not all(told.knows_name(name, turn) for name in names(text)):
            return "answer_has_other_name"
        if reason := _unfaithful(text, turn, reading):
            return reason
    return None


def _unfaithful(text: str, turn: int, reading: Reading) -> str | None:
    """Reason why an answer right after results does not fit them."""
    results = reading.results_before(turn)
    if not results:
        return None
    asked = reading.last_user(turn)
    found = [content for place, content in reading.results.items() if asked < place < turn]
    if not any(is_error(content) or is_empty(content) for content in found) and _denies(text):
        return "answer_denies_result"
    for content in results:
        if not isinstance(content, dict) or len(content) > 2 or is_error(content):
            continue  # long results may be summed up
        for key, value in content.items():
            if isinstance(value, str) and key.endswith("_id") and value not in text:
                return "answer_leaves_out_result"
            if (
                type(value) in (int, float)
                and len(content.keys() - {"unit"}) == 1
                and abs(float(value)) not in plain_numbers(text)
            ):
                return "answer_leaves_out_result"
    return None


def _denies(text: str) -> bool:
    """Whether an answer says that nothing was found."""
    lowered = text.lower()
    return any([part in lowered for part in _IN_DENIALS]) and _NOTHING.search(lowered) is not None


def calendar(reading: Reading) -> str | None:
    """A full date that the system message or the assistant tells with its weekday has that weekday."""
    for message in reading.messages:
        text = message.content or ""
        if message.role in ("system", "assistant") and _YEAR.search(text) and _contradicts_weekday(text):
            return "weekday_of_other_date"
    return None


@lru_cache(maxsize=4096)
def _contradicts_weekday(text: str) -> bool:
    for start, end, (month, day, year) in dated(text):
        near = _WEEKDAY_BEFORE.search(text[max(0, start - _REACH) : start])
        near = near or _WEEKDAY_AFTER.match(text[end : end + _REACH])
        if year is None or near is None:
            continue
        named = _WEEKDAYS.index(near[1].lower()) if near[1] else _WEEKDAYS_ZH.index(near[2].replace("天", "日"))
        try:
            if date(year, month, day).weekday() != named:
                return True
        except ValueError:
            return True
    return False
