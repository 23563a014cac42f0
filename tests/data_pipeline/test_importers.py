"""A user's own tools: read without being run, accepted or refused with a reason, and served by every category."""

import json
import random
from collections import Counter

import pytest

from data_pipeline.gates import GATES, first_failure
from data_pipeline.importers.examples import examples_in
from data_pipeline.importers.load import catalogue_digest, describe_import, import_catalogue, servable_shares
from data_pipeline.importers.raw import RefusedError
from data_pipeline.importers.schemas import inline, settle
from data_pipeline.programmatic import ProgrammaticTeacher
from data_pipeline.world import World
from fcdist.config.types import GenerateConfig
from fcdist.errors import ConfigError
from fcdist.schema.checks import check_arguments, check_tools

OPENAPI = """
openapi: 3.0.3
info: {title: Bike shop, version: "1"}
components:
  parameters:
    Limit: {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 50, default: 10}}
  schemas:
    Item:
      type: object
      required: [sku, quantity]
      properties: {sku: {type: string}, quantity: {type: integer, minimum: 1, maximum: 9}}
    Order:
      allOf:
        - {type: object, properties: {id: {type: integer, readOnly: true}, status: {type: string, enum: [open, paid]}}}
        - {type: object, properties: {customer_name: {type: string}, total: {type: number, minimum: 0,
           exclusiveMinimum: true}}}
paths:
  /orders:
    get:
      operationId: listOrders
      summary: List orders
      tags: [orders]
      parameters: [{$ref: '#/components/parameters/Limit'}]
      responses: {'200': {description: ok, content: {application/json: {schema: {type: array,
        items: {$ref: '#/components/schemas/Order'}}}}}}
    post:
      operationId: createOrder
      summary: Create a new order
      tags: [orders]
      requestBody:
        required: true
        content:
          application/json:
            schema:
              type: object
              required: [customer_name, items]
              properties:
                customer_name: {type: string}
                email: {type: string, format: email, nullable: true}
                items: {type: array, minItems: 1, items: {$ref: '#/components/schemas/Item'}}
                deliver_on: {type: string, format: date}
      responses: {'201': {description: made, content: {application/json: {schema: {
        $ref: '#/components/schemas/Order'}}}}}
  /orders/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: integer}}]
    get: {operationId: getOrder, summary: Get an order by its ID, tags: [orders], responses: {'200': {description: ok,
      content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}}}}}
    delete: {operationId: cancelOrder, summary: Cancel an order, tags: [orders],
      responses: {'204': {description: gone}}}
  /stores/nearby:
    get:
      summary: Find bike stores in a city
      tags: [stores]
      parameters: [{name: city, in: query, required: true, schema: {type: string}}]
      responses: {'200': {description: ok}}
  /upload:
    post: {operationId: uploadManual, summary: Upload a manual, tags: [stores], requestBody: {required: true,
      content: {application/pdf: {schema: {type: string, format: binary}}}}, responses: {'200': {description: ok}}}
"""
PYTHON = '''
from typing import Literal
raise RuntimeError("a file that is only read must never run")

def book_table(restaurant: str, guests: int, area: Literal["inside", "terrace"] = "inside") -> dict:
    """Book a table at a restaurant.

    Args:
        guests: How many people come.
    """

def plot(frame: "pd.DataFrame"):
    """Plot a frame."""

def _private(x): ...
'''


def tool(name, description, properties, required=(), **more):
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description, "inputSchema": {**schema, **more}}


WEATHER = tool(
    "get_weather",
    "Get the current weather for a city",
    {"city": {"type": "string"}, "units": {"enum": ["metric", "us"]}},
    ["city"],
)


