"""Which tool's result feeds which tool's parameter: identifiers, entities of one kind, and numbers of one meaning."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from data_pipeline.catalogue import FOLDER, BaseTool, Param
from data_pipeline.tables import read_table

_LOOSE = ("topic", "address", "word", "title", "task", "subjectline", "condition", "symptom")
"""Pools whose hits are headlines or free text: nobody books or looks up one of them."""
_TRIES = 8


@dataclass(frozen=True, slots=True)
class Link:
    """A value in the producer's result that the consumer takes."""

    kind: str
    """identifier, row (one of several hits), field (one entity) or number."""
    field: str
    """Key in the result; of the list where the value is one of several."""
    column: str
    """Key in a row; empty where the value stands in the result itself."""
    key: str
    """The consumer's parameter."""

    def choices(self, producer: BaseTool, result: Mapping[str, Any]) -> list[Any]:
        """Values of `result` that the consumer could take, in order; empty where it has none (an error)."""
        if "error" in result:
            return []
        if self.kind == "identifier" and producer.backing is not None:
            return [producer.backing.issued(result)]
        found = result.get(self.field)
        if self.column:
            return [row[self.column] for row in found] if isinstance(found, list) else []
        return [] if found is None else [found]


def links(producer: BaseTool, consumer: BaseTool) -> list[Link]:
    """All ways in which a result of `producer` serves `consumer`."""
    given, taken = _ends(producer), _ends(consumer)
    if producer.id == consumer.id or given.things_given.isdisjoint(taken.things_taken):
        return []
    wanted = {thing: key for key, thing in taken.takes}
    found = [Link(kind, field, column, wanted[thing]) for thing, kind, field, column in given.gives if thing in wanted]
    return [link for link in found if _makes_sense(link, producer, consumer)]


def _makes_sense(link: Link, producer: BaseTool, consumer: BaseTool) -> bool:
    """No search for what a search has just found, and no parcel tracking for an order of shares."""
    if link.kind == "row":
        return {producer.act, consumer.act} != {"search"}
    related = consumer.act == "cancel" or producer.domain == consumer.domain
    return link.kind != "identifier" or related


def follows_at_once(link: Link, consumer: BaseTool) -> bool:
    """Whether one request can ask for both: nobody makes a thing and has it cancelled in one breath."""
    return link.kind != "identifier" or consumer.act not in ("cancel", "update")


def draw_linked(
    tools: Sequence[BaseTool],
    rng: random.Random,
    draw: Callable[..., BaseTool | None],
    acts: Sequence[str] = (),
) -> tuple[BaseTool, BaseTool] | None:
    """A producer and a consumer of its result; None where no two of `tools` are linked.

    Args:
        tools: to choose from.
        rng: source of the choice.
        draw: (tools, rng, fits) → a fitting tool.
        acts: if any, the consumer does one of these to what the producer makes.
    """
    offering = tuple(tools)
    consumers = _consumers(offering, tuple(acts), bool(acts) or rng.random() < 0.5)
    for _ in range(_TRIES if consumers else 0):
        consumer = draw(consumers, rng)
        if consumer is None:
            return None
        producers = _producers(offering, consumer)
        if producers and (producer := draw(producers, rng)) is not None:
            return producer, consumer
    return None


@lru_cache(maxsize=16)
def _consumers(tools: tuple[BaseTool, ...], acts: tuple[str, ...], of_identifiers: bool) -> tuple[BaseTool, ...]:
    """Those of `tools` that take what others give and do one of `acts`; `of_identifiers`: where any are given."""
    offered = frozenset[str]().union(*(_ends(tool).things_given for tool in tools))
    if of_identifiers and (identifiers := {thing for thing in offered if thing.startswith("id ")}):
        offered = frozenset(identifiers)
    takers = (tool for tool in tools if not offered.isdisjoint(_ends(tool).things_taken))
    return tuple(tool for tool in takers if not acts or tool.act in acts)


