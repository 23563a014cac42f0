"""Slot types: each value fits its schema, its words stand in the text, and the gates' normalisers read them back."""

import random
from datetime import date

import jsonschema_rs
import pytest

from data_pipeline.catalogue import load_catalogue
from data_pipeline.gates.evidence import follows
from data_pipeline.people import email, person
from data_pipeline.slot_types.base import words_en, words_zh
from data_pipeline.slots import SLOT_TYPES, Context, sample, schema, unit
from data_pipeline.world import World

TODAY = date(2025, 3, 4)
NEEDS = {
    "pool": "grocery",
    "kind": "order",
    "vals": ["a|first|甲", "b|second|乙", "c|third|丙"],
    "of": {"name": {"t": "person"}, "email": {"t": "email", "of": "name"}, "count": {"t": "int"}},
    "en": ["{name}, {email}, {count}"],
    "zh": ["{name}，{email}，{count}"],
}
"""What single types need besides their name."""


def context(language: str, seed: int, today: date | None = TODAY) -> Context:
    pools = load_catalogue().pools
    return Context(random.Random(seed), language, today, pools, World(seed, pools, language).issue)


def leaf_of(argument, path):
    for step in path.split(".") if path else ():
        argument = argument[int(step) if isinstance(argument, list) else step]
    return argument


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", sorted(SLOT_TYPES))
def test_values_fit_their_schema_and_are_read_back_from_their_words(kind, language):
    spec = {"t": kind, **NEEDS}
    check = jsonschema_rs.validator_for(schema(spec))
    for seed in range(40):
        value = sample(spec, context(language, seed))
        check.validate(value.arg)
        assert value.leaves
        for path, leaf in value.leaves.items():
            words = leaf if isinstance(leaf, str) else leaf["text"]
            assert words in value.text
            # A declared synonym names the value that it means; anything else must follow from the words alone.
            found = leaf_of(value.arg, path)
            meant = {"true": True}.get(leaf["means"], leaf["means"]) if isinstance(leaf, dict) else None
            assert (str(found) == str(meant)) if isinstance(leaf, dict) else follows(found, leaf, TODAY), value


@pytest.mark.parametrize("kind", sorted(SLOT_TYPES))
def test_a_value_depends_on_the_random_stream_alone(kind):
    spec = {"t": kind, **NEEDS}
    assert sample(spec, context("en", 5)) == sample(spec, context("en", 5))


def test_there_are_sixty_types_and_the_catalogue_uses_nearly_all():
    used = {param.kind for tool in load_catalogue().tools for param in tool.params}
    assert len(SLOT_TYPES) >= 60 and len(used) >= 60


def test_past_dates_lie_before_today_and_others_do_not():
    for seed in range(60):
        for language in ("en", "zh"):
            assert sample({"t": "date", "past": True}, context(language, seed)).arg < TODAY.isoformat()
            assert sample({"t": "date"}, context(language, seed)).arg >= TODAY.isoformat()


def test_units_come_with_the_type_unless_the_slot_names_one():
    assert unit({"t": "duration"}) == "minutes" and unit({"t": "int"}) == ""
    assert unit({"t": "weight", "unitname": "pounds"}) == "pounds"


def test_durations_in_other_units_mean_their_minutes():
    texts = {
        v.text: v.arg
        for seed in range(400)
        if (v := sample({"t": "duration"}, context("zh" if seed % 2 else "en", seed)))
    }
    assert (texts["half an hour"], texts["an hour and a half"], texts["一个半小时"], texts["半小时"]) == (
        30,
        90,
        90,
        30,
    )


def test_small_numbers_in_words():
    assert (words_en(7), words_en(40), words_en(83)) == ("seven", "forty", "eighty-three")
    assert (words_zh(2), words_zh(2, counting=False), words_zh(10), words_zh(25)) == ("两", "二", "十", "二十五")


def test_a_mail_address_belongs_to_the_person_beside_it():
    for language in ("en", "zh"):
        value = sample({"t": "object", **NEEDS}, context(language, 3)).arg
        assert value["email"].partition("@")[2].endswith(("example", "example.com", "example.org", "example.net"))
    assert email(random.Random(1), owner="Ana Silva").startswith(("ana", "silva"))
    rng = random.Random(4)
    assert email(rng, "zh", owner="王小龙").partition("@")[0].replace("_", ".").strip("0123456789") in (
        "xiaolong.wang",
        "wang.xiaolong",
        "xiaolong",
    )
    assert 2 <= len(person(rng, "zh")) <= 3