def written(path, entries, number=240, **changes):
    teacher = ProgrammaticTeacher(GenerateConfig(num_conversations=number, catalogue=entries, **changes), seed=4)
    return [teacher.conversation(i) for i in range(number)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    (folder / "a.yaml").write_text(OPENAPI)
    (folder / "b.json").write_text(json.dumps({"jsonrpc": "2.0", "result": {"tools": [WEATHER]}}))
    (folder / "c.py").write_text(PYTHON)
    return folder


def save(tmp_path, value, name="tools.json"):
    path = tmp_path / name
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def refused(tmp_path, *items):
    good = tool("list_cities", "List cities", {})
    return {r.name: r for r in import_catalogue((save(tmp_path, [good, *items]),)).refused}


def test_every_form_is_read_and_nothing_is_run(shop):
    imported = import_catalogue((str(shop),))
    names = [t.backing.tool.name for t in imported.catalogue.tools]
    expected = [
        "listOrders",
        "createOrder",
        "getOrder",
        "cancelOrder",
        "get_stores_nearby",
        "get_weather",
        "book_table",
    ]
    assert sorted(names) == sorted(expected)
    assert {(r.name, r.reason) for r in imported.refused} == {
        ("uploadManual", "body_not_json"),
        ("plot", "unknown_type"),
    }
    assert imported.catalogue.domains() == ("b", "c", "orders", "stores")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda t: [{"type": "function", "function": {**t, "parameters": t["inputSchema"]}}],
        lambda t: [{"name": t["name"], "description": t["description"], "parameters": t["inputSchema"]}],
        lambda t: {"tools": [t]},
        lambda t: t,
        lambda t: {"result": {"tools": [t]}},
    ],
)
def test_wrappings_of_one_tool_give_one_face(tmp_path, wrap):
    (found,) = import_catalogue((save(tmp_path, wrap(WEATHER)),)).catalogue.tools
    face = found.backing.tool
    assert (face.name, face.description, face.parameters) == (
        WEATHER["name"],
        WEATHER["description"],
        WEATHER["inputSchema"],
    )


def test_everything_written_passes_every_gate_and_keeps_the_declared_face(shop):
    conversations = written(shop, [str(shop)])
    assert [(c.id, r) for c in conversations if (r := first_failure(GATES, c))] == []
    assert {c.category for c in conversations} == set(GenerateConfig().shares)
    faces = {json.dumps(t.to_wire()) for c in conversations for t in c.tools}
    declared = {json.dumps(t.backing.tool.to_wire()) for t in import_catalogue((str(shop),)).catalogue.tools}
    assert faces == declared


def test_a_conversation_depends_on_seed_and_index_alone(shop):
    first = written(shop, [str(shop)], 40)
    teacher = ProgrammaticTeacher(GenerateConfig(num_conversations=40, catalogue=[str(shop)]), seed=4)
    again = {i: teacher.conversation(i).to_wire() for i in reversed(range(40))}
    assert [c.to_wire() for c in first] == [again[i] for i in range(40)]


def test_identifiers_live_from_creation_to_cancellation(shop):
    catalogue = import_catalogue((str(shop),)).catalogue
    tools = {t.backing.tool.name: t for t in catalogue.tools}
    world = World(1, catalogue.pools, "en")
    made = world.execute(tools["createOrder"], {"customer_name": "Ann Lee", "items": [{"sku": "A1", "quantity": 2}]})
    assert isinstance(made["id"], int) and made["customer_name"] == "Ann Lee"
    assert world.execute(tools["getOrder"], {"id": made["id"]})["customer_name"] == "Ann Lee"
    assert "error" not in world.execute(tools["cancelOrder"], {"id": made["id"]})
    for name in ("getOrder", "cancelOrder"):
        assert world.execute(tools[name], {"id": made["id"]}) == {"error": "not_found", "id": made["id"]}
    assert world.execute(tools["getOrder"], {"id": 1})["error"] == "not_found"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "format": "uuid"},
        {"type": "string", "format": "date-time"},
        {"type": "string", "pattern": "^[A-Z]{3}-\\d{4}$"},
        {"type": ["integer", "null"], "minimum": 7, "maximum": 9},
        {"type": "integer", "exclusiveMinimum": 0, "multipleOf": 25, "maximum": 200},
        {"type": "number", "minimum": 0.1, "maximum": 0.9},
        {"anyOf": [{"type": "null"}, {"type": "string", "enum": ["a", "b"]}]},
        {"oneOf": [{"const": "fast"}, {"const": "slow"}]},
        {"allOf": [{"type": "integer", "minimum": 5}, {"maximum": 6}]},
        {"$ref": "#/$defs/point"},
        {"type": "array", "items": {"type": "string", "enum": ["x", "y", "z"]}, "minItems": 2, "uniqueItems": True},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "array", "items": {"$ref": "#/$defs/point"}, "maxItems": 2},
        {"type": "boolean", "default": True},
        {"enum": [10, 20]},
    ],
)
def test_drawn_values_fit_their_schema(tmp_path, schema):
    point = {
        "type": "object",
        "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
        "required": ["x", "y"],
        "additionalProperties": False,
    }
    declared = tool("move_robot", "Move the robot", {"target": schema}, ["target"], **{"$defs": {"point": point}})
    conversations = written(tmp_path, [save(tmp_path, [declared, WEATHER])], 60)
    assert all(first_failure(GATES, c) is None for c in conversations)
    calls = [call for c in conversations for m in c.messages for call in m.tool_calls if call.name == "move_robot"]
    assert calls
    for conversation in conversations:
        by_name = {t.name: t for t in conversation.tools}
        for message in conversation.messages:
            for call in message.tool_calls:
                check_arguments(by_name[call.name], call.arguments)


