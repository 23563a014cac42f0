"""Lengths of time in English and Chinese."""

import re

from data_pipeline.normalisers.numerals import numbers

_EN = {"second": 1, "sec": 1, "minute": 60, "min": 60, "hour": 3_600, "hr": 3_600, "day": 86_400, "night": 86_400}
_EN |= {"week": 604_800, "fortnight": 1_209_600}
_ZH = {"秒": 1, "分": 60, "刻钟": 900, "小时": 3_600, "钟头": 3_600, "天": 86_400, "晚": 86_400}
_ZH |= {"周": 604_800, "星期": 604_800}
_SPOKEN_EN = re.compile(
    r"(\bhalf an?|\ban?|[\w.,-]+(?:\s+(?:hundred|thousand))?(?:\s+and a half)?)[\s-]+"
    rf"({'|'.join(_EN)})s?\b(\s+and a half|\s+and a quarter)?"
)
_GLUED_EN = re.compile(rf"(\d+(?:\.\d+)?)({'|'.join(_EN)}|[hms])s?\b")
_SPOKEN_ZH = re.compile(rf"(\d+(?:\.\d+)?|[零一二两三四五六七八九十百千点]+|半)(个半|个)?({'|'.join(_ZH)})(?:钟?(半))?")
_JOINT = re.compile(r"(?:\s|,|and|又|零|钟)*")


def durations(text: str) -> set[float]:
    """Lengths of time said in `text`, in seconds; several parts in a row ("1 hour 20 minutes") also as their sum."""
    text = text.lower()
    parts = [(m.start(), m.end(), length) for m in _SPOKEN_EN.finditer(text) if (length := _english(m)) is not None]
    parts += [(m.start(), m.end(), float(m[1]) * _size(m[2])) for m in _GLUED_EN.finditer(text)]
    if not text.isascii():
        parts += [(m.start(), m.end(), _chinese(m)) for m in _SPOKEN_ZH.finditer(text)]
    found: set[float] = set()
    total, end = 0.0, -1
    for start, stop, seconds in sorted(parts):
        total = total + seconds if end >= 0 and _JOINT.fullmatch(text[end:start]) else seconds
        end = stop
        found |= {seconds, total}
    return found


def _english(match: re.Match[str]) -> float | None:
    words, unit, tail = match.groups()
    more = 0.5 if tail and "half" in tail else 0.25 if tail else 0.0
    if words.startswith("half"):
        return 0.5 * _EN[unit]
    said = {1.0} if words in ("a", "an") else numbers(words)
    return (max(said) + more) * _EN[unit] if said else None


def _chinese(match: re.Match[str]) -> float:
    words, half, unit, tail = match.groups()
    count = 0.5 if words == "半" else max(numbers(words), default=0)
    return (count + (0.5 if half == "个半" or tail else 0)) * _ZH[unit]


def _size(unit: str) -> int:
    return _EN.get(unit) or {"h": 3_600, "m": 60, "s": 1}[unit]
