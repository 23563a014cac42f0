"""Transforms: laws of every single one, and of the whole way from a base tool to its public face and back."""

import json
import random
import re
from datetime import date

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.catalogue import BaseTool, Catalogue, load_catalogue
from data_pipeline.gate_units import carried, unannounced
from data_pipeline.slots import Context, Value, sample
from data_pipeline.surface import ToolInstance, dress, make_style
from data_pipeline.transforms.descriptions import field_describer
from data_pipeline.transforms.forms import FACTORS, ClockLayout, Coded, DateLayout, Flag, Listed, Rewrite, Scaled
from data_pipeline.transforms.naming import cased
from data_pipeline.transforms.parts import ClockParts, DateParts, Moment, MoneyAmount, PersonName, Split
from data_pipeline.transforms.shapes import Field, Shape, leaves, plain, tell, to_schema, untold
from data_pipeline.transforms.structure import Demand, Flatten, Nest, Relax, Rename, RenameInner, Transform
from data_pipeline.transforms.words import half, words
from data_pipeline.world import World


def text(**more) -> Field:
    return Field("pool", "thing", "东西", ("thing",), {"type": "string"}, **more)


def number(**more) -> Field:
    return Field("int", "count", "数量", ("count",), {"type": "integer"}, **more)


PARTS = {part: number() for part in ("year", "month", "day", "hour", "minute")}
DATES = st.dates(date(1990, 1, 1), date(2040, 12, 31)).map(date.isoformat)
CLOCKS = st.times().map(lambda t: f"{t:%H:%M}")
WORDS = st.text("abcdefgh", min_size=1, max_size=6)
LATIN = st.sampled_from(["Jane Doe", "Omar García", "Ana de la Cruz", "Ólafur Þór"])
CHINESE = st.sampled_from(["王伟", "欧阳雪梅", "李思远"])
SHAPE: Shape = {
    "day": Field("date", "day", "日期", ("day",), {"type": "string"}),
    "clock": Field("time", "time", "时间", ("time",), {"type": "string"}, required=False),
    "who": Field("person", "guest", "客人", ("guest",), {"type": "string"}),
    "cost": Field("money", "budget", "预算", ("budget",), {"type": "number"}, required=False),
    "minutes": number(unit="minutes"),
    "share": Field("pct", "discount", "折扣", ("discount",), {"type": "number"}, required=False, unit="percent"),
    "mode": Field(
        "enum", "mode", "方式", ("mode",), {"type": "string", "enum": ["slow", "fast"]},
        meanings={"slow": ("slow", "慢"), "fast": ("fast", "快")},
    ),
    "open": Field("bool", "whether it is open", "是否营业", ("open",), {"type": "boolean"}, required=False),
    "stops": Field("strs", "stops", "途经", ("stops",), {"type": "array", "items": {"type": "string"}}, required=False),
    "values": Field("nums", "values", "数据", ("values",), {"type": "array", "items": {"type": "number"}}),
    "box": Field("object", "box", "箱子", ("box",), {}, required=False, fields={"w": number(), "h": number()}),
    "rows": Field("objects", "rows", "行", ("rows",), {}, fields={"w": number(), "h": text()}, many=True),
}  # fmt: skip
ARGUMENTS = st.fixed_dictionaries(
    {
        "day": DATES,
        "who": LATIN | CHINESE,
        "minutes": st.integers(0, 10**6),
        "mode": st.sampled_from(["slow", "fast"]),
        "values": st.lists(st.integers(-99, 99) | st.decimals(-99, 99, places=2).map(float), min_size=1, max_size=5),
        "rows": st.lists(st.fixed_dictionaries({"w": st.integers(), "h": WORDS}), max_size=3),
    },
    optional={
        "clock": CLOCKS,
        "cost": st.integers(0, 10**6) | st.decimals(0, 10**4, places=2).map(float),
        "share": st.integers(0, 100) | st.decimals(0, 100, places=1).map(float),
        "open": st.booleans(),
        "stops": st.lists(WORDS, min_size=1, max_size=4),
        "box": st.fixed_dictionaries({"w": st.integers(), "h": st.integers()}),
    },
)
CURRENCY = Field("part", "currency", "币种", ("currency",), {"type": "string"}, required=False, default="USD")
BOX = {"w": number(), "h": number()}
TRANSFORMS: tuple[Transform, ...] = (
    Rename({key: key.upper() for key in SHAPE}),
    RenameInner("box", {"w": "width", "h": "height"}),
    RenameInner("rows", {"w": "h", "h": "w"}),
    Nest(("cost", "stops", "day"), "extra", Field("group", "options", "选项", ("options",), {})),
    Nest(("cost", "open"), "extra", Field("group", "options", "选项", ("options",), {})),
    Flatten("box", BOX),
    Demand("cost"),
    Relax("mode", "slow"),
    Split("who", PersonName(text(), text())),
    Split("cost", MoneyAmount(CURRENCY)),
    Split("day", DateParts({part: PARTS[part] for part in ("year", "month", "day")})),
    Split("clock", ClockParts({part: PARTS[part] for part in ("hour", "minute")})),
    Moment("day", "clock", text()),
    Moment("day", "clock", text(), " "),
    Rewrite("minutes", Scaled("minutes", "seconds")),
    Rewrite("cost", Scaled("currency units", "cents")),
    Rewrite("share", Scaled("percent", "fraction")),
    Rewrite("open", Flag("yes", "no")),
    Rewrite("open", Flag(1, 0)),
    Rewrite("mode", Coded((("slow", 1), ("fast", 2)), explained=True)),
    Rewrite("mode", Coded((("slow", "MODE_SLOW"), ("fast", "MODE_FAST")), explained=False)),
    Rewrite("stops", Listed(",")),
    Rewrite("values", Listed(";", numeric=True)),
    *(Rewrite("day", DateLayout(layout)) for half in ("train", "held_out") for layout in words()["dates"][half]),
    *(Rewrite("clock", ClockLayout(layout)) for half in ("train", "held_out") for layout in words()["clocks"][half]),
)


