"""How requests for a user's own tools are worded, and whether what the tools answer can be checked against the call."""

import json
import math
import random
import re

import pytest

from data_pipeline.importers.arithmetic import OPERATIONS, computed, operation_of
from data_pipeline.importers.lexicon import noun_zh, translate
from data_pipeline.importers.load import import_catalogue
from data_pipeline.sentences import compiled
from data_pipeline.slots import Context, sample
from data_pipeline.surface import ToolInstance
from data_pipeline.wording import Persona, request
from data_pipeline.world import World

PLAIN = Persona("plain", 0.0)
TEXT = {"type": "string"}


def tool(name, description, required=(), **properties):
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description, "inputSchema": schema}


TOOLS = [
    tool("create_issue", "Create a new issue in a repository", ["repo", "title"], repo=TEXT, title=TEXT, body=TEXT),
    tool("get_issue", "Get an issue", ["issue_id"], issue_id=TEXT),
    tool("delete_issue", "Delete an issue", ["issue_id"], issue_id=TEXT),
    tool("run_command", "Run a shell command", ["command"], command=TEXT, timeout={"type": "integer"}),
    tool("get_weather", "Get the weather for a city", ["city"], city=TEXT, units={"enum": ["metric", "us"]}),
    tool("search_papers", "Search for papers", ["query"], query=TEXT, limit={"type": "integer"}),
    tool(
        "get_license_compatibility",
        "Check license compatibility",
        ["packages"],
        packages={"type": "array", "items": TEXT},
    ),
    tool("set_market_type", "Set the market type", ["market_type"], market_type={"enum": ["spot", "future"]}),
    tool("multiply", "Multiply two numbers", ["a", "b"], a={"type": "number"}, b={"type": "number"}),
    tool(
        "get_posts",
        "Get posts between two days",
        ["end_date", "start_date"],
        end_date={"type": "string", "format": "date"},
        start_date={"type": "string", "format": "date"},
    ),
    tool("list_directory", "List a directory", ["path"], path=TEXT),
    tool(
        "move_robot",
        "Move the robot",
        ["target"],
        target={"type": "object", "required": ["x"], "properties": {"x": {"type": "number"}, "y": {"type": "number"}}},
        slow={"type": "boolean"},
    ),
]


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "desk.json"
    path.write_text(json.dumps(TOOLS))
    imported = import_catalogue((str(path),))
    assert not imported.refused
    return {t.names[0]: t for t in imported.catalogue.tools}, imported.catalogue.pools


def drawn(tools, name, language, seed, keys=None):
    """A request without noise for some of a tool's parameters, and their values."""
    base, pools = tools[0][name], tools[1]
    rng = random.Random(seed)
    world = World(seed, pools, language)
    context = Context(rng, language, None, pools, world.issue)
    chosen = [p for p in base.params if (p.key in keys if keys is not None else p.required or rng.random() < 0.6)]
    values = {p.key: sample(p.spec, context) for p in chosen}
    instance = ToolInstance(base, base.backing.tool, dict(base.backing.names))
    return request(instance, values, language, rng, bare=True, persona=PLAIN), values


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("name", [entry["name"] for entry in TOOLS])
def test_a_request_says_every_value_once(tools, name, language):
    for seed in range(25):
        text, values = drawn(tools, name, language, seed)
        for value in values.values():
            for leaf in value.leaves.values():
                words = leaf if isinstance(leaf, str) else leaf["text"]
                assert words in text, (text, words)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_template_fits_whatever_is_left_out(tools, language):
    for base in tools[0].values():
        templates = [compiled(line) for line in base.backing.requests(language)]
        given = [frozenset(), *(frozenset([p.key]) for p in base.params), frozenset(p.key for p in base.params)]
        for keys in given:
            assert any(t.fits(keys) and not t.whole for t in templates), (base.id, keys)


