"""Tool sets: what a group of neighbouring conversations is offered, under shared habits of naming."""

import json
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any

from data_pipeline.catalogue import NESTED, BaseTool
from data_pipeline.dates import day_line
from data_pipeline.importers.purposes import universal
from data_pipeline.links import draw_finder, draw_linked, links
from data_pipeline.replies import sentence
from data_pipeline.scenarios import Cell
from data_pipeline.surface import Style, ToolInstance, dress, make_style
from fcdist.schema.conversation import Tool

CONFUSABLE: tuple[frozenset[str], ...] = (
    frozenset({"create_event", "schedule_meeting", "set_reminder", "add_task", "add_tasks", "vacuum_schedule"}),
    frozenset({"search_recipes", "get_recipe", "scale_recipe", "get_nutrition", "dish"}),
    frozenset({"mean", "grade_average", "sum_list"}),
    frozenset({"log_workout", "log_exercises"}),
    frozenset({"book_hotel", "search_hotels"}),
    frozenset({"book_flight", "search_flights", "get_flight_status"}),
    frozenset({"track_order", "track_parcel", "cancel_order", "cancel_shipment"}),
    frozenset({"place_order", "order_food", "add_to_cart"}),
    frozenset({"get_lyrics_info", "song"}),
    frozenset({"player_stats", "athlete"}),
    frozenset({"match_result", "team", "league_table"}),
    frozenset({"send_email", "send_message", "make_call"}),
    frozenset({"get_stock_price", "stock"}),
    frozenset({"drug_dosage", "drug"}),
    frozenset({"tip_amount", "split_bill"}),
    frozenset({"bmi", "daily_calories"}),
    frozenset({"search_movies", "movie", "movie_showtimes"}),
    frozenset({"value_range", "std_dev", "variance"}),
    frozenset({"percentage_of", "sales_tax", "apply_coupon", "percent_change"}),
    frozenset({"cancel_booking", "delete_event"}),
    frozenset({"query_table", "table_stats"}),
    frozenset({"get_weather", "get_humidity", "get_air_quality"}),
    frozenset({"mortgage_payment", "compound_interest", "simple_interest"}),
    frozenset({"get_directions", "travel_time", "traffic_info"}),
    frozenset({"search_library", "book", "reserve_book"}),
    frozenset({"estimate_value", "search_homes"}),
    frozenset({"turn_on_device", "dim_lights"}),
    frozenset({"ping_host", "get_metrics"}),
    frozenset({"city", "country"}),
)
"""Groups whose requests a sibling could half serve; they never make a near miss of one another."""


_VERB_WORDS = frozenset(
    re.findall(r"\w+", "get find search fetch look lookup the and for create add book set send check calculate")
)
_KEPT = frozenset(("date", *NESTED))
"""Slot types whose optional parameters stay, because categories are about them."""
_TRIES = 60
_MAX_OWN_LENGTH = 16_000
"""Characters of a user's tools beyond which a set gets no more distractors; about as long as 40 built-in tools."""
_SIZES = (18, 18, 17, 15, 12, 9, 6, 5)
"""Weights of sets with 1 to 8 tools."""


@dataclass(frozen=True)  # no slots: `facts` are kept
class ToolSet:
    """What the conversations of one set share, byte for byte."""

    id: str
    instances: tuple[ToolInstance, ...]
    system: str | None
    today: date | None

    @cached_property
    def tools(self) -> tuple[Tool, ...]:
        """What the model is offered; one object for all conversations."""
        return tuple(instance.tool for instance in self.instances)

    @cached_property
    def by_name(self) -> Mapping[str, ToolInstance]:
        """Public name → instance."""
        return {instance.tool.name: instance for instance in self.instances}

    @cached_property
    def facts(self) -> Mapping[str, Any]:
        """Whose tools these are, for the metadata of its conversations."""
        return {
            "tool_set": self.id,
            "domain": self.instances[0].base.domain,
            "domains": sorted({i.base.domain for i in self.instances}),
            "tools": {i.tool.name: i.base.id for i in self.instances},
            "parameters": {i.tool.name: {public: key for key, public in i.names.items()} for i in self.instances},
        }


def has_kind(tool: BaseTool, kinds: Sequence[str]) -> bool:
    """Whether a parameter of `tool` has one of the slot types."""
    return not tool.kinds.isdisjoint(kinds)


def issues(tool: BaseTool) -> str | None:
    """Kind of identifier the tool's result issues."""
    return next((str(spec).split()[2] for spec in tool.out.values() if str(spec).startswith("id ")), None)


def issued_identifier(tool: BaseTool, result: Mapping[str, Any]) -> Any:
    """The identifier that a result of `tool` gives out."""
    if tool.backing is not None:
        return tool.backing.issued(result)
    return next(str(value) for key, value in result.items() if key.endswith("_id"))


def consumes(tool: BaseTool) -> str | None:
    """Kind of identifier the tool takes."""
    return next((p.spec["kind"] for p in tool.params if p.kind == "ref" and p.required), None)


