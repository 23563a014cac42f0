"""Clock times, English and Chinese."""

import re

from data_pipeline.normalisers.numerals import chinese_number


def times(text: str) -> set[str]:
    """Clock times in `text` as HH:MM, 24 hours."""
    found = set()
    for match in re.finditer(r"\b(\d{1,2})(?::(\d{2}))?\s*(am|pm)\b", text, re.I):
        hour = int(match[1]) % 12 + (12 if match[3].lower() == "pm" else 0)
        found.add(f"{hour:02d}:{int(match[2] or 0):02d}")
    found |= {f"{int(m[1]):02d}:{m[2]}" for m in re.finditer(r"(?<!\d)(\d{1,2}):(\d{2})(?!\d)(?!\s*[ap]m)", text, re.I)}
    for match in re.finditer(
        r"(早上|上午|中午|下午|晚上)?(\d{1,2}|[一二两三四五六七八九十]+)点(?:(半)|(\d{1,2})分?)?", text
    ):
        hour = int(match[2]) if match[2].isdigit() else chinese_number(match[2])
        hour += 12 if match[1] in ("下午", "晚上") and hour < 12 else 0
        found.add(f"{hour:02d}:{30 if match[3] else int(match[4] or 0):02d}")
    return found