def fits(shape: Shape, arguments) -> bool:
    return jsonschema_rs.is_valid(to_schema(shape, lambda f: f.noun, lambda f: True), arguments)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@settings(max_examples=40, deadline=None)
@given(arguments=ARGUMENTS)
def test_inverse_undoes_apply_and_the_result_fits_the_new_shape(transform, arguments):
    if isinstance(transform, Demand):
        arguments = {"cost": 1, **arguments}
    assert fits(SHAPE, arguments)
    changed = plain(transform.apply(untold(arguments)))
    assert fits(transform.shape(SHAPE), changed)
    assert transform.inverse(changed) == arguments


@given(arguments=ARGUMENTS)
@settings(max_examples=100, deadline=None)
def test_a_chain_of_transforms_is_undone_in_reverse(arguments):
    chain: list[Transform] = [
        Split("who", PersonName(text(), text())),
        Flatten("who", {"given": text(), "family": text()}),
        Moment("day", "clock", text()),
        Rewrite("minutes", Scaled("minutes", "seconds")),
        Rename({"who/given": "first", "day": "when"}),
        Nest(("first", "when", "stops"), "trip", Field("group", "trip", "行程", ("trip",), {})),
    ]
    shape, told, path = SHAPE, untold(arguments), "who"
    for transform in chain:
        shape, told, path = transform.shape(shape), transform.apply(told), transform.moved(path)
    assert fits(shape, plain(told))
    assert path == "trip.first" and "first" in told["trip"]
    restored = plain(told)
    for transform in reversed(chain):
        restored = transform.inverse(restored)
    assert restored == arguments


def test_a_default_reaches_the_executor_where_nothing_is_said():
    assert Relax("mode", "slow").inverse({"day": "x"}) == {"day": "x", "mode": "slow"}
    assert Relax("mode", "slow").inverse({"mode": "fast"}) == {"mode": "fast"}


def test_every_unit_factor_is_exact_both_ways():
    for unit, to in FACTORS:
        form = Scaled(unit, to)
        for value in (0, 1, 7, 0.1, 2.5, 12.34, 99999):
            assert form.read(form.write(value)) == value


def test_words_travel_with_the_value():
    told = tell({"clock": Value("15:00", "3 pm", {"": "3 pm"}), "day": Value("2025-03-04", "today", {"": "today"})})
    merged = Moment("day", "clock", text()).apply(told)
    ((path, leaf),) = leaves(merged)
    assert (path, leaf.value, leaf.words) == ("day", "2025-03-04T15:00", "today, 3 pm")
    assert leaf.span["of"] == [["2025-03-04", "today"], ["15:00", "3 pm"]]


def test_a_name_is_cut_where_its_language_cuts_it():
    names = PersonName(text(), text())
    cut = {
        name: {k: v.value for k, v in names.split(untold(name)).items()}
        for name in ("Ana de la Cruz", "欧阳雪梅", "王伟")
    }
    assert cut["Ana de la Cruz"] == {"given": "Ana", "family": "de la Cruz"}
    assert cut["欧阳雪梅"] == {"given": "雪梅", "family": "欧阳"} and cut["王伟"] == {"given": "伟", "family": "王"}