_NEED_VALUES = {"slot_filling", "parallel", "chain", "follow_up"}
_NEED_CHANGES = {"correction", "recovery"}


def takes_values(tool: BaseTool) -> bool:
    """Whether two calls can differ, and a value can be asked for."""
    return any(param.required and param.kind != "bool" for param in tool.params)


def allows_changes(tool: BaseTool) -> bool:
    """Whether a user may well say one value, and then another one."""
    return any(p.required and p.kind not in ("bool", "ref", "code", *NESTED) for p in tool.params)


def related(a: BaseTool, b: BaseTool) -> bool:
    """Whether a request for one could be served, or half served, by the other."""
    if a.backing is not None or b.backing is not None:
        return overlapping(subject_of(a), subject_of(b))
    if a.id == b.id:
        return True
    groups = _confusable()
    return bool(groups.get(a.group, _NONE) & groups.get(b.group, _NONE))


_NONE: frozenset[int] = frozenset()


@lru_cache(maxsize=1)
def _confusable() -> Mapping[str, frozenset[int]]:
    """Group of tools → numbers of the confusable groups it is in."""
    names = {name for group in CONFUSABLE for name in group}
    return {name: frozenset(i for i, group in enumerate(CONFUSABLE) if name in group) for name in names}


def interchangeable(a: BaseTool, b: BaseTool) -> bool:
    """Whether one request could rightly be served by either, so that they never stand in one set.

    Look-ups of one thing differ in what they tell; a search and a booking differ in what they do.
    """
    if a.backing is not None or b.backing is not None:
        return False
    return a.id != b.id and a.act == b.act and not a.origin == b.origin == "lookup" and related(a, b)


def subject_of(tool: BaseTool) -> frozenset[str]:
    """Content words of a tool."""
    return tool.backing.subject if tool.backing is not None else _content_words((*tool.names, *tool.noun))


@lru_cache(maxsize=4096)
def _content_words(texts: tuple[str, ...]) -> frozenset[str]:
    words = re.findall(r"[a-z]{3,}", " ".join(texts).replace("_", " ").lower())
    return frozenset(word.removesuffix("s") for word in words) - _VERB_WORDS


def overlapping(first: frozenset[str], second: frozenset[str]) -> bool:
    """Whether two subjects share half of the shorter one, or one of them is anything at all."""
    if universal(first) or universal(second):
        return True
    return 2 * len(first & second) >= min(len(first), len(second))


def draw_tool(
    tools: Sequence[BaseTool],
    rng: random.Random,
    fits: Callable[[BaseTool], bool] = lambda _: True,
    among: Sequence[BaseTool] | None = None,
) -> BaseTool | None:
    """A fitting tool; written, formula and look-up tools get fixed shares whatever their numbers.

    Args:
        tools: to choose from.
        rng: source of the choice.
        fits: whether a tool will do.
        among: those of `tools`, in their order, outside which none fits; all of them by default.
    """
    if not tools:
        return None
    own = tools[-1].backing is not None
    kind = "" if own else rng.choices(("written", "formula", "lookup"), (45, 30, 25))[0]
    for _ in range(_TRIES):  # without asking all of a large catalogue first
        tool = rng.choice(tools)
        if (own or tool.origin == kind) and fits(tool):
            return tool
    fitting = [tool for tool in (tools if among is None else among) if fits(tool)]
    chosen = [tool for tool in fitting if not own and tool.origin == kind] or fitting
    return rng.choice(chosen) if chosen else None


@dataclass(frozen=True, slots=True)
class Variety:
    """How far tool sets depart from the catalogue."""

    disguise: float = 0.67
    """Share of sets under names, parameters and formats of a made-up vendor."""
    large: float = 0.08
    """Share of sets with 10 to 40 tools."""
    held_out: bool = False
    """Use the words that training data never uses."""


def build_tool_set(
    set_id: str,
    cells: Sequence[Cell],
    tools: Sequence[BaseTool],
    pools: Mapping[str, Sequence[tuple[str, str]]],
    rng: random.Random,
    variety: Variety = Variety(),
) -> ToolSet:
    """Draw the tools that the categories of `cells` need, distractors, and the system message."""
    categories = {cell.category for cell in cells}
    chosen = _needed(categories, tools, rng)
    size = _large_size(rng) if rng.random() < variety.large else rng.choices(range(1, 9), _SIZES)[0]
    _add_distractors(chosen, tools, size, rng)
    rng.shuffle(chosen)
    chinese = all(cell.language == "zh" for cell in cells)
    instances = _faces(chosen, categories, pools, _styles(size, chinese, variety, rng), rng)
    language = cells[0].language
    today = date(2024, 1, 1) + timedelta(rng.randrange(1100)) if "date" in categories or rng.random() < 0.12 else None
    return ToolSet(set_id, tuple(instances), _system(today, language, rng), today)


