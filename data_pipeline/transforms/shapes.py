"""What transforms work on: a tool's parameters, and arguments together with the words behind them, as trees.

A `Shape` maps names to `Field`s, in the order of the schema; a `Field` knows what a description has to say (noun, unit,
layout, meanings) until `to_schema` writes it down. Arguments travel as `Told` leaves in the same tree, so that a value
and its words are moved and rewritten together and can never be mixed up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from data_pipeline.slots import Value


@dataclass(frozen=True, slots=True)
class Field:
    """One parameter, or one field of an object."""

    kind: str
    """Slot type of the base parameter; "group" for an object that only a transform made."""
    noun: str
    noun_zh: str
    names: tuple[str, ...]
    """What it may be called, in snake case; each of them is true."""
    schema: Mapping[str, Any]
    """JSON Schema of the value without description; of an object `fields` says it."""
    required: bool = True
    default: Any = None
    unit: str = ""
    """Of a number: "minutes", "percent"."""
    layout: str = ""
    """Of a date or clock time: "YYYY-MM-DD"."""
    separator: str = ""
    """Of a list written as one string."""
    meanings: Mapping[Any, tuple[str, str]] = field(default_factory=dict)
    """Value of an enum → what it stands for, in English and Chinese; told in the description where not empty."""
    examples: tuple[Any, ...] = ()
    fields: Mapping[str, "Field"] = field(default_factory=dict)
    many: bool = False
    """An array of objects with `fields`."""

    @property
    def json_type(self) -> str:
        """Type of the value in JSON Schema."""
        if self.fields:
            return "array" if self.many else "object"
        return str(self.schema["type"])


Shape = dict[str, Field]


class Told(NamedTuple):
    """A value with the words that carry it."""

    value: Any
    span: Any
    """The words, as `metadata.calls[].spans` has them (contract: data_pipeline/gate_units.py)."""
    words: str


Tree = Any
"""A `Told`, a list of trees, or a dict of trees."""
Form = Mapping[str, Any]


def tell(values: Mapping[str, Value]) -> dict[str, Tree]:
    """Arguments of a base tool with their words."""
    return {key: _tell(value.arg, "", value.leaves, value.text) for key, value in values.items()}


def _tell(argument: Any, path: str, leaves: Mapping[str, Any], text: str) -> Tree:
    if isinstance(argument, dict):
        return {key: _tell(item, f"{path}.{key}" if path else key, leaves, "") for key, item in argument.items()}
    if isinstance(argument, list):
        return [_tell(item, f"{path}.{i}" if path else str(i), leaves, "") for i, item in enumerate(argument)]
    span = leaves.get(path, text)
    return Told(argument, span, text or (span if isinstance(span, str) else str(span.get("text", ""))))


def untold(arguments: Any) -> Tree:
    """A tree of bare values, for arguments whose words are not known."""
    if isinstance(arguments, Mapping):
        return {key: untold(item) for key, item in arguments.items()}
    if isinstance(arguments, list):
        return [untold(item) for item in arguments]
    return Told(arguments, "", "")


def plain(tree: Tree) -> Any:
    """The bare values."""
    if isinstance(tree, Told):
        return tree.value
    if isinstance(tree, dict):
        return {key: item.value if isinstance(item, Told) else plain(item) for key, item in tree.items()}
    return [plain(item) for item in tree]


def leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, Told]]:
    """Every leaf with its dotted path."""
    if isinstance(tree, Told):
        yield path, tree
        return
    for key, item in tree.items() if isinstance(tree, dict) else enumerate(tree):
        below = f"{path}.{key}" if path else str(key)
        if isinstance(item, Told):
            yield below, item  # most are leaves, which need no generator of their own
        else:
            yield from leaves(item, below)


def rewritten(value: Any, of: Sequence[Told], form: Form, words: str | None = None) -> Told:
    """A leaf made from others by `form`, whose span tells how, so that a gate can do it again.

    Where the sole source was already told in this form (`shown` in its span), there is nothing to do again.
    """
    source = of[0].span if len(of) == 1 else None
    if isinstance(source, Mapping) and source.get("shown") == value:
        told = {"text": "", "result": value} if "result" in source else source["text"]
        return Told(value, told, of[0].words)
    span = {"of": [[told.value, told.span] for told in of], "form": dict(form)}
    return Told(value, span, ", ".join(told.words for told in of) if words is None else words)


def in_order(shape: Mapping[str, Field], arguments: dict[str, Tree]) -> dict[str, Tree]:
    """`arguments` in the order of the schema; an open object keeps its own."""
    return {
        key: in_order(item.fields, arguments[key]) if item.fields and not item.many else arguments[key]
        for key, item in shape.items()
        if key in arguments
    }


Describe = Callable[[Field], str]


def to_schema(shape: Mapping[str, Field], describe: Describe, show_default: Callable[[Field], bool]) -> dict[str, Any]:
    """The JSON Schema of an object with these fields.

    Args:
        shape: the fields.
        describe: gives a field's description; empty for none.
        show_default: whether a field's default also stands under the keyword "default".
    """
    properties: dict[str, Any] = {}
    for key, item in shape.items():
        fragment = dict(item.schema)
        if item.fields:
            inner = to_schema(item.fields, describe, show_default)
            fragment = {"type": "array", "items": inner} if item.many else inner
        if text := describe(item):
            fragment["description"] = text
        if item.default is not None and not item.required and show_default(item):
            fragment["default"] = item.default
        properties[key] = fragment
    required = [key for key, item in shape.items() if item.required]
    return {"type": "object", "properties": properties, "required": required}
