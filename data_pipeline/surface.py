"""Gives a base tool a public face: names, descriptions and parameters that training has not seen before."""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from data_pipeline.catalogue import BaseTool, Param
from data_pipeline.slots import Value
from data_pipeline.transforms.descriptions import field_describer, tool_description
from data_pipeline.transforms.fields import Pools
from data_pipeline.transforms.habits import Style, make_style
from data_pipeline.transforms.naming import renames_results, result_key, tool_name
from data_pipeline.transforms.plan import plan_face
from data_pipeline.transforms.shapes import Shape, Told, Tree, in_order, leaves, plain, tell, to_schema
from data_pipeline.transforms.structure import Transform
from fcdist.schema.conversation import Tool

__all__ = ["Style", "ToolInstance", "dress", "make_style"]

_BRANCHES = (dict, list)
_SPOKEN = 3
"""Optional parameters of a user's tool that the conversations of one set may fill."""


@dataclass(frozen=True)  # no slots: what all conversations of a set ask of it is kept
class ToolInstance:
    """A base tool under its public face."""

    base: BaseTool
    tool: Tool
    names: Mapping[str, str]
    """Base parameter → where its (first) value stands in the public arguments: a name, or a dotted path."""
    transforms: tuple[Transform, ...] | None = None
    """From base to public arguments; None: `names` are plain names and all there is to do."""
    shape: Shape = field(default_factory=dict)
    """Public parameters, for the order of arguments."""
    changed: Mapping[str, Param] = field(default_factory=dict)
    """Parameters that this face requires, or does not require, other than the base tool."""
    style: Style | None = None
    """Habits behind this face; None: of no vendor."""

    @cached_property
    def params(self) -> tuple[Param, ...]:
        """Base parameters that this face offers."""
        return tuple(self.changed.get(p.key, p) for p in self.base.params if p.key in self.names)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """What a call must have, as dotted paths; of an object around parameters, its fields."""
        return tuple(_required(self.tool.parameters, set(self.names.values())))

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Base parameter → its public name without the objects around it."""
        return {key: path.rpartition(".")[2] for key, path in self.names.items()}

    def public(self, values: Mapping[str, Value]) -> "PublicCall":
        """What a call with `values` looks like."""
        told = tell({key: values[key] for key in self.names if key in values})
        whole = {self.names[key] for key in told if isinstance(values[key].arg, _BRANCHES)}
        if self.transforms is None:
            return PublicCall({self.names[key]: tree for key, tree in told.items()}, whole)
        for transform in self.transforms:
            told = transform.apply(told)
        return PublicCall(in_order(self.shape, told), whole)

    def arguments(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """Public arguments, in the order of the schema."""
        return self.public(values).arguments()

    def spans(self, values: Mapping[str, Value]) -> dict[str, Any]:
        """Path in the public arguments → the words that carry the leaf (contract: data_pipeline/gate_units.py)."""
        return self.public(values).spans()

    def facts(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Public argument, as a dotted path → its value and the user's words, for thoughts."""
        return self.public(values).facts()

    def restore(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of the base tool, keyed by base parameter, from public ones; declared defaults are filled in."""
        restored = dict(arguments)
        if self.transforms is None:
            keys = {public: key for key, public in self.names.items()}
            return {keys[public]: value for public, value in restored.items()}
        for transform in reversed(self.transforms):
            restored = transform.inverse(restored)
        return restored

    def shown(self, key: str) -> str:
        """What a key of the base tool's results is called in public."""
        return result_key(key, self.style) if self.style is not None else key

    def result(self, result: Any) -> Any:
        """A result of the base tool as the public sees it: the same values."""
        if self.style is None or not renames_results(self.style):
            return result
        if isinstance(result, dict):
            return {self.shown(key): self.result(item) for key, item in result.items()}
        return [self.result(item) for item in result] if isinstance(result, list) else result


def _required(schema: Mapping[str, Any], paths: Collection[str], around: str = "") -> list[str]:
    found: list[str] = []
    for name in schema.get("required", ()):
        path = f"{around}{name}"
        if path not in paths and any(inner.startswith(f"{path}.") for inner in paths):
            found += _required(schema["properties"][name], paths, f"{path}.")
        else:
            found.append(path)
    return found


class PublicCall(NamedTuple):
    """Public arguments of one call with the words behind them."""

    told: dict[str, Tree]
    whole: Collection[str]
    """Paths of lists, and of objects of the catalogue: one fact each."""

    def arguments(self) -> dict[str, Any]:
        """The arguments, in the order of the schema."""
        arguments: dict[str, Any] = plain(self.told)
        return arguments

    def spans(self) -> dict[str, Any]:
        """Path of each leaf → the words that carry it."""
        return {path: told.span for path, told in leaves(self.told)}

    def facts(self) -> dict[str, Value]:
        """Path → value and words."""
        out: dict[str, Value] = {}
        self._gather(self.told, "", out)
        return out

    def _gather(self, tree: Tree, path: str, out: dict[str, Value]) -> None:
        if isinstance(tree, Told):
            out[path] = Value(tree.value, tree.words, {"": tree.span})
        elif isinstance(tree, dict) and path not in self.whole:
            for key, item in tree.items():
                self._gather(item, f"{path}.{key}" if path else key, out)
        else:
            out[path] = Value(plain(tree), "", {})


def dress(
    base: BaseTool,
    style: Style,
    rng: random.Random,
    pools: Pools,
    taken: Collection[str] = (),
    keep: Sequence[str] = (),
    linked: Collection[str] = (),
    keep_nested: bool = False,
) -> ToolInstance:
    """A public face for `base`.

    Args:
        base: the tool.
        style: habits of the set.
        rng: source of choices.
        pools: values of text slots, for examples in descriptions.
        taken: names other tools of the set have.
        keep: optional parameters that must stay.
        linked: parameters that take results of other tools as they are.
        keep_nested: lists and objects of the catalogue must stay lists and objects.
    """
    if base.backing is not None:
        return _own_face(base, rng, keep)
    name, opaque = tool_name(base, style, rng, taken)
    params = [p for p in base.params if p.required or p.key in keep or rng.random() < 0.75]
    if rng.random() < 0.3:
        rng.shuffle(params)
        params.sort(key=lambda p: not p.required)
    plan = plan_face(base, params, style, rng, pools, opaque, linked, keep_nested)
    defaults = 0.4 if style.habits is None else 0.6
    parameters = to_schema(plan.shape, field_describer(style, rng), lambda _: rng.random() < defaults)
    tool = Tool(name, tool_description(base, plan.shape, style, rng, opaque), parameters)
    return ToolInstance(base, tool, plan.paths, tuple(plan.transforms), plan.shape, plan.changed, style)


def _own_face(base: BaseTool, rng: random.Random, keep: Sequence[str]) -> ToolInstance:
    """A user's tool as declared; of its optional parameters a few are talked about."""
    assert base.backing is not None
    optional = [p.key for p in base.params if not p.required]
    spoken = set(rng.sample(optional, min(len(optional), _SPOKEN)))
    for kind in dict.fromkeys(p.kind for p in base.params if p.key in keep):
        spoken.add(rng.choice([p.key for p in base.params if p.kind == kind and p.key in keep]))
    names = {p.key: base.backing.names[p.key] for p in base.params if p.required or p.key in spoken}
    return ToolInstance(base, base.backing.tool, names)
