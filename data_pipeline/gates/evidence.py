"""Whether a value can be read out of words: as they stand, or as a number, a date, a time, a duration.

Two degrees. Of words that a writer declared to carry a value, the value must follow exactly (`follows`). Of everything
that was said before a call the value must be readable somehow (`Evidence`), the way people say things: "NYC", "the
12th", "quarter to 8 in the evening", "50到100元".
"""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from difflib import SequenceMatcher
from functools import cached_property
from types import MappingProxyType
from typing import Any

from data_pipeline.gates.reading import fold
from data_pipeline.normalisers import dates, numbers, times
from data_pipeline.normalisers.aliases import other_names
from data_pipeline.normalisers.durations import durations

_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_ISO_MONTH = re.compile(r"\d{4}-\d{2}")
_CLOCK = re.compile(r"\d{2}:\d{2}")
_MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2})(?::00)?(?:Z|[+-]\d{2}:?\d{2})?")
_TIME_UNITS: dict[str, float] = {
    "second": 1,
    "秒": 1,
    "minute": 60,
    "分钟": 60,
    "hour": 3_600,
    "小时": 3_600,
    "day": 86_400,
    "天": 86_400,
}
_TIME_UNITS |= {"week": 604_800, "周": 604_800, "millisecond": 0.001, "毫秒": 0.001}
_SECONDS_IN = re.compile("|".join(sorted(_TIME_UNITS, key=len, reverse=True)))
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[\u3400-\u9fff]")
_SPLIT = re.compile(r"[\s!?！？,;/|、，；:：()（）&.+\-~\"'“”]+")
_STOP_WORDS = "a an and at by de for from in la le of on or the to with 的 和 与 吧 了 在"
_STOP = frozenset(_STOP_WORDS.split())
_RELATIVE = re.compile(
    r"\b(today|tonight|tomorrow|yesterday|now|weekend|week|month|day after)\b|"
    r"今|明|后天|周末|[上下]个?[周月]|[上下]个?(?:星期|礼拜)|月底|昨|本周|这周|去年"
)
_PEOPLE = {
    1: re.compile(r"\b(?:an?|my|me|single|myself|solo|alone|i)\b|自己|独自|一"),
    2: re.compile(r"\b(?:couple|pair|both|double|twice|and i|and me|and myself|me and|another)\b|我和|俩|双|两"),
}
"""Words that count people or things without a number."""
_YES = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False, "是": True, "否": False}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WEEKDAYS_ZH = "一二三四五六日"
_OPEN_DAY = re.compile(
    rf"{_RELATIVE.pattern}|{'|'.join(_WEEKDAYS)}|\b\d{{1,2}}(?:st|nd|rd|th)\b|\d[号日]|周[一二三四五六日天]"
)
_LAYOUTS = (
    *("%Y%m%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%Y/%m/%d", "%d %b %Y", "%b %d, %Y", "%d-%b-%Y", "%d-%m-%Y"),
    *("%Y年%m月%d日", "%Y年%m月%d号"),
)
_MOMENT_ZH = re.compile(r"(\d{4}年\d{1,2}月\d{1,2}[日号])\s*(\S.*)")
_CLOCK_ZH = re.compile(
    r"(?:凌晨|早上|上午|中午|下午|傍晚|晚上)?(?:\d{1,2}|[一二两三四五六七八九十]{1,2})[点點时]"
    r"(?:[整半]|[一三]刻|(?:\d{1,2}|[一二三四五六七八九十]{1,3})分?)?"
)
_BESIDE_CLOCK = re.compile(r"(?<=\d)t(?=\d\d:)|(?<=\d:\d\d):\d\d\b|(?<!\d):")
"""What keeps a clock time from being read: the T of a moment, seconds, a colon before it."""
_EMAIL = re.compile(r"[^\s<>@,;，；、]+@[^\s<>@,;，；、]+\.[a-z]+")
_KIND_ZH = re.compile(
    r"(?<=..)(?:博物馆|博物院|纪念馆|风景区|景区|公园|大酒店|酒店|宾馆|餐厅|火车站|车站|机场|大学|医院|市|省|县|区)$"
)
"""What a Chinese name may be followed by: 卢浮宫 and 卢浮宫博物馆 are one place."""
_IDEOGRAPHS = re.compile(r"[\u3400-\u9fff]{2}")
_LATIN_WORDS = re.compile(r"[a-z]+[ ,]+[a-z]+")
_SHORT = 3
"""Longest Latin word that must stand by itself: "es" also stands in "très"."""
_UNIT = re.compile(r"\bin [a-z]|unit|单位|\((?:in )?[a-z]{1,3}\)|以.{1,4}为")
_FACTORS = (10, 12, 60, 100, 1_000, 3_600, 10_000, 1_000_000, 0.1, 0.01, 0.001)
"""Between units of one kind: what a number that was said may be multiplied with where the schema names a unit."""
_ABBREVIATED = 0.5
"""Share of a name's words that must be said where it is shortened ("Filippi's" for "Filippi's Pizza Grotto")."""
_ALIKE = 0.8
"""Similarity of two words that differ by a slip of the pen."""