def test_what_cannot_be_served_is_refused_with_its_reason(tmp_path):
    secret = tool("open_safe", "Open the safe", {"password": {"type": "string"}}, ["password"])
    untyped = tool("set_mood", "Set the mood", {"mood": {"description": "anything"}}, ["mood"])
    outside = tool("read_page", "Read a page", {"page": {"$ref": "https://example.com/s.json"}}, ["page"])
    circular = tool("add_node", "Add a node", {"node": {"$ref": "#/$defs/n"}}, ["node"])
    circular["inputSchema"]["$defs"] = {
        "n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}
    }
    invalid = tool("find_room", "Find a room", {"size": {"type": "sting"}})
    undeclared = tool("find_desk", "Find a desk", {}, ["size"])
    never = tool("pick_number", "Pick a number", {"n": {"type": "integer", "minimum": 9, "maximum": 3}}, ["n"])
    found = refused(
        tmp_path,
        secret,
        untyped,
        outside,
        circular,
        invalid,
        undeclared,
        never,
        WEATHER,
        WEATHER,
        {"name": "two words", "description": "Get it"},
        {"description": "nameless"},
        {"name": "frobnicator", "description": "The frobnicator."},
    )
    assert {name: r.reason for name, r in found.items()} == {
        "open_safe": "asks_for_a_secret",
        "set_mood": "untyped_parameter",
        "read_page": "unresolved_reference",
        "add_node": "circular_schema",
        "find_room": "invalid_schema",
        "find_desk": "required_undeclared",
        "pick_number": "no_value_in_range",
        "get_weather": "duplicate_name",
        "two words": "invalid_name",
        "?": "not_a_tool",
        "frobnicator": "purpose_unclear",
    }
    assert all(r.where.startswith(str(tmp_path)) and "[" in r.where for r in found.values())


def test_an_optional_parameter_that_cannot_be_said_is_only_left_out(tmp_path):
    declared = tool(
        "find_cafe",
        "Find a cafe",
        {"city": {"type": "string"}, "blob": {"type": "string", "format": "binary"}},
        ["city"],
    )
    (found,) = import_catalogue((save(tmp_path, [declared]),)).catalogue.tools
    assert [p.key for p in found.params] == ["city"] and "blob" in found.backing.tool.parameters["properties"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "is not JSON"),
        ("a.jsonl", '{"name": "x"}\n{', r"a\.jsonl:2 is not JSON"),
        ("a.yaml", "a: [", "is not YAML"),
        ("a.py", "def f(:", r"a\.py:1 is not Python"),
        ("a.py", "def _f(): ...", "has no function that is public; it has: _f"),
        ("a.json", '{"swagger": "2.0"}', "Swagger 2.0; only OpenAPI 3.0 and 3.1"),
        ("a.json", '{"openapi": "3.1.0"}', "has no `paths`"),
        ("a.json", "[]", "no usable tool. The files hold none"),
        ("a.json", '[{"name": "x y"}]', "no usable tool. Refused: .*invalid_name"),
    ],
)
def test_bad_files_are_named_with_rule_and_place(tmp_path, name, text, message):
    with pytest.raises(ConfigError, match=message):
        import_catalogue((save(tmp_path, text, name),))


def test_an_entry_that_leads_nowhere_lists_what_is_possible():
    with pytest.raises(ConfigError, match="neither a file, a folder nor a Python module"):
        import_catalogue(("/nowhere/tools.json",))
    with pytest.raises(ConfigError, match=r"generate\.catalogue must be one text or a list"):
        GenerateConfig(catalogue=(1,))


