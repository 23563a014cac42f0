"""Cities of one request belong together, and what is told of real places and things is true."""

import random
from collections import Counter

import pytest

from data_pipeline.catalogue import load_catalogue
from data_pipeline.facts import known
from data_pipeline.importers.raw import RawTool
from data_pipeline.importers.tools import draft
from data_pipeline.places import draw_cities, draw_spot, members, nearest_hub, region_of
from data_pipeline.programmatic import ProgrammaticTeacher
from data_pipeline.slots import Context, sample
from data_pipeline.world import World
from fcdist.config.types import GenerateConfig

CATALOGUE = load_catalogue()
BY_LAND = {tool.id: tool for tool in CATALOGUE.tools if any(param.spec.get("near") for param in tool.params)}
_INVENTED_TEXT = "movie show artist song museum law case athlete team game stock university car trail"
INVENTED = set(_INVENTED_TEXT.split())
"""Entities whose names are made up, so that a made-up answer teaches nothing false."""
LIVE = {("airport", "delay"), ("drug", "price")}
"""What changes from day to day."""


def cities_of(arguments, tool) -> list[str]:
    near = [arguments[param.key] for param in tool.params if param.spec.get("near") and param.key in arguments]
    return [city for value in near for city in (value if isinstance(value, list) else [value])]


def test_each_city_lies_in_one_region_and_no_region_is_too_small_for_a_journey():
    counted = Counter(pair for pair in members("city"))
    assert set(counted.values()) == {1} and set(members("hub")) < set(counted)
    assert min(Counter(region_of(english, "en") for english, _ in members("city")).values()) >= 3
    assert region_of("Abilene", "en") == "united_states" and region_of("九江", "zh") == "china"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_companions_are_drawn_from_the_same_region_and_not_again(language):
    rng = random.Random(language)
    for _ in range(500):
        (first,) = draw_cities("city", 1, rng, language)
        others = draw_cities("city", 3, rng, language, [first])
        assert {region_of(city, language) for city in others} == {region_of(first, language)} and first not in others


@pytest.mark.parametrize("language", ["en", "zh"])
def test_where_a_tool_names_its_money_the_cities_are_those_of_its_users(language):
    """A parcel within Mexico is not paid in yuan."""
    context = Context(random.Random(4), language, None, CATALOGUE.pools, lambda kind: kind)
    priced = [tool for tool in CATALOGUE.tools if any(str(spec).startswith("unit USD") for spec in tool.out.values())]
    params = [p for tool in priced for p in tool.params if p.spec.get("pool") in ("city", "hub")]
    assert {tool.id for tool in priced} >= {"shipping_cost", "salary_estimate", "estimate_value"} and len(params) > 3
    drawn = {region_of(sample(p.spec, context).arg, language) for p in params for _ in range(50)}
    assert drawn == {"united_states" if language == "en" else "china"}


def test_flights_join_large_airports_anywhere_and_chinese_speaks_mostly_of_china():
    rng = random.Random(5)
    regions = Counter(region_of(draw_cities("hub", 1, rng, "zh")[0], "zh") for _ in range(2000))
    assert 0.6 < regions["china"] / 2000 < 0.8 and len(regions) > 15
    flight = next(tool for tool in CATALOGUE.tools if tool.id == "search_flights")
    assert {flight.param(key).spec["pool"] for key in ("from_city", "to_city")} == {"hub"}


def test_journeys_by_land_stay_within_a_region_whatever_the_user_changes(monkeypatch):
    seen = Counter()
    execute = World.execute

    def watched(world, tool, arguments, names=None):
        cities = cities_of(arguments, tool) if tool.id in BY_LAND else []
        assert len({region_of(city, world._language) for city in cities}) < 2, (tool.id, cities)
        assert len(set(cities)) == len(cities), (tool.id, cities)
        seen[tool.id] += len(cities) > 1
        return execute(world, tool, arguments, names)

    monkeypatch.setattr(World, "execute", watched)
    teacher = ProgrammaticTeacher(GenerateConfig(num_conversations=4000), seed=2)
    for index in range(4000):
        teacher.conversation(index)
    assert min(seen[tool] for tool in BY_LAND) >= 5


def test_imported_tools_join_cities_of_one_region():
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"origin": text, "destination": text}, "required": ["origin"]}
    tool = RawTool("find_bus", "Find a bus", schema, "transit", "bus.json")
    params = draft(tool, CATALOGUE.pools, random.Random(1)).params
    context = Context(random.Random(3), "en", None, CATALOGUE.pools, lambda kind: kind)
    for _ in range(100):
        origin = sample(params[0].spec, context)
        destination = sample(params[1].spec, context._replace(given={"origin": origin}))
        assert region_of(origin.arg, "en") == region_of(destination.arg, "en") and origin.arg != destination.arg


@pytest.mark.parametrize("language", ["en", "zh"])
def test_whatever_is_told_of_a_real_thing_is_known(language):
    """An entity is either made up, or all that does not change from day to day is in the table of facts."""
    real = set()
    for tool in CATALOGUE.tools:
        if tool.origin != "lookup" or tool.group in INVENTED:
            continue
        (attribute,) = (field for field in tool.out if field != "unit")
        if (tool.group, attribute) in LIVE:
            continue
        real.add(tool.group)
        for pair in CATALOGUE.pools[tool.params[0].spec["pool"]]:
            name = pair[language == "zh"].removeprefix("the ")
            assert attribute in known(tool.id, {tool.group: name}, language), (tool.id, name)
    assert {"country", "city", "drug", "disease", "gene"} < real and not real & INVENTED


def test_figures_of_countries_and_cities_are_the_true_ones_in_both_languages():
    assert known("lookup_country_capital", {"country": "Canada"}, "en") == {"capital": "Ottawa"}
    assert known("lookup_country_calling_code", {"country": "中国"}, "zh") == {"calling_code": "+86"}
    assert known("lookup_city_time_zone", {"city": "东京"}, "zh") == {"time_zone": "Asia/Tokyo"}
    assert 60_000_000 < known("lookup_country_population", {"country": "France"}, "en")["population"] < 70_000_000


@pytest.mark.parametrize(("language", "told"), [("en", ("Paris", "France")), ("zh", ("巴黎", "法国"))])
def test_coordinates_lead_back_to_the_city_they_were_drawn_in(language, told):
    tool = next(tool for tool in CATALOGUE.tools if tool.id == "reverse_geocode")
    world = World(1, CATALOGUE.pools, language)
    found = world.execute(tool, {"spot": {"latitude": 48.86, "longitude": 2.34}})
    assert (found["city"], found["country"]) == told
    cities = {nearest_hub(*draw_spot(random.Random(seed)), language) for seed in range(2000)}
    assert len(cities) == len(members("hub"))
