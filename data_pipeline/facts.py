"""What is true of real things that look-ups are asked about; of anything else the simulators invent."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_pipeline.tables import read_table

_FOLDER = Path(__file__).parent / "catalogue"
_LENGTHS = {"meters": 1.0, "feet": 3.28084, "kilometers": 0.001, "miles": 0.000621371}
"""Unit → how many of it a meter has."""
_LENGTHS_ZH = {"meters": "米", "feet": "英尺", "kilometers": "公里", "miles": "英里"}


def known(tool_id: str, arguments: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The true result of a look-up, in the unit of the catalogue; empty where nothing is known.

    Args:
        tool_id: `lookup_ENTITY_ATTRIBUTE`.
        arguments: base parameter → value; the entity's parameter is called like the entity.
        language: of text results and of the name.
    """
    if not tool_id.startswith("lookup_"):
        return {}
    entity, _, attribute = tool_id.removeprefix("lookup_").partition("_")
    fact = _facts(language).get((entity, str(arguments.get(entity)), attribute))
    return {} if fact is None else {attribute: fact}


def in_asked_unit(result: Mapping[str, Any], arguments: Mapping[str, Any], language: str) -> dict[str, Any]:
    """`result` in the unit that the arguments ask for: its first field is the measure, `unit` its unit."""
    if "unit" not in result:
        return dict(result)
    field, value = next(iter(result.items()))
    if (length := arguments.get("unit_len")) is not None:
        names = _LENGTHS_ZH if language == "zh" else {unit: unit for unit in _LENGTHS}
        given = next(unit for unit, name in names.items() if name == result["unit"])
        if given != length:
            converted = round(value / _LENGTHS[given] * _LENGTHS[length], 2)
            return {**result, field: converted, "unit": names[length]}
    if arguments.get("unit_temp") == "fahrenheit":
        return {**result, field: round(value * 1.8 + 32, 1), "unit": "°F"}
    return dict(result)


@lru_cache(maxsize=2)
def _facts(language: str) -> dict[tuple[str, str, str], Any]:
    """(entity, name in the language, attribute) → value."""
    table = read_table(_FOLDER / "facts.yaml")
    pools = read_table(_FOLDER / "pools.yaml")
    found = {}
    for entity, things in table.items():
        names = dict(item.removeprefix("the ").split("|") for item in pools[entity].split("; "))
        for thing, values in things.items():
            if thing == "attributes":
                continue
            name = names[thing] if language == "zh" else thing
            for attribute, value in zip(things["attributes"], values, strict=True):
                said = value.split("|")[language == "zh"] if isinstance(value, str) else value
                found[entity, name, attribute] = said
    return found