def test_currency_comes_from_the_words_or_is_left_to_the_default():
    money = MoneyAmount(CURRENCY)
    for said, code in (("$200", "USD"), ("200 dollars", "USD"), ("200块钱", "CNY"), ("200", None)):
        (told,) = tell({"cost": Value(200, said, {"": said})}).values()
        assert money.split(told).get("currency", untold(None)).value == code


# The whole way: every tool of the catalogue under random habits.


def instance_of(base: BaseTool, catalogue: Catalogue, seed: int, chinese: bool, held_out: bool) -> ToolInstance:
    rng = random.Random(seed)
    style = make_style(rng, chinese, disguised=True, held_out=held_out)
    return dress(base, style, rng, catalogue.pools, (), [p.key for p in base.params if rng.random() < 0.7])


def values_of(instance: ToolInstance, catalogue: Catalogue, seed: int, language: str) -> dict[str, Value]:
    rng = random.Random(seed)
    world = World(seed, catalogue.pools, language)
    context = Context(rng, language, date(2025, 3, 1), catalogue.pools, world.issue)
    return {p.key: sample(p.spec, context) for p in instance.params if p.required or rng.random() < 0.6}


FACES = [(seed, language) for seed in range(2) for language in ("en", "zh")]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.mark.parametrize(("seed", "language"), FACES)
def test_every_tool_keeps_the_laws_under_any_face(catalogue, seed, language):
    for number, base in enumerate(catalogue.tools):
        instance = instance_of(base, catalogue, 1000 * seed + number, language == "zh", held_out=number % 5 == 0)
        values = values_of(instance, catalogue, number, language)
        arguments = json.loads(json.dumps(instance.arguments(values)))
        assert jsonschema_rs.is_valid(instance.tool.parameters, arguments), (instance.tool, arguments)
        given = {key: value.arg for key, value in values.items()}
        defaults = {k: p.default for k, p in instance.changed.items() if not p.required}
        assert instance.restore(arguments) == {**defaults, **given}
        spans = instance.spans(values)
        assert spans.keys() == {path for path, _ in leaves(untold(arguments))}
        for key, path in instance.names.items():
            if key in values:
                assert any((found + ".").startswith(path + ".") for found in spans), (key, path, spans)


@pytest.mark.parametrize(("seed", "language"), FACES)
def test_the_gate_recomputes_every_form_and_finds_it_in_the_schema(catalogue, seed, language):
    formed = 0
    for number, base in enumerate(catalogue.tools):
        instance = instance_of(base, catalogue, 2000 * seed + number, language == "zh", held_out=number % 3 == 0)
        values = values_of(instance, catalogue, number, language)
        told = dict(leaves(untold(instance.arguments(values))))
        for path, span in instance.spans(values).items():
            assert unannounced(schema_at(instance.tool.parameters, path), path, span) is None, (instance.tool, path)
            if isinstance(span, dict) and "of" in span:
                formed += 1
                assert carried(told[path].value, span, lambda value, inner: None) is None, (path, told[path], span)
    assert formed > 30


def schema_at(schema, path: str):
    for step in path.split("."):
        schema = schema["items"] if step.isdigit() else schema.get("properties", {}).get(step, {})
    return schema


@pytest.mark.parametrize(
    ("value", "span"),
    [
        (300, {"of": [[5, "5 minutes"]], "form": {"kind": "unit", "from": "minutes", "to": "milliseconds"}}),
        (301, {"of": [[5, "5 minutes"]], "form": {"kind": "unit", "from": "minutes", "to": "seconds"}}),
        (5, {"of": [[5, "5%"]], "form": {"kind": "unit", "from": "percent", "to": "fraction"}}),
        ("03.04.2025", {"of": [["2025-03-04", "today"]], "form": {"kind": "date", "layout": "DD.MM.YYYY"}}),
        ("2025-03-04", {"of": [["2025-03-04", "today"]], "form": {"kind": "date", "layout": "DD.MM.YYYY"}}),
        ("3:00 AM", {"of": [["15:00", "3 pm"]], "form": {"kind": "time", "layout": "h:MM AM/PM"}}),
        ("2025-03-04T14:00", {"of": [["2025-03-04", ""], ["15:00", ""]], "form": {"kind": "moment", "separator": "T"}}),
        ("Doe", {"of": [["Jane Doe", "Jane Doe"]], "form": {"kind": "part", "part": "given"}}),
        ("伟", {"of": [["王伟", "王伟"]], "form": {"kind": "part", "part": "family"}}),
        (4, {"of": [["2025-03-04", "today"]], "form": {"kind": "part", "part": "month"}}),
        ("EUR", {"of": [[200, "$200"]], "form": {"kind": "part", "part": "currency"}}),
        ("CNY", {"of": [[200, "$200"]], "form": {"kind": "part", "part": "currency"}}),
        ("a,c", {"of": [["a", "a"], ["b", "b"]], "form": {"kind": "list", "separator": ","}}),
        ("no", {"of": [[True, {"text": "", "means": "true"}]], "form": {"kind": "flag", "yes": "yes", "no": "no"}}),
        ("SLOW", {"of": [["fast", "quickly"]], "form": {"kind": "enum"}}),
        ("FEMALE", {"of": [["male", "man"]], "form": {"kind": "enum"}}),
        ("GENDER_FEMALE", {"of": [["male", "man"]], "form": {"kind": "enum"}}),
        (1, {"of": [["fast", "quickly"]], "form": {"kind": "enum", "code": 2}}),
        (1, {"of": [[1, "1"]], "form": {"kind": "magic"}}),
    ],
)
def test_the_gate_refuses_what_the_form_does_not_make(value, span):
    assert carried(value, span, lambda v, s: None) == "form_not_kept"


