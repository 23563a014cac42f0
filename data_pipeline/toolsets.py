"""Tool sets: what a group of neighbouring conversations is offered, under shared habits of naming."""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from data_pipeline.catalogue import NESTED, BaseTool
from data_pipeline.dates import day_line
from data_pipeline.importers.words import universal
from data_pipeline.replies import sentence
from data_pipeline.scenarios import Cell
from data_pipeline.surface import ToolInstance, dress, make_style

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
_TRIES = 60


@dataclass(frozen=True, slots=True)
class ToolSet:
    """What the conversations of one set share, byte for byte."""

    id: str
    instances: tuple[ToolInstance, ...]
    system: str | None
    today: date | None


def has_kind(tool: BaseTool, kinds: Sequence[str]) -> bool:
    """Whether a parameter of `tool` has one of the slot types."""
    return any(param.kind in kinds for param in tool.params)


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


_NEED_VALUES = {"slot_filling", "multi_turn", "parallel", "follow_up"}


def takes_values(tool: BaseTool) -> bool:
    """Whether two calls can differ, and a value can be asked for."""
    return any(param.required and param.kind != "bool" for param in tool.params)


def related(a: BaseTool, b: BaseTool) -> bool:
    """Whether a request for one could be served, or half served, by the other."""
    if a.backing is not None or b.backing is not None:
        return overlapping(subject_of(a), subject_of(b))
    return a.id == b.id or any(a.group in group and b.group in group for group in CONFUSABLE)


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
    tools: Sequence[BaseTool], rng: random.Random, fits: Callable[[BaseTool], bool] = lambda _: True
) -> BaseTool | None:
    """A fitting tool; written, formula and look-up tools get fixed shares whatever their numbers."""
    if any(tool.backing is not None for tool in tools[-1:]):
        return _draw_own(tools, rng, fits)
    kind = rng.choices(("written", "formula", "lookup"), (45, 30, 25))[0]
    chosen = [t for t in tools if fits(t) and source(t) == kind] or [t for t in tools if fits(t)]
    return rng.choice(chosen) if chosen else None


def _draw_own(tools: Sequence[BaseTool], rng: random.Random, fits: Callable[[BaseTool], bool]) -> BaseTool | None:
    """A fitting tool, without asking all of a large catalogue first."""
    for _ in range(_TRIES):
        if fits(tool := rng.choice(tools)):
            return tool
    chosen = [tool for tool in tools if fits(tool)]
    return rng.choice(chosen) if chosen else None


def source(tool: BaseTool) -> str:
    """How the tool came into the catalogue."""
    if tool.id.startswith("lookup_"):
        return "lookup"
    return (
        "formula"
        if set(tool.out) == {"result"} and tool.act == "compute" and tool.group == tool.id and tool.id != "reverse_text"
        else "written"
    )


def build_tool_set(
    set_id: str,
    cells: Sequence[Cell],
    tools: Sequence[BaseTool],
    pools: Mapping[str, Sequence[tuple[str, str]]],
    rng: random.Random,
) -> ToolSet:
    """Draw the tools that the categories of `cells` need, distractors, and the system message."""
    categories = {cell.category for cell in cells}
    chosen: list[BaseTool] = []

    def add(tool: BaseTool | None) -> None:
        if tool is None or tool in chosen:
            return
        face = tool.backing.tool.name if tool.backing is not None else None
        if face is None or all(c.backing is None or c.backing.tool.name != face for c in chosen):
            chosen.append(tool)

    if "nested" in categories:
        add(draw_tool(tools, rng, lambda t: has_kind(t, NESTED)))
    if "date" in categories and not any(has_kind(t, ("date",)) for t in chosen):
        add(draw_tool(tools, rng, lambda t: has_kind(t, ("date",))))
    issued = {kind for tool in tools if (kind := issues(tool))}
    if "multi_turn" in categories and rng.random() < 0.65:
        add(consumer := draw_tool(tools, rng, lambda t: consumes(t) in issued))
        if consumer is not None:
            add(draw_tool(tools, rng, lambda t: issues(t) == consumes(consumer)))
    if tools[-1].backing is not None and categories & _NEED_VALUES and not any(map(takes_values, chosen)):
        add(draw_tool(tools, rng, takes_values))
    size = rng.choices((1, 2, 3, 4, 5, 6, 7, 8), (28, 22, 17, 13, 8, 5, 4, 3))[0]
    if not chosen:
        add(draw_tool(tools, rng, lambda t: any(p.required for p in t.params)))
    domain = chosen[0].domain
    for _ in range(40):
        if len(chosen) >= size:
            break
        pool = [t for t in tools if t.domain == domain] if rng.random() < 0.5 else tools
        add(draw_tool(pool, rng))
    rng.shuffle(chosen)
    chinese = all(cell.language == "zh" for cell in cells)
    language = cells[0].language
    style = make_style(rng, chinese)
    instances: list[ToolInstance] = []
    for tool in chosen:
        keep = [p.key for p in tool.params if p.kind in ("date", *NESTED)]
        instances.append(dress(tool, style, rng, pools, [i.tool.name for i in instances], keep))
    today = date(2024, 1, 1) + timedelta(rng.randrange(1100)) if "date" in categories or rng.random() < 0.12 else None
    return ToolSet(set_id, tuple(instances), _system(today, language, rng), today)


def _system(today: date | None, language: str, rng: random.Random) -> str | None:
    persona = sentence(language, "system", rng) if rng.random() < 0.5 else ""
    if today is None:
        return persona or None
    line = sentence(language, "today", rng, d=day_line(today, language, rng))
    return f"{persona}{' ' if persona and language == 'en' else ''}{line}"