def test_chinese_puts_values_where_people_put_them(tools):
    said = {name: {drawn(tools, name, "zh", seed)[0] for seed in range(60)} for name in tools[0]}
    every = " ".join(text for texts in said.values() for text in texts)
    assert not re.search("其中|已知|给定", every)
    assert any(
        re.search(r"在 \S+ 里新建 ?议题|在 \S+ 里(?:新建|建个|建一个|创建)", text) for text in said["create_issue"]
    )
    assert any(re.search(r"把.*[A-Z]{2}-\d+ ?删", text) for text in said["delete_issue"])
    assert any(re.search("(?:跑一下|执行|运行)[^，]* `", text) for text in said["run_command"])
    assert any(re.search("[^，]+的天气", text) for text in said["get_weather"])
    assert any("市场类型设成" in text for text in said["set_market_type"])
    assert any(re.search(r"[\d.]+ 乘以 [\d.]+", text) for text in said["multiply"])
    assert all("license 兼容" not in text and "许可证compat" not in text for text in said["get_license_compatibility"])


@pytest.mark.parametrize(
    ("language", "first", "last"), [("zh", "[从自]", "到|截至"), ("en", "from |starting", "until|through")]
)
def test_beginnings_are_said_before_ends(tools, language, first, last):
    for seed in range(30):
        text, values = drawn(tools, "get_posts", language, seed)
        rest = text.index(values["end_date"].text) - text.index(values["start_date"].text)
        assert rest > 0 and re.search(first, text) and re.search(last, text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("start_date", "开始日期"),
        ("orderStatus", "订单状态"),
        ("license_compatibility", "license compatibility"),
        ("compIndex", "comp index"),
        ("time_in_seconds", "时间（秒）"),
        ("num_results", "结果条数"),
        ("num_of_days", "天数"),
        ("palace_id", "palace ID"),
    ],
)
def test_a_name_is_translated_as_a_whole_or_not_at_all(name, expected):
    assert noun_zh(name) == expected


def test_no_translation_mixes_known_words_with_unknown_ones():
    rng = random.Random(1)
    for _ in range(200):
        words = rng.sample(["file", "size", "date", "weather", "zzyx", "quux", "blorf"], 3)
        unknown = {"zzyx", "quux", "blorf"} & set(words)
        assert bool(re.search("[一-鿿]", translate(words))) != bool(unknown)


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_sums_name_their_numbers_and_are_right(name):
    operation = operation_of(["calculate", *name.split("_")], OPERATIONS[name].arity)
    assert operation is OPERATIONS[name]
    numbers = [6, 4][: operation.arity]
    for words in (operation.en, operation.zh):
        assert (
            all(f"{{{place}}}" in words for place in range(operation.arity)) and f"{{{operation.arity}}}" not in words
        )
    value = computed(operation, numbers)
    assert value is not None and math.isclose(value, operation.compute(*numbers), abs_tol=1e-4)
    assert operation_of(name.split("_"), operation.arity + 1) is None


def test_a_sum_without_a_result_has_none():
    assert computed(OPERATIONS["divide"], [1, 0]) is None
    assert computed(OPERATIONS["square_root"], [-1]) is None


def test_the_simulator_multiplies(tools):
    world = World(3, tools[1], "en")
    assert world.execute(tools[0]["multiply"], {"a": 16, "b": 23}) == {"result": 368}


def test_what_a_directory_holds_are_files(tools):
    result = World(3, tools[1], "en").execute(tools[0]["list_directory"], {"path": "/tmp/work"})
    assert all("." in row["name"].rpartition("/")[2] for row in result["results"])


def imported(tmp_path, *entries):
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(entries))
    return import_catalogue((str(path),))


def test_a_token_is_a_coin_only_among_coins(tmp_path):
    other = tool("get_weather", "Get the weather for a city", ["city"], city=TEXT)
    opens = tool("list_chats", "List chats", ["token"], token=TEXT)
    trades = tool("get_token_price", "Get the price of a crypto coin", ["token"], token=TEXT)
    found = imported(tmp_path, other, opens, trades)
    assert [(r.name, r.reason) for r in found.refused] == [("list_chats", "asks_for_a_secret")]


