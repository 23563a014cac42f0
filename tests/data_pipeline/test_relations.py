"""Values that have to go together: the columns of a table, products of one kind, what there is in sizes."""

import json
import random
from dataclasses import replace

import pytest

from data_pipeline.catalogue import _check, load_catalogue
from data_pipeline.programmatic import ProgrammaticTeacher
from data_pipeline.relations import akin, applies, dependent, depends, relations, suit
from data_pipeline.slots import Context, Value, sample
from fcdist.config.types import GenerateConfig
from fcdist.errors import GenerationError

RELATED = {tool.id: tool for tool in load_catalogue().tools if any(dependent(param.spec) for param in tool.params)}


def value(text: str) -> Value:
    return Value(text, text)


def context(given: dict[str, Value], language: str = "en", seed: int = 1) -> Context:
    return Context(random.Random(seed), language, None, load_catalogue().pools, lambda kind: kind, given)


@pytest.fixture(scope="module")
def calls() -> list[tuple[str, dict[str, Value]]]:
    """Tool and arguments, by parameter of the catalogue, of every call that has related parameters."""
    teacher = ProgrammaticTeacher(GenerateConfig(num_conversations=4000), seed=23)
    found = []
    for conversation in map(teacher.conversation, range(4000)):
        tools = teacher._tool_set(int(conversation.id.rpartition("-")[2]) // teacher._per_set).by_name
        failed = {error["call"] for error in (conversation.metadata or {}).get("errors", ())}
        made = [call for message in conversation.messages for call in message.tool_calls]
        for number, call in enumerate(made):
            instance = tools[call.name]
            if instance.base.id in RELATED and number not in failed:
                arguments = instance.restore(json.loads(call.arguments))
                found.append((instance.base.id, {key: Value(arg, "") for key, arg in arguments.items()}))
    return found


def test_every_call_has_values_that_go_together(calls):
    assert len({tool for tool, _ in calls}) >= 10, "too few tools to prove anything"
    for tool, values in calls:
        assert suit(RELATED[tool].params, values), (tool, values)


def test_values_of_another_table_do_not_suit():
    params = RELATED["query_table"].params
    given = {"table": value("employees"), "columns": Value(["name", "salary"], "")}
    assert suit(params, given)
    assert not suit(params, {**given, "table": value("sensors")})
    conditions = Value([{"column": "temperature", "value": 7}], "")
    assert suit(params, {"table": value("sensors"), "conditions": conditions})
    assert not suit(params, {"table": value("employees"), "conditions": conditions})


@pytest.mark.parametrize("language", ["en", "zh"])
def test_products_that_are_compared_are_of_one_kind(language):
    param = next(tool for tool in load_catalogue().tools if tool.id == "compare_products").params[0]
    kinds = {word: i for i, group in enumerate(relations()["model"].groups) for word in group.words}
    drawn = [sample(param.spec, context({}, language, seed)).arg for seed in range(60)]
    assert all(len({kinds[name] for name in names}) == 1 < len(names) for names in drawn)
    assert len({kinds[names[0]] for names in drawn}) > 5


def test_what_does_not_apply_is_left_out():
    size = RELATED["add_to_cart"].param("size")
    assert applies(size.spec, {"product": value("rain jacket")}) and applies(size.spec, {"product": value("冲锋衣")})
    assert not applies(size.spec, {"product": value("coffee maker")})
    assert applies(size.spec, {}) and depends(size, "product") and not depends(size, "color")


def test_files_go_with_folders_by_their_ending():
    folder = RELATED["move_file"].param("folder")
    drawn = {sample(folder.spec, context({"file": value("photo_2024.png")}, seed=seed)).arg for seed in range(40)}
    assert drawn == {"Pictures", "Downloads"}


def test_members_of_a_relation_stand_in_its_pool_where_it_has_one():
    pools = load_catalogue().pools
    for tool in RELATED.values():
        for slot in (slot for param in tool.params for slot in dependent(param.spec) if param.kind == "pool"):
            members = {pair for group in relations()[slot["fits"]].groups for pair in group.members}
            assert members <= set(pools[slot["pool"]]), (tool.id, slot["fits"])


def test_a_relation_that_cannot_be_kept_is_refused():
    tool, pools = RELATED["create_index"], dict(load_catalogue().pools)
    with pytest.raises(GenerationError, match="no parameter before it"):
        _check(replace(tool, params=tool.params[::-1]), pools)
    with pytest.raises(GenerationError, match="nothing for 'ghosts'"):
        _check(tool, {**pools, "table": (*pools["table"], ("ghosts", "ghosts"))})


@pytest.mark.parametrize("language", ["en", "zh"])
def test_another_value_is_of_the_same_kind_where_there_are_kinds(language):
    param = RELATED["add_to_cart"].param("product")
    kettle = "电热水壶" if language == "zh" else "electric kettle"
    given = {"product": value(kettle)}
    household = next(group.words for group in relations()["product"].groups if kettle in group.words)
    near = [sample(param.spec, akin(param.spec, given, "product", context(given, language, s))).arg for s in range(60)]
    assert set(near) <= household and len(set(near)) > 3
    assert not {sample(param.spec, context({}, language, seed)).arg for seed in range(60)} <= household


def test_every_kind_offers_another_value():
    for tool in load_catalogue().tools:
        for name in {str(param.spec["kin"]) for param in tool.params if "kin" in param.spec}:
            assert all(len(group.members) >= 3 for group in relations()[name].groups), name
