"""Tool sets: what a group of neighbouring conversations is offered, under shared habits of naming."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from data_pipeline.catalogue import NESTED, BaseTool
from data_pipeline.dates import day_line
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


def consumes(tool: BaseTool) -> str | None:
    """Kind of identifier the tool takes."""
    return next((p.spec["kind"] for p in tool.params if p.kind == "ref" and p.required), None)


def related(a: BaseTool, b: BaseTool) -> bool:
    """Whether a request for one could be served, or half served, by the other."""
    return a.id == b.id or any(a.group in group and b.group in group for group in CONFUSABLE)


def draw_tool(
    tools: Sequence[BaseTool], rng: random.Random, fits: Callable[[BaseTool], bool] = lambda _: True
) -> BaseTool | None:
    """A fitting tool; written, formula and look-up tools get fixed shares whatever their numbers."""
    kind = rng.choices(("written", "formula", "lookup"), (45, 30, 25))[0]
    chosen = [t for t in tools if fits(t) and source(t) == kind] or [t for t in tools if fits(t)]
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
        if tool is not None and tool not in chosen:
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
