"""Typed values: each slot type samples a value, says how a user writes it, and gives its JSON-Schema fragment.

The types by family: numeric, temporal, identifiers and texts in `slot_types`, objects here. What a type renders is read
back by `normalisers.py`, which shares no code with this.
"""

from collections.abc import Mapping
from typing import Any

from data_pipeline.relations import narrowed
from data_pipeline.slot_types import identifiers, numeric, temporal, texts
from data_pipeline.slot_types.base import (
    Context,
    Draw,
    Leaf,
    SlotType,
    Spec,
    Value,
    bare,
    join_words,
    number_text,
    plain,
)
from data_pipeline.slot_types.numeric import with_unit
from data_pipeline.slot_types.texts import enum_values

__all__ = [
    "SLOT_TYPES",
    "Context",
    "Leaf",
    "Spec",
    "Value",
    "bare",
    "enum_values",
    "join_words",
    "number_text",
    "sample",
    "schema",
    "unit",
    "with_unit",
]


def sample(spec: Spec, context: Context) -> Value:
    """Draw a value of the slot `spec`: by its own `draw`, or by its type "t"."""
    if "fits" in spec:
        context = narrowed(spec, context)
    draw: Draw = spec.get("draw") or SLOT_TYPES[spec["t"]].draw
    return draw(spec, context)


def schema(spec: Spec) -> dict[str, Any]:
    """JSON-Schema fragment of the slot, without description."""
    kind = SLOT_TYPES.get(spec["t"])
    return kind.fragment(spec) if kind is not None else {"type": "string"}


def unit(spec: Spec) -> str:
    """Unit or format of the argument, for descriptions; empty where there is none."""
    kind = SLOT_TYPES.get(spec["t"])
    return str(spec.get("unitname") or (kind.unit if kind is not None else ""))


def _object(spec: Spec, context: Context, layout: str = "") -> Value:
    values: dict[str, Value] = {}
    for key, item in spec["of"].items():
        owned = item["t"] == "email" and "of" in item  # the address of the person of another field
        values[key] = sample({**item, "owner": values[item["of"]].arg} if owned else item, context)
    layout = layout or context.rng.choice(spec["zh" if context.chinese else "en"])
    text = layout.format(**{key: value.text for key, value in values.items()})
    leaves = {f"{key}.{path}".rstrip("."): leaf for key, value in values.items() for path, leaf in value.leaves.items()}
    return Value({key: value.arg for key, value in values.items()}, text, leaves)


def _objects(spec: Spec, context: Context) -> Value:
    count = context.rng.randint(spec.get("min", 1), spec.get("max", 3))
    items: dict[str, Value] = {}
    layout = context.rng.choice(spec["zh" if context.chinese else "en"])
    for _ in range(count * 3):
        value = _object(spec, context, layout)
        # Items differ in what they are, not only in how many: no two lines of push-ups.
        named = [arg for arg in value.arg.values() if isinstance(arg, str)]
        told = value.arg[spec["distinct"]] if "distinct" in spec else named[0] if named else value.arg
        if len(items) < count:
            items.setdefault(str(told), value)
    return _listed(list(items.values()), context)


def _listed(items: list[Value], context: Context) -> Value:
    leaves = {f"{i}.{path}": leaf for i, item in enumerate(items) for path, leaf in item.leaves.items()}
    return Value([i.arg for i in items], join_words([i.text for i in items], context.language, context.rng), leaves)


def _map(spec: Spec, context: Context) -> Value:
    """An open object from members of a pool to numbers: {"apples": 3}."""
    drawn = context.rng.sample(context.pools[spec["pool"]], context.rng.randint(spec.get("min", 2), spec.get("max", 3)))
    found = {pair[context.chinese]: context.rng.randint(spec.get("lo", 2), spec.get("hi", 90)) for pair in drawn}
    texts = [f"{key}{n}" if context.chinese else f"{key}: {n}" for key, n in found.items()]
    return Value(found, ("、" if context.chinese else ", ").join(texts), {key: str(n) for key, n in found.items()})


def _fields(spec: Spec) -> dict[str, Any]:
    fields = spec["of"]
    return {
        "type": "object",
        "properties": {key: schema(item) for key, item in fields.items()},
        "required": list(fields),
    }


SLOT_TYPES: Mapping[str, SlotType] = {
    **numeric.TYPES,
    **temporal.TYPES,
    **identifiers.TYPES,
    **texts.TYPES,
    "object": SlotType(_object, _fields),
    "objects": SlotType(_objects, lambda spec: {"type": "array", "items": _fields(spec)}),
    "map": SlotType(_map, plain("object", additionalProperties={"type": "integer"})),
}