@lru_cache(maxsize=1024)
def _producers(tools: tuple[BaseTool, ...], consumer: BaseTool) -> tuple[BaseTool, ...]:
    """Those of `tools` whose results serve `consumer`."""
    taken = _ends(consumer).things_taken
    return tuple(t for t in tools if not taken.isdisjoint(_ends(t).things_given) and links(t, consumer))


def draw_finder(
    tools: Sequence[BaseTool], rng: random.Random, draw: Callable[..., BaseTool | None]
) -> tuple[BaseTool, BaseTool] | None:
    """A tool that lists identifiers without being told anything, and one that takes such an identifier; or None."""
    finders = _finders(tuple(tools))
    finder = draw(finders, rng) if finders else None
    if finder is None:
        return None
    listed = _ends(finder).things_given
    takers = [t for t in tools if not listed.isdisjoint(_ends(t).things_taken) and t.id != finder.id]
    taker = draw(takers, rng) if takers else None
    return None if taker is None else (finder, taker)


@lru_cache(maxsize=16)  # the same tools are asked for every set
def _finders(tools: tuple[BaseTool, ...]) -> Sequence[BaseTool]:
    return [tool for tool in tools if finds_identifiers(tool)]


def finds_identifiers(tool: BaseTool) -> bool:
    """Whether the tool lists identifiers without being told anything."""
    told = any(param.required for param in tool.params)
    return not told and any(kind == "row" and thing.startswith("id ") for thing, kind, *_ in _ends(tool).gives)


@dataclass(frozen=True, slots=True)
class _Ends:
    """What a tool gives and takes."""

    gives: tuple[tuple[str, str, str, str], ...]
    takes: tuple[tuple[str, str], ...]
    things_given: frozenset[str]
    things_taken: frozenset[str]


@lru_cache(maxsize=4096)
def _ends(tool: BaseTool) -> _Ends:
    gives, takes = tuple(_found_offers(tool)), tuple(_found_needs(tool))
    return _Ends(gives, takes, frozenset(g[0] for g in gives), frozenset(thing for _, thing in takes))


def _found_offers(tool: BaseTool) -> Iterator[tuple[str, str, str, str]]:
    """(thing, kind, field, column) of everything in the tool's result that another tool may take."""
    for field, spec in tool.out.items():
        if isinstance(spec, Mapping):
            for column, inner in spec["of"].items():
                if (thing := _thing(str(inner))) and not thing.endswith(_LOOSE):
                    yield thing, "row", field, column
            continue
        thing = _thing(str(spec))
        if thing and not (thing.endswith(_LOOSE) and not thing.endswith("topic")):
            yield thing, "identifier" if thing.startswith("id ") else "field", field, ""
        elif f"{tool.id}.{field}" in _numbers():
            yield f"number {tool.id}.{field}", "number", field, ""


def _thing(spec: str) -> str:
    words = spec.split()
    if words[0] == "id":
        return f"id {words[2]}"
    return f"pool {words[1]}" if words[0] == "pool" else ""


def _found_needs(tool: BaseTool) -> Iterator[tuple[str, str]]:
    """(parameter, thing) of every required parameter that a result may fill."""
    for param in tool.params:
        if param.required and (thing := _taken(param)):
            yield param.key, thing
        for source in _numbers_into().get(f"{tool.id}.{param.key}", ()):
            yield param.key, f"number {source}"


def _taken(param: Param) -> str:
    if param.kind == "ref":
        return f"id {param.spec['kind']}"
    # A result knows nothing of the region in which the other cities of a journey lie.
    pool = param.spec.get("pool") if param.kind == "pool" and not param.spec.get("near") else None
    return f"pool {pool}" if pool else ""


@lru_cache(maxsize=1)
def _numbers() -> Mapping[str, Sequence[str]]:
    """`tool.field` → `tool.parameter` of numbers with one meaning and unit."""
    table: Mapping[str, Sequence[str]] = read_table(FOLDER / "links.yaml")
    return table


@lru_cache(maxsize=1)
def _numbers_into() -> Mapping[str, Sequence[str]]:
    into: dict[str, list[str]] = {}
    for source, targets in _numbers().items():
        for target in targets:
            into.setdefault(target, []).append(source)
    return into
