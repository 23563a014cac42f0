"""Transforms that move parameters: rename, nest, flatten, and change what is required."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from data_pipeline.transforms.shapes import Field, Shape, Tree


class Transform(Protocol):
    """A change of a tool's parameters, with the arguments carried along.

    Laws: `inverse(apply(arguments)) == arguments`; what fits a shape fits, after `apply`, the shape after it.
    """

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it."""

    def apply(self, arguments: dict[str, Tree]) -> dict[str, Tree]:
        """The arguments after it, with their words."""

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it."""

    def moved(self, name: str) -> str:
        """Where the (first) value of parameter `name` stands afterwards, as a dotted path."""


def _renamed(items: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): item for key, item in items.items()}


@dataclass(frozen=True, slots=True)
class Rename:
    """Other names, all different."""

    names: Mapping[str, str]

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it."""
        return _renamed(shape, self.names)

    def apply(self, arguments: dict[str, Tree]) -> dict[str, Tree]:
        """The arguments after it, with their words."""
        return _renamed(arguments, self.names)

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it."""
        return _renamed(arguments, {new: old for old, new in self.names.items()})

    def moved(self, name: str) -> str:
        """Where the value of `name` stands afterwards."""
        head, dot, rest = name.partition(".")
        return self.names.get(head, head) + dot + rest


@dataclass(frozen=True, slots=True)
class RenameInner:
    """Other names inside the object, or the objects of the array, `name`."""

    name: str
    names: Mapping[str, str]

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it."""
        outer = shape[self.name]
        return {**shape, self.name: replace(outer, fields=_renamed(outer.fields, self.names))}

    def apply(self, arguments: dict[str, Tree]) -> dict[str, Tree]:
        """The arguments after it, with their words."""
        return self._inside(arguments, self.names)

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it."""
        return self._inside(arguments, {new: old for old, new in self.names.items()})

    def _inside(self, arguments: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
        if self.name not in arguments:
            return arguments
        inner = arguments[self.name]
        changed = [_renamed(i, names) for i in inner] if isinstance(inner, list) else _renamed(inner, names)
        return {**arguments, self.name: changed}

    def moved(self, name: str) -> str:
        """Where the value of `name` stands afterwards."""
        head, dot, rest = name.partition(".")
        return f"{head}.{self.names.get(rest, rest)}" if dot and head == self.name else name


@dataclass(frozen=True, slots=True)
class Nest:
    """Some parameters become fields of a new object, which stands where the first of them stood."""

    members: tuple[str, ...]
    into: str
    group: Field
    """The new parameter; its fields and whether it is required follow from the members."""

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it."""
        fields = {key: shape[key] for key in shape if key in self.members}
        required = any(item.required for item in fields.values())
        out: Shape = {}
        for key, item in shape.items():
            if key not in self.members:
                out[key] = item
            elif self.into not in out:
                out[self.into] = replace(self.group, fields=fields, required=required)
        return out

    def apply(self, arguments: dict[str, Tree]) -> dict[str, Tree]:
        """The arguments after it, with their words."""
        inner = {key: item for key, item in arguments.items() if key in self.members}
        outer = {key: item for key, item in arguments.items() if key not in self.members}
        return {**outer, self.into: inner} if inner else outer

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it."""
        outer = {key: item for key, item in arguments.items() if key != self.into}
        return {**outer, **arguments.get(self.into, {})}

    def moved(self, name: str) -> str:
        """Where the value of `name` stands afterwards."""
        return f"{self.into}.{name}" if name.partition(".")[0] in self.members else name


@dataclass(frozen=True, slots=True)
class Flatten:
    """The fields of the object `name` become parameters of their own, called `name/field` until they are renamed."""

    name: str
    fields: Mapping[str, Field]
    """Field → the parameter it becomes."""

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it."""
        out: Shape = {}
        for key, item in shape.items():
            if key != self.name:
                out[key] = item
                continue
            for inner, became in self.fields.items():
                out[f"{key}/{inner}"] = replace(became, required=item.required and item.fields[inner].required)
        return out

    def apply(self, arguments: dict[str, Tree]) -> dict[str, Tree]:
        """The arguments after it, with their words."""
        outer = {key: item for key, item in arguments.items() if key != self.name}
        inner = arguments.get(self.name, {})
        return {**outer, **{f"{self.name}/{key}": item for key, item in inner.items()}}

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it."""
        names = {f"{self.name}/{key}": key for key in self.fields}
        inner = {names[key]: item for key, item in arguments.items() if key in names}
        outer = {key: item for key, item in arguments.items() if key not in names}
        return {**outer, self.name: inner} if inner else outer

    def moved(self, name: str) -> str:
        """Where the value of `name` stands afterwards."""
        head, _, rest = name.partition(".")
        return f"{head}/{rest or next(iter(self.fields))}" if head == self.name else name


class InPlace:
    """What transforms have in common that move nothing and pass arguments on as they are."""

    __slots__ = ()

    def apply(self, arguments: dict[str, Tree]) -> dict[str, Tree]:
        """The arguments after it, with their words."""
        return arguments

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it."""
        return arguments

    def moved(self, name: str) -> str:
        """Where the value of `name` stands afterwards."""
        return name


@dataclass(frozen=True, slots=True)
class Demand(InPlace):
    """An optional parameter becomes required: whoever wants to call has to ask for it."""

    name: str

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it."""
        return {**shape, self.name: replace(shape[self.name], required=True, default=None)}


@dataclass(frozen=True, slots=True)
class Relax(InPlace):
    """A required parameter becomes optional with a default, which the executor gets where nothing is said."""

    name: str
    default: Any

    def shape(self, shape: Shape) -> Shape:
        """The parameters after it."""
        return {**shape, self.name: replace(shape[self.name], required=False, default=self.default)}

    def inverse(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments before it, the default among them."""
        return {self.name: self.default, **arguments}
