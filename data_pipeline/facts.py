"""What is true of real things that look-ups are asked about; of anything else the simulators invent."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_pipeline.tables import read_table

_FOLDER = Path(__file__).parent / "catalogue"
_LENGTHS = {"meters": 1.0, "feet": 3.28084, "kilometers": 0.001, "miles": 0.000621371}


def known(tool_id: str, arguments: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The true result of a look-up, in the unit that was asked for; empty where nothing is known.

    Args:
        tool_id: `lookup_ENTITY_ATTRIBUTE`.
        arguments: base parameter → value; the entity's parameter is called like the entity.
        language: of text results and of the name.
    """
    if not tool_id.startswith("lookup_"):
        return {}
    entity, _, attribute = tool_id.removeprefix("lookup_").partition("_")
    fact = _facts(language).get((entity, str(arguments.get(entity)), attribute))
    if fact is None:
        return {}
    if "unit_len" in arguments:
        fact = round(fact * _LENGTHS[arguments["unit_len"]], 2)
    elif arguments.get("unit_temp") == "fahrenheit":
        fact = round(fact * 1.8 + 32, 1)
    return {attribute: fact}


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
