"""How one vendor designs its tools: the habits that all tools of a set share."""

import random
from dataclasses import dataclass
from typing import Any

from data_pipeline.transforms.words import half, words


@dataclass(frozen=True, slots=True)
class Style:
    """Naming habits that all tools of one set share."""

    case: str
    """Of tools: snake, camel, pascal, kebab or dotted."""
    chinese: bool
    """Descriptions in Chinese."""
    habits: "Habits | None" = None
    """None: the catalogue's own names and parameters."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What makes an API unlike the catalogue's. Empty texts and False leave a thing as it is."""

    held_out: bool
    """Words of the held-out half."""
    param_case: str
    order: str
    """verb (book_hotel), noun (hotel_book) or nominal (hotel_booking)."""
    vendor: str
    vendor_place: str
    """prefix (acme_book_hotel) or namespace (acme.book_hotel)."""
    suffix: str
    short: bool
    """Abbreviations in names."""
    opaque: bool
    """Some tools have made-up names; only descriptions tell what they are."""
    terse: bool
    """Short descriptions."""
    date: str
    """Layout; "parts" for year, month and day."""
    clock: str
    """Layout; "parts" for hour and minute."""
    moment: str
    """Separator of date and time in one parameter."""
    money: str
    """cents or currency (amount and currency apart)."""
    scaled: bool
    """Smaller units than people say."""
    fraction: bool
    """Fractions for percentages."""
    separator: str
    """Of lists written as one text."""
    flags: tuple[Any, Any] | None
    """(yes, no)."""
    enums: str
    """upper, title, prefixed, numbered or lettered."""
    people: str
    """flat or object: given and family name apart."""
    nest: str
    """options, pairs or all."""
    flat: bool
    """Fields of objects as parameters of their own."""
    inner: bool
    """Other names inside objects."""
    camel_results: bool
    """Results have camelCase keys, too."""
    demand: float
    """Share of optional parameters that become required."""
    relax: float
    """Share of fitting required parameters that get a default."""


def make_style(rng: random.Random, chinese: bool, disguised: bool = False, held_out: bool = False) -> Style:
    """Draw the habits of a tool set.

    Args:
        rng: source of choices.
        chinese: whether descriptions may be Chinese.
        disguised: whether the set departs from the catalogue's own names and parameters.
        held_out: use the held-out half of the words.
    """
    if not disguised:
        case = rng.choices(("snake", "camel", "dotted", "pascal"), (66, 12, 18, 4))[0]
        return Style(case, chinese and rng.random() < 0.25)
    case = rng.choices(("snake", "camel", "dotted", "pascal", "kebab"), (38, 22, 18, 10, 12))[0]
    return Style(case, chinese and rng.random() < 0.35, _habits(rng, case, held_out))


def _habits(rng: random.Random, case: str, held_out: bool) -> Habits:
    def maybe(share: float, table: str) -> Any:
        return rng.choice(list(half(table, held_out))) if rng.random() < share else ""

    follows = {"camel": "camel", "pascal": rng.choice(("camel", "pascal")), "kebab": rng.choice(("kebab", "snake"))}
    flags = maybe(0.25, "flags")
    param_case = follows.get(case, rng.choices(("snake", "camel"), (85, 15))[0])
    return Habits(
        held_out=held_out,
        param_case=param_case,
        order=rng.choices(("verb", "noun", "nominal"), (55, 20, 25))[0],
        vendor=maybe(0.35, "vendors"),
        vendor_place=rng.choice(("prefix", "namespace")),
        suffix=maybe(0.12, "suffixes"),
        short=rng.random() < 0.25,
        opaque=rng.random() < 0.15,
        terse=rng.random() < 0.3,
        date=rng.choice(["parts", *half("dates", held_out)]) if rng.random() < 0.4 else "",
        clock=rng.choice(["parts", *half("clocks", held_out)]) if rng.random() < 0.35 else "",
        moment=maybe(0.25, "moments"),
        money=rng.choices(("", "cents", "currency"), (50, 20, 30))[0],
        scaled=rng.random() < 0.35,
        fraction=rng.random() < 0.3,
        separator=maybe(0.25, "separators"),
        flags=tuple(flags) if flags else None,
        enums=maybe(0.5, "enums"),
        people=rng.choices(("", "flat", "object"), (55, 33, 12))[0],
        nest=rng.choices(("", "options", "pairs", "all"), (40, 28, 17, 15))[0],
        flat=rng.random() < 0.35,
        inner=rng.random() < 0.5,
        camel_results=param_case in ("camel", "pascal") and rng.random() < 0.7,
        demand=rng.choice((0.0, 0.0, 0.3)),
        relax=rng.choice((0.0, 0.5)),
    )


def unit_zh(unit: str) -> str:
    """A unit in Chinese; symbols stay."""
    return str(words()["units"].get(unit, unit))
