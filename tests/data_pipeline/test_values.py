"""Dates, numbers and formulas: what is sampled is read back by code that does not know the sampler."""

import random
import re
from datetime import date, timedelta

import pytest

from data_pipeline.catalogue import load_catalogue
from data_pipeline.expressions import evaluate
from data_pipeline.facts import known
from data_pipeline.gates.evidence import follows
from data_pipeline.normalisers import chinese_number, numbers, times
from data_pipeline.slots import Context, sample, schema
from data_pipeline.world import World
from fcdist.errors import GenerationError


def test_numbers_and_times_in_words():
    assert 1200 in numbers("$1,200") and 0.1 in numbers("ten percent") and 25 in numbers("twenty-five people")
    assert 30000 in numbers("3万元") and 2.5e6 in numbers("2.5 million") and 3 in numbers("三个人")
    assert chinese_number("两百零五") == 205 and chinese_number("三万") == 30000 and chinese_number("十二") == 12
    assert times("at 3 pm") == {"15:00"} and times("下午3点半") == {"15:30"} and times("12:15am") == {"00:15"}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_slot_of_every_tool_carries_its_value_in_its_words(language):
    catalogue = load_catalogue()
    rng = random.Random(language)
    world = World(1, catalogue.pools, language)
    for tool in catalogue.tools:
        for param in tool.params:
            today = date(2024, 1, 1) + timedelta(rng.randrange(900)) if rng.random() < 0.5 else None
            value = sample(param.spec, Context(rng, language, today, catalogue.pools, world.issue))
            assert schema(param.spec)["type"]
            for path, leaf in value.leaves.items():
                found = value.arg
                for step in path.split(".") if path else ():
                    found = found[int(step) if step.isdigit() else step]
                words = leaf if isinstance(leaf, str) else leaf["text"]
                assert words in value.text
                assert isinstance(leaf, dict) or follows(found, leaf, today), (tool.id, param.key, value)


def test_a_computed_result_depends_on_every_argument():
    """Only what the result is computed for, a dish or a crop, and what is shown of it stay out of the formula."""
    aside = {("scale_recipe", "dish"), ("fertilizer_need", "crop"), ("query_table", "columns")}
    ignored = set()
    for tool in load_catalogue().tools:
        formulas = " ".join(v for v in (tool.out or {}).values() if isinstance(v, str) and v.startswith("="))
        if formulas:
            ignored |= {(tool.id, p.key) for p in tool.params if not re.search(rf"\b{p.key}\b", formulas)}
    assert ignored == aside


def test_numbers_with_only_blanks_between_them_are_too_few_for_a_card_number():
    context = Context(random.Random(3), "en", None, load_catalogue().pools, lambda kind: kind)
    texts = [sample({"t": "ints", "lo": 1, "hi": 900}, context).text for _ in range(300)]
    bare = [text for text in texts if re.fullmatch(r"[\d ]+", text)]
    assert bare and all(len(text.replace(" ", "")) < 13 for text in bare)


def test_formulas_compute_and_refuse_anything_else():
    person = {"weight_kg": 70, "height_cm": 175, "age": 30, "gender": "male", "activity": "sedentary"}
    assert evaluate("daily_energy(weight_kg, height_cm, age, gender, activity)", person) == 1978
    assert evaluate("0.5 * mass * velocity ** 2", {"mass": 2, "velocity": 3}) == 9
    assert evaluate("median(numbers)", {"numbers": [3, 1, 2]}) == 2
    with pytest.raises(GenerationError, match="__import__"):
        evaluate("__import__('os')", {})


def test_the_world_knows_only_identifiers_it_issued_and_cancels_once():
    catalogue = load_catalogue()
    tools = {tool.id: tool for tool in catalogue.tools}
    world = World(3, catalogue.pools, "en")
    booked = world.execute(tools["book_hotel"], {"city": "Rome", "check_in": "2025-01-01", "nights": 2})
    assert world.execute(tools["cancel_booking"], {"booking_id": "nope"})["error"] == "not_found"
    assert world.execute(tools["cancel_booking"], {"booking_id": booked["booking_id"]}) == {"status": "cancelled"}
    assert world.execute(tools["cancel_booking"], {"booking_id": booked["booking_id"]})["error"] == "conflict"


def test_the_world_answers_equal_calls_equally():
    catalogue = load_catalogue()
    tool = next(tool for tool in catalogue.tools if tool.id == "get_weather")
    first, second = (World(7, catalogue.pools, "zh").execute(tool, {"city": "北京"}) for _ in range(2))
    assert first == second


def test_look_ups_of_real_things_tell_what_is_true_in_the_unit_asked_for():
    catalogue = load_catalogue()
    tools = {tool.id: tool for tool in catalogue.tools}
    height = tools["lookup_mountain_height"]
    assert World(1, catalogue.pools, "en").execute(height, {"mountain": "Mount Everest"}) == {
        "height": 8849,
        "unit": "meters",
    }
    assert World(1, catalogue.pools, "zh").execute(height, {"mountain": "泰山", "unit_len": "feet"}) == {
        "height": 5068.9,
        "unit": "英尺",
    }
    boiling = tools["lookup_element_boiling_point"]
    assert World(1, catalogue.pools, "en").execute(boiling, {"element": "gold", "unit_temp": "fahrenheit"}) == {
        "boiling_point": 5172.8,
        "unit": "°F",
    }
    assert known("lookup_book_author", {"book": "红楼梦"}, "zh") == {"author": "曹雪芹"}
    assert known("lookup_book_author", {"book": "The Pale Valley"}, "en") == known("get_weather", {}, "en") == {}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_fact_belongs_to_a_look_up_and_to_a_member_of_its_pool(language):
    catalogue = load_catalogue()
    tools = {tool.id: tool for tool in catalogue.tools}
    for entity in ("planet", "element", "river", "animal", "book", "dish", "airport"):
        for pair in catalogue.pools[entity]:
            name = pair[language == "zh"].removeprefix("the ")
            told = [a for a in tools if a.startswith(f"lookup_{entity}_") and known(a, {entity: name}, language)]
            assert told, (entity, name)
