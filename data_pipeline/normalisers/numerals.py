"""Numbers in digits and words, English and Chinese."""

import re
from collections.abc import Iterator

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBER_WORDS = {word: number for number, word in enumerate(_SMALL.split())} | {
    word: 10 * number for number, word in enumerate(_TENS.split(), 2)
}
_SCALE_WORDS = {"hundred": 100, "dozen": 12, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_PARTS = {"half": 0.5, "quarter": 0.25, "couple": 2, "pair": 2}
_DIGITS_ZH = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0, "俩": 2}
_SCALES_ZH = {"十": 10, "百": 100, "千": 1_000, "万": 10_000, "亿": 100_000_000}

_SCALES: dict[str, float] = {"k": 1e3, "m": 1e6, **_SCALE_WORDS, **_SCALES_ZH}

_DIGITS = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+"
_NUMBER = re.compile(
    rf"(?<![\d.])({_DIGITS})(\.\d+)?"
    r"(?:\s*(thousand|million|billion|hundred|dozen|百|千(?![克米瓦卡焦赫帕])|万|亿)|([km])(?![a-z]))?"
    r"(\s*%|\s*per ?cent)?"
)
_MINUS = re.compile(r"(?:-|−|\bminus |\bnegative |零下|负)$")
_WORD = "|".join(sorted((*NUMBER_WORDS, *_SCALE_WORDS, *_PARTS), key=len, reverse=True))
_SPOKEN = re.compile(
    rf"\b(?:{_WORD})s?\b(?:(?:\s+and\s+(?:a\s+)?|\s*-\s*|\s+(?:a\s+)?)(?:{_WORD})\b)*(\s*%|\s+per ?cent)?"
)
_WORDS = re.compile(rf"{_WORD}")
_TOKENS_ZH = re.compile(r"\d+(?:\.\d+)?|\D")
_ZH = re.compile(
    r"(百分之|第)?((?:\d+(?:\.\d+)?)?(?:[零〇一二两俩三四五六七八九十百万亿]|千(?![克米瓦卡焦赫帕]))+"
    r"(?:\d+[千百十万]|\d+(?![\d.]))*(?:点[零〇一二三四五六七八九]+)?)([折成半])?"
)


def numbers(text: str) -> set[float]:
    """Every number said in `text`, in digits or words; a percentage also as its fraction."""
    text = text.lower()
    found: set[float] = set()
    for match in _NUMBER.finditer(text):
        value = float(match[1].replace(",", "") + (match[2] or ""))
        scaled = value * _scale(match[3] or match[4])
        found |= _signed(text, match.start(), scaled) | ({scaled / 100} if match[5] else set())
        if "," in match[1]:  # 1,200 is one number, and 120,250 may be two
            found |= {float(part) for part in match[1].split(",")}
    for match in _SPOKEN.finditer(text):
        for value in _spoken(match[0]):
            found |= _signed(text, match.start(), value) | ({value / 100} if match[1] else set())
    if not text.isascii():
        found |= _chinese(text)
    return {round(value, 8) for value in found}


def chinese_number(text: str) -> int:
    """二十三 → 23, 两百零五 → 205, 一百五 → 150, 三万 → 30000, 二〇二五 → 2025, 1万2千 → 12000."""
    return int(_chinese_value(text))


def _chinese_value(text: str) -> float:
    whole, _, decimals = text.partition("点")
    tail = float("0." + "".join(str(_DIGITS_ZH[c]) for c in decimals)) if decimals else 0.0
    if len(whole) > 1 and all(c in _DIGITS_ZH for c in whole):
        return float("".join(str(_DIGITS_ZH[c]) for c in whole)) + tail
    total = section = digit = 0.0
    before = last_scale = ""
    for token in _TOKENS_ZH.findall(whole):
        if token in _SCALES_ZH and _SCALES_ZH[token] < 10_000:
            section, digit = section + (digit or 1) * _SCALES_ZH[token], 0.0
        elif token == "万":
            total, section, digit = total + (section + digit) * 10_000, 0.0, 0.0
        elif token == "亿":
            total, section, digit = (total + section + digit) * 100_000_000, 0.0, 0.0
        else:
            digit = _DIGITS_ZH[token] if token in _DIGITS_ZH else float(token)
            last_scale = before
        before = token
    # A last digit counts tenths of the scale before it (一百五 is 150) unless 零 stands between (一百零五).
    if digit and _SCALES_ZH.get(last_scale, 0) > 10:
        digit *= _SCALES_ZH[last_scale] / 10
    return total + section + digit + tail


def _scale(word: str | None) -> float:
    return 1 if word is None else _SCALES[word]


def _signed(text: str, start: int, value: float) -> set[float]:
    """A hyphen may be a sign or join two words, so both readings count."""
    return {value, -value} if _MINUS.search(text, max(0, start - 9), start) else {value}


def _spoken(text: str) -> Iterator[float]:
    """Numbers of a run of number words: "two hundred and five", "two and a half", "one two three"."""
    total = section = 0.0
    last = float("inf")
    begun = False
    for word in _WORDS.findall(text):
        if word in _PARTS:
            begun, section = True, section + _PARTS[word]
            last = 0
            continue
        if word in _SCALE_WORDS:
            scale = _SCALE_WORDS[word]
            section = (section or 1) * scale
            total, section, last = (total, section, 100) if scale <= 100 else (total + section, 0.0, scale)
            begun = True
            continue
        value = NUMBER_WORDS[word]
        if begun and (value >= last or last < 20 or (value >= 10 and last < 100)):
            yield total + section
            total = section = 0.0
        section, last, begun = section + value, value or 1, True
    if begun:
        yield total + section


def _chinese(text: str) -> set[float]:
    found: set[float] = set()
    for match in _ZH.finditer(text):
        value = _chinese_value(match[2])
        if match[3] == "半" and match[2][-1] in _SCALES_ZH:
            value += _SCALES_ZH[match[2][-1]] / 2
        found |= {value, -value} if _MINUS.search(text, max(0, match.start() - 2), match.start()) else {value}
        if match[1] == "百分之":
            found.add(value / 100)
        elif match[3] in ("折", "成"):
            found |= {value / 10, value * 10} | ({1 - value / 10, 100 - value * 10} if match[3] == "折" else set())
    if "百分之" in text:
        found |= {float(n) / 100 for n in re.findall(r"百分之\s*(\d+(?:\.\d+)?)", text)}
    found |= {float(n) / 10 for n in re.findall(r"(\d+(?:\.\d+)?)\s*[折成]", text)}
    return found | ({0.5} if "半" in text else set())
