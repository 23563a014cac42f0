"""Requests: every given value is said, nothing else is, values survive noise, and both languages vary."""

import random
import re
from collections import Counter
from datetime import date

import pytest

from data_pipeline.catalogue import load_catalogue
from data_pipeline.noise import code_switched, noisy
from data_pipeline.sentences import compiled, plural, requests, with_preposition, written
from data_pipeline.slots import Context, Value, sample
from data_pipeline.surface import ToolInstance
from data_pipeline.wording import Persona, capital, frames, imperative, request
from data_pipeline.world import World
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Tool

TOOLS = load_catalogue().tools
GROUPS = ("lookup", "lookup_text", "lookup_person", "lookup_year", "formula", "formula_list")


def instance(tool):
    return ToolInstance(tool, Tool(tool.id, "", {"type": "object"}), {p.key: p.key for p in tool.params})


def drawn(tool, language, seed, share=0.6):
    rng, pools = random.Random(seed), load_catalogue().pools
    today = date(2025, 3, 4) if seed % 2 else None
    context = Context(rng, language, today, pools, World(seed, pools, language).issue)
    return {p.key: sample(p.spec, context) for p in tool.params if rng.random() < share}


def carriers(values):
    leaves = [leaf for value in values.values() for leaf in value.leaves.values()]
    return [leaf if isinstance(leaf, str) else leaf["text"] for leaf in leaves]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_carrier_is_said_whatever_is_given(language):
    for number, tool in enumerate(TOOLS):
        for seed in range(3):
            values = drawn(tool, language, 10 * number + seed)
            for say in (request, lambda *a: imperative(*a)[0]):
                text = say(instance(tool), values, language, random.Random(seed))
                missing = [words for words in carriers(values) if words.casefold() not in text.casefold()]
                assert not missing, (tool.id, text, missing)
                assert "{" not in text and "\0" not in text


@pytest.mark.parametrize("language", ["en", "zh"])
def test_templates_name_real_parameters_and_can_say_all_of_them(language):
    by_id = {tool.id: tool for tool in TOOLS}
    for key, lines in requests(language).items():
        if key in GROUPS:
            continue
        keys = {param.key for param in by_id[key].params}
        templates = [compiled(line) for line in lines]
        assert all(template.part.known <= keys for template in templates), key
        required = frozenset(param.key for param in by_id[key].params if param.required)
        assert any(template.fits(frozenset(keys)) or template.fits(required) for template in templates), key


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_written_tool_has_sentences(language):
    plain = [t.id for t in TOOLS if not t.id.startswith("lookup_") and t.names[0] != f"calculate_{t.id}"]
    assert [tool_id for tool_id in plain if len(requests(language).get(tool_id, ())) < 2] == []


HANGING = re.compile(
    "^(?:起|个|位|晚(?![饭上点了没])|间|号)|(?:从|在|改到|换到|为|把|给|跟|与|按|以|(?<!不)对|由|离|至|于|第|是|想去)$"
)
"""Chinese words that need the value before or after them, at the edge of a clause."""


def test_no_chinese_word_is_left_hanging_where_a_value_is_not_given():
    for lines in requests("zh").values():
        for line in lines:
            template = compiled(line.replace("NOUN", "面积").replace("{main}", "{x}"))
            needed, known = template.part.needed, template.part.known
            for given in {needed, *(needed | {key} for key in known), *(known - {key} for key in known - needed)}:
                values = {key: Value("甲", "甲", {"": "甲"}) for key in given}
                found = written([template], values, random.Random(0), lambda _: "乙", lambda before, _: before)
                for clause in re.split("[，。？！：；]", found[0] if found else ""):
                    assert HANGING.search(clause) is None, (line, found)


def said(line, **texts):
    values = {key: Value(text, text, {"": text}) for key, text in texts.items()}
    found = written(
        [compiled(line)], values, random.Random(0), lambda key: key, lambda before, left: f"{before} + {left[0]}"
    )
    return found and found[0]


def test_the_template_language():
    line = "book a table[ at {place}][ for {n}| for all of us]"
    assert said(line, place="Roma", n="four") == "book a table at Roma for four"
    assert said(line) == "book a table for all of us"
    assert said(line, wine="red") is None
    assert said("go{...}", x="far") == "go + x"
    assert said("find <{a}|{b}>", b="Oslo") == "find Oslo"
    assert said("{d}{t}", d="2025-03-01", t="15:00") == "2025-03-01 15:00"
    assert said("查[{c}]的天气") == "查天气" and said("查[{c}]的天气", c="北京") == "查北京的天气"
    assert said("<查|查>[{c}]的天气") == "查天气" and said("<查|查>[{c}]的天气", c="北京") == "查北京的天气"
    assert said("a {x} plan", x="easy") == "an easy plan"
    count = written([compiled("for {n#night}")], {"n": Value(1, "one")}, random.Random(0), str, lambda b, left: b)
    assert count == ("for one night", False) and plural("person") == "people"
    for broken, why in (
        ("[ in {city}", "']' is missing"),
        ("{city", "'}' is missing"),
        ("{a b}", "'a b' is not a slot"),
    ):
        with pytest.raises(GenerationError, match=re.escape(why)):
            compiled(broken)


def test_prepositions():
    assert with_preposition("March 3", "on") == "on March 3" and with_preposition("tomorrow", "on") == "tomorrow"
    assert (
        with_preposition("in three days", "for") == "in three days" and with_preposition("Friday", "by") == "by Friday"
    )


def test_noise_never_touches_values():
    text = "Could you please book a table at The Paper Lantern for eleven people, thank you?"
    kept = ["The Paper Lantern", "eleven"]
    seen = {noisy(text, kept, "en", random.Random(seed), share=1.0) for seed in range(200)}
    assert len(seen) > 20 and all(words in variant for variant in seen for words in kept)
    text, kept = "帮我订后天下午3点的位子，2个人，需要靠窗吧。", ["后天", "下午3点", "2"]
    seen = {noisy(text, kept, "zh", random.Random(seed), share=1.0) for seed in range(200)}
    assert len(seen) > 6 and all(words in variant for variant in seen for words in kept)
    assert noisy(text, kept, "zh", random.Random(1), share=0.0) == text


def test_an_english_word_in_chinese_stands_outside_the_values():
    assert code_switched("取消会议“取消会议”", ["取消会议”"], random.Random(0)).endswith("“取消会议”")
    assert re.search("[a-z]", code_switched("帮我取消会议", [], random.Random(0)))
    address = "ann@corp.example"
    assert code_switched(f"跟{address}邮件说一声", [address], random.Random(0)) == f"跟{address}邮件说一声"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_registers_differ_and_vary(language):
    tool = next(tool for tool in TOOLS if tool.id == "reserve_table")
    registers = frames()[language]["registers"]
    texts = {
        name: Counter(
            request(instance(tool), drawn(tool, language, seed), language, random.Random(seed), persona=Persona(name))
            for seed in range(150)
        )
        for name in registers
    }
    thanked = {
        name: sum(n for text, n in t.items() if re.search("thank|please|请(?!客)|谢|麻烦|劳|能不能|方便", text, re.I))
        for name, t in texts.items()
    }
    assert 2 * thanked["polite"] > 3 * thanked["curt"]
    assert all(len(counted) > 130 for counted in texts.values())


def test_capitals_spare_codes_and_hosts():
    assert capital("find it") == "Find it" and capital("db-master is down") == "db-master is down"
    assert capital("https://example.org is slow").startswith("https")
