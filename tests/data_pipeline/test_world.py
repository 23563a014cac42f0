"""The simulated back end: seeded, stateful, and honest about what it does not know."""

import random
import re

import pytest

from data_pipeline.catalogue import load_catalogue
from data_pipeline.replies import answer
from data_pipeline.slots import Context, sample
from data_pipeline.world import World

CATALOGUE = load_catalogue()
TOOLS = {tool.id: tool for tool in CATALOGUE.tools}
HOTEL = {"city": "Rome", "check_in": "2025-01-01", "nights": 2}
EVENT = {"title": "Dentist", "date": "2025-03-04"}


@pytest.fixture(params=["en", "zh"])
def world(request) -> World:
    return World(5, CATALOGUE.pools, request.param)


def test_the_same_calls_on_the_same_seed_give_the_same_results():
    plans = [("book_hotel", HOTEL), ("get_weather", {"city": "Oslo"}), ("find_restaurants", {"city": "Oslo"})]
    runs = [[w.execute(TOOLS[t], a) for t, a in plans] for w in (World(5, CATALOGUE.pools, "en") for _ in range(2))]
    other = World(6, CATALOGUE.pools, "en")
    assert runs[0] == runs[1] != [other.execute(TOOLS[t], a) for t, a in plans]


def test_what_was_booked_can_be_cancelled_once(world):
    identifier = world.execute(TOOLS["book_hotel"], HOTEL)["booking_id"]
    assert "error" not in world.execute(TOOLS["cancel_booking"], {"booking_id": identifier})
    again = world.execute(TOOLS["cancel_booking"], {"booking_id": identifier}, {"booking_id": "reference"})
    assert again == {"error": "conflict", "reference": identifier, "status": "cancelled"}


def test_an_identifier_exists_only_if_the_world_gave_it_out(world):
    assert world.execute(TOOLS["track_order"], {"order_id": "OR-1"}) == {"error": "not_found", "order_id": "OR-1"}
    issued = world.issue("order")
    assert "error" not in world.execute(TOOLS["track_order"], {"order_id": issued})
    assert world.execute(TOOLS["cancel_booking"], {"booking_id": issued})["error"] == "not_found"


def test_what_is_laid_down_holds_for_that_value_alone_and_changes_nothing_else(world):
    taken = {"error": "sold_out", "check_in": HOTEL["check_in"], "available": ["2025-01-02"]}
    world.plan_outcome(TOOLS["book_hotel"], "check_in", HOTEL["check_in"], taken)
    assert [world.execute(TOOLS["book_hotel"], HOTEL) for _ in range(2)] == [taken, taken]
    other = world.execute(TOOLS["book_hotel"], {**HOTEL, "check_in": "2025-01-02"})
    assert other["status"] in ("confirmed", "已确认") and world.knows("booking", other["booking_id"])


def test_identifiers_after_a_search_do_not_depend_on_its_rows():
    worlds = [World(5, CATALOGUE.pools, "en") for _ in range(8)]
    rows = [world.execute(TOOLS["list_bookings"], {"limit": i})["results"] for i, world in enumerate(worlds)]
    assert all(
        world.knows("booking", row["booking_id"]) for world, shown in zip(worlds, rows, strict=True) for row in shown
    )
    assert rows[0] != rows[1] and len({world.issue("order") for world in worlds}) == 1


def test_a_search_finds_what_was_created_under_the_same_circumstances(world):
    world.execute(TOOLS["create_event"], EVENT)
    rows = world.execute(TOOLS["list_events"], {"date": EVENT["date"]})["results"]
    assert rows[0]["name"] == EVENT["title"]
    elsewhere = world.execute(TOOLS["list_events"], {"date": "2025-03-05"})["results"]
    assert EVENT["title"] not in [row["name"] for row in elsewhere]


@pytest.mark.parametrize("least", [3.4, 4.7, 5])
def test_hits_keep_to_the_rating_that_was_asked_for(world, least):
    for city in ("Rome", "Oslo", "Lima", "Paris", "Cairo"):
        rows = world.execute(TOOLS["find_restaurants"], {"city": city, "min_rating": least})["results"]
        assert rows and all(row["rating"] >= least for row in rows)


def test_hits_differ_from_one_another(world):
    for tool in TOOLS.values():
        if tool.act == "search" and not any(p.required for p in tool.params):
            rows = next((value for value in world.execute(tool, {}).values() if isinstance(value, list)), [])
            names = [next(iter(row.values())) for row in rows]
            assert len(set(names)) == len(names)


def test_points_are_computed_with(world):
    square = [{"x": 1, "y": 1}, {"x": 4, "y": 1}, {"x": 4, "y": 3}, {"x": 1, "y": 3}]
    assert world.execute(TOOLS["polygon_area"], {"points": square}) == {"area": 6}
    line = [{"x": x, "y": 3 * x - 2} for x in (1, 5, 9)]
    assert world.execute(TOOLS["fit_line"], {"points": line}) == {"slope": 3, "intercept": -2}


def test_dice_stay_within_their_sides(world):
    totals = {world.execute(TOOLS["roll_dice"], {"dice": n})["total"] / n for n in range(1, 60)}
    assert min(totals) >= 1 and max(totals) <= 6 and len(totals) > 20


def test_money_changed_there_and_back_is_the_same_money(world):
    to = {"amount_plain": 5000, "currency_from": "EUR", "currency_to": "CHF"}
    there = world.execute(TOOLS["convert_currency"], to)
    back = {"amount_plain": there["converted"], "currency_from": "CHF", "currency_to": "EUR"}
    assert world.execute(TOOLS["convert_currency"], back)["converted"] == pytest.approx(5000, rel=0.02)


@pytest.mark.parametrize("tool", [t for t in CATALOGUE.tools if "unit" in t.out], ids=lambda tool: tool.id)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_measure_is_told_with_the_unit_of_the_result(tool, language):
    world, rng = World(3, CATALOGUE.pools, language), random.Random(0)
    context = Context(rng, language, None, CATALOGUE.pools, world.issue)
    values = {param.key: sample(param.spec, context) for param in tool.params}
    result = world.execute(tool, {key: value.arg for key, value in values.items()})
    told = re.search(
        rf"{re.escape(str(next(iter(result.values()))))} ?(\w[^ .。，]*|[%°]C?F?)",
        answer(tool, values, result, language, rng),
    )
    assert told and str(result["unit"]).startswith(told[1].rstrip("年"))


def test_a_made_up_isbn_leads_to_no_real_book(world):
    real = {pair[world._chinese] for pair in load_catalogue().pools["book"]}
    titles = {world.execute(TOOLS["isbn_lookup"], {"isbn": str(9780000000000 + i)})["title"] for i in range(20)}
    assert len(titles) > 5 and not titles & real