def test_a_thing_that_is_made_under_a_given_identifier_has_it(tmp_path):
    make = tool("create_document", "Create a document", ["title"], title=TEXT, document_id=TEXT)
    read = tool("get_document", "Get a document", ["document_id"], document_id=TEXT)
    catalogue = imported(tmp_path, make, read).catalogue
    tools = {t.names[0]: t for t in catalogue.tools}
    world = World(2, catalogue.pools, "en")
    given = world.issue(tools["get_document"].params[0].spec["kind"], make=tools["get_document"].params[0].spec["make"])
    made = world.execute(tools["create_document"], {"title": "Plan", "document_id": given})
    assert made["document_id"] == given
    assert world.execute(tools["get_document"], {"document_id": given})["title"] == "Plan"


def test_a_code_is_no_program_unless_the_tool_runs_programs(tmp_path):
    found = imported(
        tmp_path,
        tool("get_product", "Get a product", ["code"], code=TEXT),
        tool("run_python", "Run a Python program", ["code"], code=TEXT),
    )
    kinds = {t.names[0]: t.param("code").kind for t in found.catalogue.tools}
    assert kinds == {"get_product": "code", "run_python": "quoted"}


def test_a_verb_that_nobody_listed_is_said_as_it_is(tmp_path):
    (found,) = imported(tmp_path, tool("triage", "Triages a bug", ["bug"], bug={"enum": ["A1", "B2"]})).catalogue.tools
    assert found.heads_en[0] == "triage a bug" and found.heads_zh[0].startswith("triage ")


ORDERS = """
openapi: 3.1.0
info: {title: Shop, version: "1"}
paths:
  /orders:
    get:
      operationId: listOrders
      summary: List orders
      parameters:
        - {name: status, in: query, schema: {$ref: '#/components/schemas/Status'}}
        - {name: since, in: query, schema: {type: string, format: date}}
        - {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 9}}
      responses: {'200': {description: ok, content: {application/json: {schema: {type: array, items:
        {$ref: '#/components/schemas/Order'}}}}}}
    post:
      operationId: createOrder
      summary: Create an order
      requestBody: {required: true, content: {application/json: {schema: {allOf: [
        {$ref: '#/components/schemas/Line'}, {type: object, properties: {gift: {type: boolean}}}]}}}}
      responses: {'201': {description: ok, content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}}}}
components:
  schemas:
    Status: {type: string, enum: [open, paid, shipped]}
    Line: {type: object, required: [sku], properties: {sku: {type: string, example: BK-1042}}}
    Order: {type: object, properties: {status: {$ref: '#/components/schemas/Status'}, placed_on: {type: string,
      format: date}, total: {type: number}}}
"""


@pytest.fixture(scope="module")
def orders(tmp_path_factory):
    path = tmp_path_factory.mktemp("orders") / "shop.yaml"
    path.write_text(ORDERS)
    catalogue = import_catalogue((str(path),)).catalogue
    return {t.names[0]: t for t in catalogue.tools}, catalogue.pools


def test_fields_of_a_composed_body_are_arguments_shaped_by_their_examples(orders):
    tools, pools = orders
    assert {p.key: p.required for p in tools["createOrder"].params} == {"sku": True, "gift": False}
    world = World(1, pools, "en")
    value = sample(tools["createOrder"].param("sku").spec, Context(random.Random(2), "en", None, pools, world.issue))
    assert re.fullmatch(r"BK-\d{4}", value.arg)


@pytest.mark.parametrize("seed", range(5))
def test_declared_results_keep_to_what_was_asked_for(orders, seed):
    tools, pools = orders
    world = World(seed, pools, "en")
    asked = {"status": "paid", "since": "2025-03-01", "limit": 2}
    rows = world.execute(tools["listOrders"], asked)["results"]
    assert 0 < len(rows) <= 2
    assert all(row["status"] == "paid" and row["placed_on"] >= "2025-03-01" for row in rows)
    assert world.execute(tools["createOrder"], {"sku": "BK-1"})["status"] == "open"


def test_a_name_without_a_verb_keeps_its_thing(tmp_path):
    cloud = tool("word_cloud_by_date", "Create a word cloud of the most common words in posts of a day", ["day"])
    cloud["inputSchema"]["properties"] = {"day": {"type": "string", "format": "date"}}
    (found,) = imported(tmp_path, cloud).catalogue.tools
    assert found.noun == ("word cloud", "word cloud") and found.heads_zh[0] == "创建 word cloud"