def test_one_function_of_a_module(shop):
    (found,) = import_catalogue((f"{shop / 'c.py'}:book_table",)).catalogue.tools
    parameters = found.backing.tool.parameters
    assert parameters["required"] == ["restaurant", "guests"]
    assert parameters["properties"]["area"] == {"type": "string", "enum": ["inside", "terrace"], "default": "inside"}
    assert parameters["properties"]["guests"]["description"] == "How many people come."


def test_categories_without_a_fitting_tool_are_left_out_and_said(tmp_path):
    path = save(tmp_path, [WEATHER])
    config = GenerateConfig(num_conversations=80, catalogue=path)
    shares, lacking = servable_shares(config.shares, import_catalogue((path,)).catalogue.tools)
    assert set(lacking) == {"nested", "date"} and abs(sum(shares.values()) - 1) < 1e-9
    lines = describe_import(config, tmp_path)
    assert "tools: 1 accepted, 0 refused" in lines[0] and "category nested is left out" in lines[1]
    report = json.loads((tmp_path / "tools.json").read_text())
    assert report["tools"] == [{"where": f"{path}[0]", "id": "tools/get_weather"}]
    categories = Counter(c.category for c in written(tmp_path, path, 80))
    assert set(categories) == set(shares)
    with pytest.raises(ConfigError, match="date: no tool has a date parameter"):
        ProgrammaticTeacher(GenerateConfig(catalogue=path, shares={"date": 1.0}), seed=0)


def test_held_out_servers_never_meet_the_others(shop):
    for split in ("train", "held_out"):
        conversations = written(shop, [str(shop)], 60, held_out_domains=("orders",), split=split)
        domains = {d for c in conversations for d in c.metadata["domains"]}
        assert domains == ({"orders"} if split == "held_out" else {"b", "c", "stores"})
        assert all(first_failure(GATES, c) is None for c in conversations)


def test_built_in_tools_can_stand_beside_own_ones(shop):
    conversations = written(shop, ["builtin", str(shop / "b.json")], 120)
    assert all(first_failure(GATES, c) is None for c in conversations)
    assert len({d for c in conversations for d in c.metadata["domains"]}) > 10


def test_changed_files_are_other_settings(tmp_path):
    path = save(tmp_path, [WEATHER])
    before = catalogue_digest((path, "builtin"))
    save(tmp_path, [{**WEATHER, "description": "Get the weather"}])
    assert list(before) == [path] and catalogue_digest((path,)) != before


def test_settling_keeps_what_the_alternatives_share():
    assert settle({"type": ["string", "null"]})["type"] == "string"
    assert settle({"anyOf": [{"const": 1}, {"enum": [2, 3]}]})["enum"] == [1, 2, 3]
    assert settle({"allOf": [{"minimum": 2, "type": "integer"}, {"minimum": 4}]})["minimum"] == 4
    with pytest.raises(RefusedError, match="untyped_parameter"):
        settle({})
    assert inline({"$defs": {"a": {"type": "string"}}, "properties": {"x": {"$ref": "#/$defs/a"}}})["properties"] == {
        "x": {"type": "string"}
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('Network name (e.g., "mainnet", "sepolia")', ["mainnet", "sepolia"]),
        ("Strategy to use: one of fast, slow or exact", ["fast", "slow", "exact"]),
        ("The title of the page", []),
        ("城市，例如：北京、上海", ["北京", "上海"]),
    ],
)
def test_examples_are_found_in_descriptions(text, expected):
    assert examples_in(text, {}) == expected


def test_faces_are_valid_tools(shop):
    tools = [t.backing.tool for t in import_catalogue((str(shop),)).catalogue.tools]
    random.Random(0).shuffle(tools)
    check_tools(tools)


def test_held_out_families_of_the_built_in_tools_do_not_disturb_own_ones(shop):
    assert written(shop, [str(shop)], 8, held_out_domains=("agriculture",))
    with pytest.raises(ConfigError, match=r"held_out_domains has unknown 'ordres'; known: b, c, orders, stores"):
        written(shop, [str(shop)], 8, held_out_domains=("ordres",))
    with pytest.raises(ConfigError, match=r"split=held_out leaves no domain"):
        written(shop, [str(shop)], 8, held_out_domains=("agriculture",), split="held_out")
