"""Cities: which of them one request may name together, and which ones people of a language speak of most."""

import math
import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mimesis import Address, Locale

from data_pipeline.tables import Pair, pairs, read_table

POOLS = ("city", "hub")
"""Pools of cities: all of them, and those with large airports."""
_TOWNS = 0.25
"""Share of cities that the table does not name, where any city will do."""
_AT_HOME = {"en": 0.0, "zh": 0.6}
"""Share of requests that speak of the home region whatever the others do."""
_RENAMED_ZH = {"襄樊", "淮阴", "莱芜", "思茅"}
"""Cities of the library's list that have another name by now."""


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Any]:
    table: Mapping[str, Any] = read_table(Path(__file__).parent / "catalogue" / "places.yaml")
    return table


@lru_cache(maxsize=1)
def _regions() -> Mapping[str, tuple[Pair, ...]]:
    return {region: pairs(text) for region, text in _table()["regions"].items()}


@lru_cache(maxsize=64)
def members(pool: str, region: str = "") -> tuple[Pair, ...]:
    """The cities of `pool`, which is one of `POOLS`; only those of `region` where one is given."""
    found = [pair for key, cities in _regions().items() if region in ("", key) for pair in cities]
    return tuple(pair for pair in found if pool == "city" or pair[0] in _hubs())


@lru_cache(maxsize=1)
def _hubs() -> Mapping[str, tuple[float, float]]:
    """English name → latitude and longitude in degrees."""
    found = (text.rsplit(" ", 2) for text in _table()["hubs"].split("; "))
    return {name: (float(latitude), float(longitude)) for name, latitude, longitude in found}


def draw_spot(rng: random.Random) -> tuple[float, float]:
    """Latitude and longitude in degrees of a place in a large city, four digits after the point (about 10 m)."""
    latitude, longitude = rng.choice(tuple(_hubs().values()))
    return round(latitude + rng.uniform(-0.02, 0.02), 4), round(longitude + rng.uniform(-0.02, 0.02), 4)


def nearest_hub(latitude: float, longitude: float, language: str) -> str:
    """The large city nearest to a place, in degrees; named in `language`."""
    parallel = math.cos(math.radians(latitude))  # a degree of longitude is that much shorter than one of latitude

    def distance(name: str) -> float:
        north, east = _hubs()[name]
        return math.hypot(north - latitude, (east - longitude) * parallel)

    english = min(_hubs(), key=distance)
    return next(pair for pair in members("hub") if pair[0] == english)[language == "zh"]


@lru_cache(maxsize=128)
def _names(pool: str, region: str, language: str) -> tuple[str, ...]:
    return tuple(pair[language == "zh"] for pair in members(pool, region))


@lru_cache(maxsize=2)
def _region_by_city(language: str) -> Mapping[str, str]:
    return {pair[language == "zh"]: region for region, cities in _regions().items() for pair in cities}


@lru_cache(maxsize=2)
def _towns(language: str) -> tuple[str, ...]:
    """Further towns of the home region, none of which is called like a city of the table."""
    generator = Address(Locale.ZH if language == "zh" else Locale.EN, seed=11)
    drawn = {generator.city().strip().removesuffix("市") for _ in range(800)}
    return tuple(sorted(drawn - _RENAMED_ZH - _region_by_city(language).keys()))


def region_of(city: str, language: str) -> str:
    """Where `city`, named in `language`, lies; towns that the table does not name lie in the home region."""
    return _region_by_city(language).get(city) or str(_table()["home"][language])


def draw_cities(
    pool: str, number: int, rng: random.Random, language: str, companions: Sequence[str] = (), at_home: bool = False
) -> list[str]:
    """Up to `number` different cities, at least one, by their names in `language`.

    Args:
        pool: one of `POOLS`.
        number: how many; fewer where the region has no more.
        rng: source of the choice.
        language: of the names.
        companions: cities that go with them, in whose region they lie; none of these is drawn where there are others.
        at_home: without companions, only cities of the home region.
    """
    home = str(_table()["home"][language])
    at_home = at_home or rng.random() < _AT_HOME[language]
    region = region_of(companions[0], language) if companions else home if at_home else ""
    names: Sequence[str] = _names(pool, region, language)
    if companions:
        names = [name for name in names if name not in companions] or names
    found = rng.sample(names, min(number, len(names)))
    if pool == "city" and region in ("", home):
        found = [rng.choice(_towns(language)) if rng.random() < _TOWNS else name for name in found]
    return list(dict.fromkeys(found))