def _needed(categories: Collection[str], tools: Sequence[BaseTool], rng: random.Random) -> list[BaseTool]:
    """One tool at least, and those without which a category could not be written."""
    chosen: list[BaseTool] = []

    def add(tool: BaseTool | None) -> None:
        if tool is not None and _joins(tool, chosen):
            chosen.append(tool)

    if "nested" in categories:
        add(draw_tool(tools, rng, lambda t: has_kind(t, NESTED)))
    if "date" in categories and not any(has_kind(t, ("date",)) for t in chosen):
        add(draw_tool(tools, rng, lambda t: has_kind(t, ("date",))))
    if "chain" in categories:
        for tool in draw_linked(tools, rng, draw_tool) or ():
            add(tool)
    if "correction" in categories and rng.random() < 0.5:
        for tool in draw_linked(tools, rng, draw_tool, ("cancel", "update")) or ():
            add(tool)
    if "slot_filling" in categories and rng.random() < 0.15:
        for tool in draw_finder(tools, rng, draw_tool) or ():
            add(tool)
    if "recovery" in categories and rng.random() < 0.65:
        add(draw_tool(tools, rng, lambda t: t.act in ("book", "create", "search", "cancel") and takes_values(t)))
    for needing, serves in ((_NEED_CHANGES, allows_changes), (_NEED_VALUES, takes_values)):
        tries = _TRIES if needing.intersection(categories) else 0
        while tries and not any(map(serves, chosen)):
            add(draw_tool(tools, rng, serves))
            tries -= 1
    if not chosen:
        add(draw_tool(tools, rng, lambda t: any(p.required for p in t.params)))
    return chosen


def _joins(tool: BaseTool, chosen: Sequence[BaseTool]) -> bool:
    """Whether `tool` may stand beside those chosen so far."""
    if tool in chosen or any(interchangeable(tool, other) for other in chosen):
        return False
    face = tool.backing.tool.name if tool.backing is not None else None
    return face is None or all(c.backing is None or c.backing.tool.name != face for c in chosen)


def _large_size(rng: random.Random) -> int:
    """10 to 40, most of them below 20: the prompt grows with every tool."""
    return 10 + int(31 * rng.random() ** 2)


def _add_distractors(chosen: list[BaseTool], tools: Sequence[BaseTool], size: int, rng: random.Random) -> None:
    """Half of them from the domains of the tools that are needed, the others from anywhere."""
    places = _places(tuple(tools))
    near = [tools[place] for place in sorted(chain(*(places[domain] for domain in {t.domain for t in chosen})))]
    for _ in range(40 + 2 * size):
        if len(chosen) >= size or sum(map(_own_length, chosen)) > _MAX_OWN_LENGTH:
            break
        tool = draw_tool(near if rng.random() < 0.5 else tools, rng)
        if tool is not None and _joins(tool, chosen):
            chosen.append(tool)


@lru_cache(maxsize=16)  # the same tools are asked for every set
def _places(tools: tuple[BaseTool, ...]) -> Mapping[str, Sequence[int]]:
    """Domain → where its tools stand."""
    places: dict[str, list[int]] = {}
    for place, tool in enumerate(tools):
        places.setdefault(tool.domain, []).append(place)
    return places


def _own_length(tool: BaseTool) -> int:
    """Characters of a user's tool as it is offered; 0 for others, whose length is known to be moderate."""
    return len(json.dumps(tool.backing.tool.to_wire())) if tool.backing is not None else 0


def _styles(size: int, chinese: bool, variety: Variety, rng: random.Random) -> list[Style]:
    """Habits of the vendors behind a set; many tools have up to three."""
    disguised = rng.random() < variety.disguise
    first = make_style(rng, chinese, disguised, variety.held_out)
    more = rng.randint(0, 2) if size > 8 else 0
    others = [make_style(rng, chinese, disguised, variety.held_out) for _ in range(more)]
    return [first, *(replace(style, chinese=first.chinese) for style in others)]


def _faces(
    chosen: Sequence[BaseTool],
    categories: Collection[str],
    pools: Mapping[str, Sequence[tuple[str, str]]],
    styles: Sequence[Style],
    rng: random.Random,
) -> list[ToolInstance]:
    """One vendor a domain; parameters that another tool's result fills take the value as it is."""
    domains = list(dict.fromkeys(tool.domain for tool in chosen))
    instances: list[ToolInstance] = []
    names: set[str] = set()
    for tool in chosen:
        style = styles[domains.index(tool.domain) % len(styles)]
        keep = [p.key for p in tool.params if p.kind in _KEPT]
        linked = {link.key for other in chosen for link in links(other, tool)} if "chain" in categories else set()
        instances.append(dress(tool, style, rng, pools, names, keep, linked, "nested" in categories))
        names.add(instances[-1].tool.name)
    return instances


def _system(today: date | None, language: str, rng: random.Random) -> str | None:
    persona = sentence(language, "system", rng) if rng.random() < 0.5 else ""
    if today is None:
        return persona or None
    line = sentence(language, "today", rng, d=day_line(today, language, rng))
    return f"{persona}{' ' if persona and language == 'en' else ''}{line}"
