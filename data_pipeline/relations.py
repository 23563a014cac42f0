"""Which values go together in one request: the columns of a table, products of one kind, what there is in sizes.

A slot says so by `fits: RELATION` (catalogue/relations.yaml): its members then come from one group, the one that
belongs to the value of the parameter `to`; or without `to` any one, the same for all members of a list. A slot with
`kin: RELATION` takes any value, but whoever changes it, or lists several, stays in its group: no tent for a kettle.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from data_pipeline.slot_types.base import Context, Spec, Value, bare
from data_pipeline.tables import Pair, pairs, read_table


class Param(Protocol):
    """What is asked of a parameter here."""

    @property
    def key(self) -> str:
        """Name in the catalogue."""

    @property
    def spec(self) -> Spec:
        """Slot specification."""


class Group(NamedTuple):
    """Members that go with the same owners."""

    owners: tuple[Pair, ...]
    members: tuple[Pair, ...]
    """Empty where the slot takes any value of its type."""
    words: frozenset[str]
    """The members as arguments, in both languages."""


class Relation(NamedTuple):
    """Groups of values, and which owner's they are."""

    groups: tuple[Group, ...]
    by_owner: Mapping[str, Group]

    def group(self, owner: Any) -> Group | None:
        """What goes with the argument `owner` (a file's by its ending); None where nothing does."""
        return self.by_owner.get(str(owner)) or self.by_owner.get(f".{str(owner).rpartition('.')[2]}")


@lru_cache(maxsize=1)
def relations() -> Mapping[str, Relation]:
    """Read catalogue/relations.yaml."""
    table = read_table(Path(__file__).parent / "catalogue" / "relations.yaml")
    return {name: _relation(groups) for name, groups in table.items()}


def _relation(table: Mapping[str, str | None]) -> Relation:
    groups = tuple(_group(pairs(owners), pairs(members or "")) for owners, members in table.items())
    return Relation(groups, {bare(name): group for group in groups for pair in group.owners for name in pair})


def _group(owners: tuple[Pair, ...], members: tuple[Pair, ...]) -> Group:
    return Group(owners, members, frozenset(bare(word) for pair in members for word in pair))


def pool_of(name: str) -> tuple[Pair, ...]:
    """All members of a relation, each once: the pool of its slots."""
    return tuple(dict.fromkeys(pair for group in relations()[name].groups for pair in group.members))


def applies(spec: Spec, given: Mapping[str, Value]) -> bool:
    """Whether the slot makes sense beside the values `given`: no size of a kettle."""
    return "to" not in spec or spec["to"] not in given or _group_of(spec, given) is not None


def _group_of(spec: Spec, given: Mapping[str, Value]) -> Group | None:
    return relations()[spec["fits"]].group(given[spec["to"]].arg)


def narrowed(spec: Spec, context: Context) -> Context:
    """`context` in which the slot's pool holds one group only."""
    group: Group | None = None
    if "to" not in spec:
        group = context.rng.choice(relations()[spec["fits"]].groups)
    elif spec["to"] in context.given:
        group = _group_of(spec, context.given)
    return context._replace(pools={spec["pool"]: group.members}) if group is not None and group.members else context


def akin(spec: Spec, values: Mapping[str, Value], key: str, context: Context) -> Context:
    """`context` for another value in the place of `values[key]`: where the slot has kinds (`kin`), one of its kind."""
    if "kin" not in spec or key not in values:
        return context
    groups = (group for group in relations()[spec["kin"]].groups if values[key].arg in group.words)
    group = next(groups, None)
    return context if group is None else context._replace(pools={spec["pool"]: group.members})


def suit(params: Iterable[Param], values: Mapping[str, Value]) -> bool:
    """Whether all `values` of one call, by parameter, go together."""
    return all(
        _belongs(spec, word, values)
        for param in params
        if param.key in values
        for spec, word in _words(param.spec, values[param.key].arg)
    )


def _belongs(spec: Spec, word: Any, values: Mapping[str, Value]) -> bool:
    if spec["to"] not in values:
        return True
    group = _group_of(spec, values)
    return group is not None and (not group.members or word in group.words)


def _words(spec: Spec, arg: Any) -> Iterator[tuple[Spec, Any]]:
    """Every word of an argument that depends on another parameter, with its slot."""
    each = arg if isinstance(arg, list) else [arg]
    if "to" in spec:
        yield from ((spec, word) for word in each)
    for key, inner in _fields(spec).items():
        for item in each:
            yield from _words(inner, item[key])


def _fields(spec: Spec) -> Mapping[str, Spec]:
    """Key → slot of an object or of a list of objects; empty for others."""
    fields = spec.get("of")
    return fields if isinstance(fields, Mapping) else {}


def dependent(spec: Spec) -> list[Spec]:
    """The slot and its fields, as far as they depend on another parameter."""
    return [slot for slot in (spec, *_fields(spec).values()) if "to" in slot]


def depends(param: Param, key: str) -> bool:
    """Whether the value of `param` has to go with that of the parameter `key`."""
    return any(slot["to"] == key for slot in dependent(param.spec))
