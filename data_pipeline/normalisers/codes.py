"""Languages, countries and currencies by code and by name, in English and Chinese (Unicode CLDR, through babel)."""

from functools import lru_cache

from babel import Locale


def names_of(text: str) -> tuple[str, ...]:
    """Names, in lower case, of what `text` stands for as a code or a name; empty where it is neither.

    No codes: `it` or `in` in a sentence are words.
    """
    return _names().get(text, ()) or _names().get(text.partition("-")[0], ())


@lru_cache(maxsize=1)
def _names() -> dict[str, tuple[str, ...]]:
    english, chinese = Locale("en"), Locale("zh")
    found: dict[str, dict[str, None]] = {}
    for kind in ("languages", "territories", "currencies"):
        tables = getattr(english, kind), getattr(chinese, kind)
        for code in sorted(tables[0].keys() & tables[1].keys()):
            if not code.isalpha():
                continue
            names = [table[code].casefold() for table in tables]
            if kind == "languages" and names[1].endswith("语"):
                names.append(f"{names[1][:-1]}文")
            for key in (code.casefold(), *names):
                found.setdefault(key, {}).update(dict.fromkeys(names))
    return {key: tuple(names) for key, names in found.items()}
