"""Reads clock times out of English and Chinese. Used by gates; knows nothing of the generator."""

import re

_HOURS_EN = {
    word: number
    for number, word in enumerate(
        ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), 1
    )
}
_HOURS_ZH = {"一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10} | {
    "十一": 11,
    "十二": 12,
}
_TENS_ZH = {"零": 0, "一": 1, "二": 2, "三": 3, "四": 4, "五": 5}
_HOUR = r"(\d{1,2}|" + "|".join(_HOURS_EN) + ")"
_PART = r"(morning|afternoon|evening|night)"
_MERIDIEM = r"(a\.?m\b\.?|p\.?m\b\.?)"
_NAMED = (
    (re.compile(r"(?<!after)\bnoon\b|\bmid-?day\b|正午"), "12:00"),
    (re.compile(r"\bmidnight\b|午夜"), "00:00"),
)
_PAST = re.compile(
    rf"\b(half|(?:a )?quarter|(\d{{1,2}}|five|ten|twenty)(?: minutes?)?) (past|after|to|till) {_HOUR}"
    rf"(?:\s*{_MERIDIEM}|\s*o.?clock)?(?:\s+(?:in|at)\s+(?:the\s+)?{_PART})?"
)
_MINUTES = {"half": 30, "quarter": 15, "a quarter": 15, "five": 5, "ten": 10, "twenty": 20}
_CLOCK = re.compile(
    rf"(?<![\d.:$€£¥])(?:{_PART}\s+(?:at\s+)?)?{_HOUR}(?:[:.](\d{{2}}))?(?![\d:]|\.\d)"
    rf"(?:\s*{_MERIDIEM}|\s*(o.?clock))?(?:\s*(?:in|at)\s+(?:the\s+)?{_PART})?"
)
_AT = re.compile(rf"\b(?:at|around|about|by|from|till|until|after|before)\s+{_HOUR}\b(?![:.]?\d)(?!\s*%)")
_ZH = re.compile(
    r"(凌晨|清晨|早晨|早上|早|上午|中午|下午|傍晚|晚上|晚|夜里|半夜|今晚|明早|明晚)?"
    r"(\d{1,2}|十[一二]?|[一二两三四五六七八九])[点點时]钟?"
    r"(?:(半)|([一三])刻|(\d{1,2})分?|([一二三四五]?十[一二三四五六七八九]?)分?)?"
)
_ZH_CLOCK = re.compile(r"(凌晨|清晨|早晨|早上|上午|中午|下午|傍晚|晚上|今晚|明晚)(\d{1,2}):(\d{2})")
_NIGHT = ("晚上", "晚", "今晚", "明晚")
_AFTERNOON = ("下午", "傍晚", *_NIGHT)


def times(text: str, loose: bool = False) -> set[str]:
    """Clock times in `text` as HH:MM, 24 hours.

    Args:
        text: English or Chinese.
        loose: where the half of the day is left open ("at 5", "7:30", 三点) give both, and take "at 5" for a time.
    """
    text = text.lower()
    found = {clock for pattern, clock in _NAMED if pattern.search(text)}

    def past(match: re.Match[str]) -> str:
        minutes = _MINUTES.get(match[1]) or int(match[2] or 0)
        before = match[3] in ("to", "till")
        hour, minutes = _hour(match[4]) - before, 60 - minutes if before else minutes
        found.update(_both(hour, minutes, _half(match[5], match[6]), loose))
        return " "

    def clock(match: re.Match[str]) -> str:
        before, hour, minutes, meridiem, oclock, after = match.groups()
        if not (minutes or meridiem or oclock or before or after):
            return match[0]
        found.update(_both(_hour(hour), int(minutes or 0), _half(meridiem, before or after), loose))
        return " "

    # What is read is taken out, so that "half past 12 in the afternoon" is not read as noon, too.
    text = _CLOCK.sub(clock, _PAST.sub(past, _chinese(text, found, loose)))
    if loose:
        for match in _AT.finditer(text):
            found |= _both(_hour(match[1]), 0, None, loose)
    return found


def _chinese(text: str, found: set[str], loose: bool) -> str:
    """Add the times said in Chinese to `found`; returns the rest of the text."""

    def spoken(match: re.Match[str]) -> str:
        hour = int(match[2]) if match[2].isdigit() else _HOURS_ZH[match[2]]
        minutes = 30 if match[3] else 15 * _HOURS_ZH[match[4]] if match[4] else int(match[5] or _tens(match[6] or ""))
        found.update(_both(hour, minutes, _half_zh(match[1], hour), loose))
        return " "

    def digits(match: re.Match[str]) -> str:
        found.update(_both(int(match[2]), int(match[3]), _half_zh(match[1], int(match[2])), loose))
        return " "

    return text if text.isascii() else _ZH_CLOCK.sub(digits, _ZH.sub(spoken, text))


def _half_zh(part: str | None, hour: int) -> bool | None:
    """Whether the second half of the day is meant: 中午12点 is noon, 晚上12点 midnight."""
    if not part:
        return None
    if part in ("中午", "上午"):
        return hour == 12 or hour < 3
    return part in _AFTERNOON and not (hour == 12 and part in _NIGHT)


def _tens(text: str) -> int:
    head, ten, tail = text.partition("十")
    return (_TENS_ZH[head] if head else 1) * 10 + (_HOURS_ZH[tail] if tail else 0) if ten else 0


def _hour(text: str) -> int:
    return int(text) if text.isdigit() else _HOURS_EN[text]


def _half(meridiem: str | None, part: str | None) -> bool | None:
    """Whether the second half of the day is meant; None where it is left open."""
    if meridiem:
        return meridiem.startswith("p")
    return None if part is None else part != "morning"


def _both(hour: int, minutes: int, second: bool | None, loose: bool) -> set[str]:
    if hour > 24 or minutes > 59:
        return set()
    hours = {hour % 24}
    if second is not None and hour <= 12:
        hours = {hour % 12 + 12 * second}
    elif second is None and loose and hour <= 12:
        hours = {hour % 12, hour % 12 + 12}
    return {f"{h:02d}:{minutes:02d}" for h in hours}
