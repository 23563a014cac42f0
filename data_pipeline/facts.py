"""What is true of real things and texts that tools are asked about; of anything else the simulators invent."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from data_pipeline.places import members, nearest_hub
from data_pipeline.tables import read_table

_FOLDER = Path(__file__).parent / "catalogue"
_LENGTHS = {"meters": 1.0, "feet": 3.28084, "kilometers": 0.001, "miles": 0.000621371}
"""Unit → how many of it a meter has."""
_OF_ENTITIES = {"drug_dosage": "drug"}
"""Tool → entity whose facts its result tells."""
_OF_SENTENCES = {"translate_text": ("translation", "target_language"), "sentiment": ("score", "score")}
"""Tool → field of its result, and what of a sentence it tells: that, or the parameter that names it."""
_LENGTHS_ZH = {"meters": "米", "feet": "英尺", "kilometers": "公里", "miles": "英里"}


def known(tool_id: str, arguments: Mapping[str, Any], language: str) -> dict[str, Any]:
    """The true result of a look-up or of a tool for texts, in the unit of the catalogue; empty where nothing is known.

    Args:
        tool_id: `lookup_ENTITY_ATTRIBUTE`, or another one.
        arguments: base parameter → value; the entity's parameter is called like the entity.
        language: of text results and of the name.
    """
    if tool_id in _OF_SENTENCES:
        field, asked = _OF_SENTENCES[tool_id]
        found = _sentences(language).get((str(arguments.get("text")), str(arguments.get(asked, asked))))
        return {} if found is None else {field: found}
    if tool_id == "reverse_geocode":
        return _located(arguments["spot"], language)
    if (entity := _OF_ENTITIES.get(tool_id)) is not None:
        return dict(_facts(language).get((entity, str(arguments[entity])), {}))
    if not tool_id.startswith("lookup_"):
        return {}
    entity, _, attribute = tool_id.removeprefix("lookup_").partition("_")
    told = _facts(language).get((entity, str(arguments.get(entity))), {})
    return {attribute: told[attribute]} if attribute in told else {}


def _located(spot: Mapping[str, float], language: str) -> dict[str, Any]:
    """The large city nearest to a place and its country."""
    city = nearest_hub(spot["latitude"], spot["longitude"], language)
    return {"city": city, "country": _facts(language)["city", city]["country"]}


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
def _facts(language: str) -> dict[tuple[str, str], dict[str, Any]]:
    """(entity, name in the language) → attribute → value."""
    table = read_table(_FOLDER / "facts.yaml")
    pools = read_table(_FOLDER / "pools.yaml")
    found = {}
    for entity, things in table.items():
        listed = pools[entity].split("; ") if entity in pools else ()
        names = dict(item.removeprefix("the ").split("|") for item in listed) or dict(members("hub"))
        for thing, values in things.items():
            if thing != "attributes":
                said = [_in_language(value, language) for value in values]
                name = names[thing] if language == "zh" else thing
                found[entity, name] = dict(zip(things["attributes"], said, strict=True))
    return found


def _in_language(value: Any, language: str) -> Any:
    """A number or a name as it is; of "English|Chinese" the one of the language."""
    return value.split("|")[-1 if language == "zh" else 0] if isinstance(value, str) else value


@lru_cache(maxsize=2)
def _sentences(language: str) -> dict[tuple[str, str], Any]:
    """(sentence, "score" or target language), both in the language → value."""
    pools = read_table(_FOLDER / "pools.yaml")
    names = dict(item.split("|") for pool in ("sentence", "language") for item in pools[pool].split("; "))
    said = names if language == "zh" else {}
    table = read_table(_FOLDER / "sentences.yaml")
    return {
        (said.get(text, text), said.get(asked, asked)): value
        for text, known_of in table.items()
        for asked, value in known_of.items()
    }
