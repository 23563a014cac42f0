"""Tool sets: sizes, who stands beside whom, what is shared, and how many tools nobody has seen before."""

import json
import random
from collections import Counter

import pytest

from data_pipeline.catalogue import Catalogue, load_catalogue
from data_pipeline.decontaminate import tool_signature
from data_pipeline.importers.load import import_catalogue
from data_pipeline.links import links
from data_pipeline.scenarios import CATEGORIES, Cell
from data_pipeline.toolsets import ToolSet, Variety, build_tool_set, has_kind, interchangeable
from data_pipeline.transforms.words import half
from fcdist.schema.checks import check_tools

NUMBER = 250
USUAL = Variety()


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def build(catalogue: Catalogue, number: int, variety: Variety = USUAL) -> ToolSet:
    rng = random.Random(number)
    cells = [Cell(rng.choice(CATEGORIES), rng.choice(("en", "zh"))) for _ in range(3)]
    return build_tool_set(f"set-{number}", cells, catalogue.tools, catalogue.pools, rng, variety)


@pytest.fixture(scope="module")
def sets(catalogue) -> list[ToolSet]:
    return [build(catalogue, number) for number in range(NUMBER)]


def test_a_set_is_the_same_bytes_whenever_it_is_built(catalogue, sets):
    for number in range(0, NUMBER, 10):
        again = build(catalogue, number)
        wire = [json.dumps([i.tool.to_wire() for i in s.instances], ensure_ascii=False) for s in (again, sets[number])]
        assert wire[0] == wire[1] and again.system == sets[number].system


def test_sizes_run_from_one_to_eight_with_a_tail_to_forty(catalogue, sets):
    sizes = Counter(len(s.instances) for s in sets)
    assert set(sizes) <= {*range(1, 9), *range(10, 41)} and all(sizes[size] for size in range(1, 9))
    assert 0.03 * NUMBER < sum(sizes[size] for size in range(10, 41)) < 0.15 * NUMBER
    small = [build(catalogue, number, Variety(large=0.0)) for number in range(40)]
    large = [build(catalogue, number, Variety(large=1.0)) for number in range(40)]
    assert max(len(s.instances) for s in small) <= 8 and min(len(s.instances) for s in large) >= 10
    domains = [len({i.base.domain for i in s.instances}) for s in large]
    assert min(domains) > 1 and sum(domains) > 5 * len(domains)


def test_tools_of_a_set_have_valid_schemas_and_names_of_their_own(sets):
    for tool_set in sets:
        check_tools(i.tool for i in tool_set.instances)
        for instance in tool_set.instances:
            assert instance.tool.description
            assert instance.names.keys() >= {p.key for p in instance.base.params if p.required}


def test_no_two_tools_of_a_set_could_serve_the_same_request(sets):
    for tool_set in sets:
        bases = [i.base for i in tool_set.instances]
        assert len({base.id for base in bases}) == len(bases)
        assert not [(a.id, b.id) for a in bases for b in bases if interchangeable(a, b)]


def test_near_misses_stand_in_one_set(sets):
    several = [s for s in sets if len(s.instances) > 2]
    shared = [s for s in several if len({i.base.domain for i in s.instances}) < len(s.instances)]
    assert len(shared) > len(several) / 2


def test_most_tools_are_unlike_the_catalogue_and_unlike_one_another(sets):
    instances = [i for s in sets for i in s.instances]
    own = [i for i in instances if i.tool.name.lower().replace("_", "") in {n.replace("_", "") for n in i.base.names}]
    assert len(own) < 0.5 * len(instances)
    assert len({tool_signature(i.tool) for i in instances}) > 0.95 * len(instances)


def test_a_quarter_of_the_tools_takes_objects_or_lists(sets):
    tools = [i.tool for s in sets for i in s.instances]
    nested = [
        t for t in tools if any(p.get("type") in ("object", "array") for p in t.parameters["properties"].values())
    ]
    assert 0.18 < len(nested) / len(tools) < 0.34


def test_a_category_finds_what_it_needs(catalogue):
    for number in range(30):
        rng = random.Random(number)
        cells = [Cell("nested", "en"), Cell("date", "en"), Cell("chain", "en")]
        tool_set = build_tool_set("set", cells, catalogue.tools, catalogue.pools, rng)
        assert any(has_kind(i.base, ("date",)) for i in tool_set.instances)
        for instance in tool_set.instances:
            properties = instance.tool.parameters["properties"]
            for param in instance.params:
                if param.kind in ("strs", "object", "objects", "ints", "nums", "people"):
                    public = instance.names[param.key]
                    assert leaf(properties, public)["type"] in ("array", "object")
            for other in tool_set.instances:
                for link in links(other.base, instance.base):
                    assert "." not in instance.names.get(link.key, "")  # an optional one may not be offered


def leaf(properties, path: str):
    head, _, rest = path.partition(".")
    return leaf(properties[head]["properties"], rest) if rest else properties[head]


def test_disguise_can_be_switched_off(catalogue):
    for number in range(60):
        for instance in build(catalogue, number, Variety(disguise=0.0)).instances:
            assert all("." not in path for path in instance.names.values())
            assert instance.restore({}) == {}


def test_held_out_sets_use_words_that_training_never_uses(catalogue):
    def named(held_out: bool) -> str:
        built = [build(catalogue, number, Variety(1.0, 0.3, held_out)) for number in range(80)]
        return " ".join(i.tool.name.lower() for s in built for i in s.instances)

    train, held_out = named(False), named(True)
    for word in half("vendors", True):
        assert word not in train
    for word in half("vendors", False):
        assert word not in held_out


def test_a_user_s_tools_are_never_disguised_and_do_not_crowd_the_prompt(tmp_path):
    declared = [
        {
            "type": "function",
            "function": {
                "name": f"{verb}_{thing}",
                "description": f"{verb.title()} a {thing}. {'Long words. ' * 150}",
                "parameters": {
                    "type": "object",
                    "properties": {"name": {"type": "string", "description": f"Name of the {thing}"}},
                    "required": ["name"],
                },
            },
        }
        for verb in ("book", "find", "cancel")
        for thing in ("canoe", "bicycle", "violin", "fence", "statue")
    ]
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(declared), encoding="utf-8")
    own = import_catalogue((str(path),)).catalogue
    by_name = {tool["function"]["name"]: tool for tool in declared}
    for number in range(10):
        tool_set = build(own, number, Variety(disguise=1.0, large=1.0))
        for instance in tool_set.instances:
            assert instance.tool.to_wire() == by_name[instance.tool.name]
        assert 3 < len(tool_set.instances) < len(declared)