def follows(value: Any, words: str, today: date | None, schema: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """Whether `value` is exactly what `words` mean."""
    if isinstance(value, bool) or value is None or words == str(value):
        return True
    if isinstance(value, int | float):
        return any(abs(value - n) < 1e-6 for n in numbers(words)) or _as_duration(value, words, schema)
    if not isinstance(value, str):
        return False
    if fold(value) == fold(words):
        return True
    computed = recomputed(value, words, today)
    if computed is not None:
        return computed
    return any(sign in value for sign in ".0123456789") and _number(value) in numbers(words)


def recomputed(value: str, words: str, today: date | None) -> bool | None:
    """Whether a date, a time or both is what `words` mean; None where `value` is neither."""
    if _ISO_DATE.fullmatch(value):
        return value in dates(words, today)
    if _CLOCK.fullmatch(value):
        return value in times(words)
    if moment := _MOMENT.fullmatch(value):
        return moment[1] in dates(words, today) and moment[2] in times(words)
    return None


def _iso(text: str) -> str | None:
    """ISO form of a date in another layout (20250131, 31.01.2025, 01/31/2025, 31 jan 2025); None for other texts."""
    for layout in _LAYOUTS:
        try:
            return datetime.strptime(text, layout).date().isoformat()
        except ValueError:
            continue
    return None


def _is_code(part: str) -> bool:
    return part.isascii() and part.isalnum() and not part.isalpha() and (len(part) > 3 or not part.isdigit())


def leaves_day_open(text: str) -> bool:
    """Whether a text names days that only somebody who knows the date can place ("the 5th", "next Friday", 周末)."""
    return _OPEN_DAY.search(text.lower()) is not None


def _is_short(text: str) -> bool:
    return len(text) <= _SHORT and text.isascii() and text.isalpha()


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None


def _as_duration(value: float, words: str, schema: Mapping[str, Any]) -> bool:
    """Whether `words` say `value` in the unit of time that the schema names."""
    said = durations(words)
    if not said:
        return False
    units = {_TIME_UNITS[unit] for unit in _SECONDS_IN.findall(str(schema.get("description", "")).lower())}
    return any(abs(value * unit - seconds) < 1e-6 for unit in units or {60} for seconds in said)


class Evidence:
    """Texts said before a call.

    Args:
        texts: what the user, the system message, results and the assistant said, in any order.
        today: date that the system message tells, if any.
        latest: what the user said last.
    """

    def __init__(self, texts: Sequence[str], today: date | None, latest: str = "") -> None:
        self.text = fold("\n".join(texts))
        self._today = today
        self._latest = fold(latest)

    @cached_property
    def words(self) -> frozenset[str]:
        """Words and ideographs."""
        return frozenset(_WORD.findall(self.text))

    @cached_property
    def numbers(self) -> set[float]:
        """Every number."""
        return numbers(self.text)

    @cached_property
    def _times(self) -> set[str]:
        return times(_BESIDE_CLOCK.sub(" ", self.text), loose=True)

    @cached_property
    def _dates(self) -> set[str]:
        return dates(self.text, self._today)

    @cached_property
    def _durations(self) -> set[float]:
        return durations(self.text)

    @cached_property
    def _spaceless(self) -> str:
        return self.text.replace(" ", "")

    def says(self, text: str) -> bool:
        """Whether folded `text` stands in the texts, beginning where a word or number begins."""
        if text not in self.text:
            return False
        if not text[0].isascii() or not text[0].isalnum():
            return True
        end = r"(?![\d])" if text[-1].isdigit() else r"(?![a-z])" if len(text) < 4 and text[-1].isascii() else ""
        return re.search(rf"(?<![a-z0-9]){re.escape(text)}{end}", self.text) is not None

    def carries(self, value: Any, schema: Mapping[str, Any]) -> bool:
        """Whether `value`, an argument of this schema, can be read out of the texts or is a declared default."""
        if value is None or isinstance(value, bool) or ("default" in schema and value == schema["default"]):
            return True
        if isinstance(value, int | float):
            return self._carries_number(value, schema)
        text = fold(str(value))
        if not text or self.says(text) or text in _YES or self._carries_member(value, schema):
            return True
        if any(self.says(name) for name in other_names(text)) or self._carries_language(text):
            return True
        if addresses := _EMAIL.findall(text):
            return all(address in self.text for address in addresses)
        moment = self._carries_moment(text, schema)
        return self._carries_name(text) if moment is None else moment

    def _carries_number(self, value: float, schema: Mapping[str, Any]) -> bool:
        if any(abs(value - n) < 1e-6 for n in self.numbers) or value in (schema.get("enum") or ()):
            return True
        if value in _PEOPLE and _PEOPLE[int(value)].search(self.text):
            return True
        described = str(schema.get("description", "")).lower()
        units = {_TIME_UNITS[u] for u in _SECONDS_IN.findall(described)} or {60}
        if any(abs(value * unit - seconds) < 1e-6 for unit in units for seconds in self._durations):
            return True
        if _UNIT.search(described) and any(abs(value - n * f) < 1e-6 for n in self.numbers for f in _FACTORS):
            return True
        if value % 10 == 0 and re.search(rf"(?<!\d){int(value) % 100:02d}(?:年代|'?s\b)", self.text):
            return True  # the decade's first year
        return self._carries_part(int(value), described)

    def _carries_language(self, text: str) -> bool:
        """Chinese or English where a text in that language was said: who gives one need not name its language."""
        names = (text, *other_names(text))
        if "中文" in names:
            return _IDEOGRAPHS.search(self.text) is not None
        return "英语" in names and _LATIN_WORDS.search(self.text) is not None

    def _carries_part(self, value: int, described: str) -> bool:
        """The year, month or day of a date, the hour or minute of a time."""
        days, clocks = self._dates | {f"{self._today}"} if self._today else self._dates, self._times
        parts = {"year": (days, 0, 4), "month": (days, 5, 7), "day": (days, 8, 10)}
        parts |= {"hour": (clocks, 0, 2), "minute": (clocks, 3, 5)}
        parts |= {
            "年": parts["year"],
            "月": parts["month"],
            "日": parts["day"],
            "时": parts["hour"],
            "分": parts["minute"],
        }
        return any(
            value == int(said[start:end])
            for name, (texts, start, end) in parts.items()
            if name in described
            for said in texts
        )

    def _carries_member(self, value: Any, schema: Mapping[str, Any]) -> bool:
        """A member of an enum may be said in other words, but not where the user just said another member."""
        members = schema.get("enum")
        if not isinstance(members, list) or value not in members:
            return False
        number = _number(str(value))
        if number is not None and (number in self.numbers or number in _PEOPLE):
            return True
        others = [fold(str(m)) for m in members if m != value]
        return not any(len(m) > 3 and re.search(rf"\b{re.escape(m)}\b", self._latest) for m in others)

    def _carries_moment(self, text: str, schema: Mapping[str, Any]) -> bool | None:
        """Whether a date, a time or both was said; None for other texts."""
        if _ISO_DATE.fullmatch(text):
            return text in self._dates or self._says_day(text)
        if _ISO_MONTH.fullmatch(text):
            return any(day.startswith(text) for day in self._dates) or self._says_day(f"{text}-01")
        if (iso := _iso(text)) is not None:
            return self._carries_moment(iso, schema)
        if re.fullmatch(r"[0-2]\d[0-5]\d", text) and f"{text[:2]}:{text[2:]}" in self._times:
            return True
        if match := re.fullmatch(r"(\d{1,2}:\d{2})(?::00)?(?:\s*[ap]m)?", text):
            return bool(times(text) & self._times) or f"{match[1]:0>5}" in self._times
        if _CLOCK_ZH.fullmatch(text):
            return bool(times(text, loose=True) & self._times)
        if match := _MOMENT_ZH.fullmatch(text):
            return bool(self._carries_moment(match[1], schema) and self._carries_moment(match[2], schema))
        if moment := _MOMENT.fullmatch(text.upper()):
            return bool(self._carries_moment(moment[1], schema)) and moment[2] in self._times
        return None

    def _says_day(self, iso: str) -> bool:
        """A day whose month or year is left open, or that is relative to a date nobody told."""
        try:
            day = datetime.fromisoformat(iso).date()
        except ValueError:
            return False
        if re.search(rf"\b{day.day}(?:st|nd|rd|th)\b|(?<!\d){day.day}[号日]", self.text):
            return True
        if self._today is not None:
            return False
        weekday = day.weekday()
        named = _WEEKDAYS[weekday] in self.text or re.search(f"(?:周|星期|礼拜)[{_WEEKDAYS_ZH[weekday]}]", self.text)
        month_day = re.search(rf"{day:%b}[a-z]*\.? {day.day}\b|\b{day.day} {day:%b}".lower(), self.text)
        return bool(named or month_day or _RELATIVE.search(self.text))

    def _carries_name(self, text: str) -> bool:
        """A name that is shortened, spelled otherwise or put together of several that were said."""
        if _is_short(text):
            return False  # it was looked for by itself
        if text.replace(" ", "") in self._spaceless or (
            len(bare := _KIND_ZH.sub("", text)) < len(text) and bare in self.text
        ):
            return True
        if (number := _number(text.strip("$€£¥元 "))) is not None:
            return number in self.numbers
        parts = [part for part in _SPLIT.split(text) if part and part not in _STOP]
        if not parts or all(self._stands(part) for part in parts):
            return True
        if any(_is_code(part) and part not in self.text for part in parts):
            return False  # of names a word may be left out, of codes no digit
        said = sum(self._says(part) for part in parts)
        if said >= max(1, _ABBREVIATED * len(parts)):
            return True
        if len(parts) > 1 and re.search(rf"\b{''.join(part[0] for part in parts)}\b", self.text):
            return True  # "SD" for "San Diego"
        return self._shares_ideographs(text)

    def _stands(self, part: str) -> bool:
        return self.says(part) if len(part) > 1 and _is_short(part) else part in self.text  # initials are no words

    def _says(self, part: str) -> bool:
        if part in self.words or self._stands(part) or _number(part) in self.numbers:
            return True
        if part.isascii():
            return (
                len(part) > 3
                and part.isalpha()
                and any(
                    part[0] == word[0] and SequenceMatcher(None, part, word).ratio() >= _ALIKE
                    for word in self.words
                    if len(word) > 2 and abs(len(word) - len(part)) < 4
                )
            )
        return self._shares_ideographs(part)

    def _shares_ideographs(self, text: str) -> bool:
        """Whether most neighbouring pairs of ideographs were said, and every number."""
        if text.isascii():
            return False
        if any(n not in self.numbers for n in numbers(re.sub(r"[^\d.]+", " ", text))):
            return False
        ideographs = re.sub(r"[\d\s.\-~,]+|以[上下内]|左右|元|分|小时|天", "", text)
        pairs = [ideographs[i : i + 2] for i in range(len(ideographs) - 1)] or list(ideographs)
        return sum(pair in self.text for pair in pairs) >= _ABBREVIATED * len(pairs)