def test_the_gate_hands_the_words_on_and_wants_the_form_announced():
    span = {"of": [[5, "5 minutes"]], "form": {"kind": "unit", "from": "minutes", "to": "seconds"}}
    assert (
        carried(300, span, lambda value, inner: "words_not_said" if inner == "5 minutes" else None) == "words_not_said"
    )
    assert unannounced({"type": "integer", "description": "Duration."}, "duration", span) == "form_not_in_schema"
    assert unannounced({"type": "integer", "description": "Duration, in seconds."}, "duration", span) is None


@pytest.mark.parametrize("value", ["SCI_FI", "SciFi", "GENRE_SCI_FI"])
def test_another_spelling_of_a_member_is_the_member(value):
    assert carried(value, {"of": [["sci-fi", "sci-fi"]], "form": {"kind": "enum"}}, lambda v, s: None) is None


def test_a_code_must_be_explained_by_the_description():
    span = {"of": [["fast", "quickly"]], "form": {"kind": "enum", "code": 2}}
    for text in ("Mode (1 = slow, 2 = fast).", "方式，1=慢(slow)，2=快(fast)"):
        assert unannounced({"type": "integer", "enum": [1, 2], "description": text}, "mode", span) is None
    for text in ("Mode (1 = fast, 2 = slow).", "Mode.", "Mode: 12 = fast"):
        reason = unannounced({"type": "integer", "enum": [1, 2], "description": text}, "mode", span)
        assert reason == "form_not_in_schema"


def test_results_keep_their_values_under_other_keys(catalogue):
    renamed = 0
    for number, base in enumerate(catalogue.tools):
        instance = instance_of(base, catalogue, number, False, False)
        values = values_of(instance, catalogue, number, "en")
        result = World(number, catalogue.pools, "en").execute(base, instance.restore(instance.arguments(values)))
        shown = instance.result(result)
        renamed += shown != result
        assert [told.value for _, told in leaves(untold(shown))] == [told.value for _, told in leaves(untold(result))]
        assert ("error" in shown) == ("error" in result)
        assert shown.keys() == {instance.shown(key) for key in result}
    assert renamed > 10


def test_a_unit_is_told_unless_the_noun_tells_it():
    style = make_style(random.Random(0), False, disguised=True)
    describe = field_describer(style, random.Random(0))
    weight = Field("num", "body weight", "体重", ("weight",), {"type": "number"}, unit="g")
    portion = Field("num", "portion in grams", "份量", ("portion",), {"type": "number"}, unit="grams")
    assert all(re.search(r"\bg\b", describe(weight)) for _ in range(20))
    assert all(describe(portion).count("grams") == 1 for _ in range(20))


def test_names_in_every_case():
    assert [cased("book_hotel", case) for case in ("snake", "camel", "pascal", "kebab")] == [
        "book_hotel", "bookHotel", "BookHotel", "book-hotel",
    ]  # fmt: skip


def test_held_out_words_name_nothing_in_training():
    for table in ("vendors", "suffixes", "syllables", "separators"):
        assert not set(half(table, False)) & set(half(table, True))
    syllables = half("syllables", False)
    assert not any(re.fullmatch(f"(?:{'|'.join(syllables)})+", word) for word in half("syllables", True))


def test_without_a_disguise_names_are_the_catalogue_s_own(catalogue):
    base = next(tool for tool in catalogue.tools if tool.id == "book_hotel")
    plain_face = dress(base, make_style(random.Random(0), False), random.Random(0), catalogue.pools)
    assert set(plain_face.names.values()) <= {name for p in base.params for name in (*p.names, p.key)} | {
        cased(name, "camel") for p in base.params for name in p.names
    }
