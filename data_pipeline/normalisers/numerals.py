"""Numbers in digits and words, English and Chinese."""

import re

NUMBER_WORDS = {
    w: i
    for i, w in enumerate(
        [
            "zero",
            "one",
            "two",
            "three",
            "four",
            "five",
            "six",
            "seven",
            "eight",
            "nine",
            "ten",
            "eleven",
            "twelve",
            "thirteen",
            "fourteen",
            "fifteen",
            "sixteen",
            "seventeen",
            "eighteen",
            "nineteen",
        ]
    )
} | {w: 10 * i for i, w in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)}
_DIGITS_ZH = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_SCALES = {"million": 1e6, "billion": 1e9, "thousand": 1e3, "万": 1e4, "亿": 1e8, "千": 1e3, "百": 1e2}
_NUMBER = re.compile(r"(?<![\d.])-?(\d{1,3}(?:,\d{3})+(?!\d)|\d+)(\.\d+)?\s*(million|billion|thousand|万|亿)?", re.I)
_WORD = re.compile(
    r"\b("
    + "|".join(sorted(NUMBER_WORDS, key=len, reverse=True))
    + r")(?:[- ](one|two|three|four|five|six|seven|eight|nine))?\b"
    r"(?:\s+(hundred|thousand|million))?",
    re.I,
)
_ZH = re.compile(r"[零〇一二两三四五六七八九十百千万亿]+")


def numbers(text: str) -> set[float]:
    """Every number said in `text`, in digits or words; a percentage also as its fraction."""
    found: set[float] = set()
    for match in _NUMBER.finditer(text):
        value = float(match[1].replace(",", "") + (match[2] or "")) * _SCALES.get((match[3] or "").lower(), 1)
        found |= {value, -value} if match[0].startswith("-") else {value}
        found.add(round(value / 100, 8))
        if "," in match[1]:
            found |= {float(part) for part in match[1].split(",")}
    for match in _WORD.finditer(text):
        value = float(NUMBER_WORDS[match[1].lower()] + (NUMBER_WORDS[match[2].lower()] if match[2] else 0))
        value *= {"hundred": 100, "thousand": 1000, "million": 1e6}.get((match[3] or "").lower(), 1)
        found |= {value, round(value / 100, 8)}
    for match in _ZH.finditer(text):
        value = float(chinese_number(match[0]))
        found |= {value, round(value / 100, 8)}
    return found


def chinese_number(text: str) -> int:
    """二十三 → 23, 两百零五 → 205, 三万 → 30000."""
    total, section, digit = 0, 0, 0
    for char in text:
        if char in _DIGITS_ZH:
            digit = _DIGITS_ZH[char]
        elif char == "十":
            section, digit = section + (digit or 1) * 10, 0
        elif char in "百千":
            section, digit = section + (digit or 1) * int(_SCALES[char]), 0
        else:
            total, section, digit = (total + section + digit) * int(_SCALES[char]), 0, 0
    return total + section + digit
