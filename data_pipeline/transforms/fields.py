"""From a base parameter to the field that transforms start from."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from data_pipeline.catalogue import Param
from data_pipeline.slots import bare, enum_values, schema, unit
from data_pipeline.transforms.shapes import Field
from data_pipeline.transforms.words import words

Pools = Mapping[str, Sequence[tuple[str, str]]]
_LAYOUTS = {"date": "YYYY-MM-DD", "time": "HH:MM"}
_EXAMPLES: Mapping[str, tuple[Any, ...]] = {
    "email": ("user@example.com",),
    "year": (1999, 2015),
    "person": ("Jane Doe",),
    "date": ("2024-05-31", "2023-11-02"),
    "time": ("09:30", "18:00"),
}
_MAX_EXAMPLES = 12


_known: dict[tuple[int, bool], tuple[Param, Field]] = {}
"""Fields made before; parameters are told apart by identity, because their slots are no hashable values."""


def base_field(param: Param, pools: Pools, chinese: bool) -> Field:
    """What the catalogue knows of a parameter."""
    known = _known.get((id(param), chinese))
    if known is None or known[0] is not param:
        known = _known[id(param), chinese] = param, _field(param, pools, chinese)
    return known[1]


def _field(param: Param, pools: Pools, chinese: bool) -> Field:
    fragment = schema(param.spec)
    many = fragment["type"] == "array" and fragment["items"].get("type") == "object"
    shown = fragment["items"] if many else fragment
    fields = {key: inner_field(key, item) for key, item in shown.get("properties", {}).items()}
    return Field(
        kind=param.kind,
        noun=param.noun,
        noun_zh=param.noun_zh,
        names=param.names,
        schema={} if fields else _listed(fragment),
        required=param.required,
        default=param.default,
        unit=_unit(param),
        layout=_LAYOUTS.get(param.kind, ""),
        examples=_examples(param, pools, chinese),
        fields=fields,
        many=many,
    )


def inner_field(key: str, fragment: Mapping[str, Any]) -> Field:
    """A field of an object, whose noun comes from a table; one that is not there is called by its name."""
    known = words()["inner"].get(key, {"names": [key], "noun": "", "zh": ""})
    layout = str(fragment.get("description", "")).partition(",")[0]
    return Field(
        kind="inner",
        noun=known["noun"],
        noun_zh=known["zh"],
        names=tuple(known["names"]),
        schema=_listed({name: value for name, value in fragment.items() if name != "description"}),
        layout=layout,
    )


def meanings(param: Param) -> dict[Any, tuple[str, str]]:
    """Value of an enum parameter → what a description in English or Chinese says it is."""
    return {value: (value, f"{chinese[0]}({value})") for value, _, chinese in enum_values(param.spec)}


def _listed(fragment: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in fragment.items()}


def _unit(param: Param) -> str:
    if param.kind == "pct":
        return "" if param.spec.get("frac") else "percent"
    return unit(param.spec)


def _examples(param: Param, pools: Pools, chinese: bool) -> tuple[Any, ...]:
    if param.kind == "pool":
        return _members(param.spec["pool"], tuple(pools[param.spec["pool"]][:_MAX_EXAMPLES]), chinese)
    return ("张伟",) if chinese and param.kind == "person" else _EXAMPLES.get(param.kind, ())


@lru_cache(maxsize=1024)
def _members(pool: str, pairs: tuple[tuple[str, str], ...], chinese: bool) -> tuple[str, ...]:
    return tuple(bare(pair[chinese]) for pair in pairs)
