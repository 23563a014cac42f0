"""Samples for the comparison with other trainers: one ShareGPT file, which they and fcdist read alike.

    python -m benchmarks.samples shared OUT.json --prompt-tokens 2048 --per-group 16 --groups 4
    python -m benchmarks.samples schemas OUT.json --source mcp_tool_schemas.jsonl --per-group 8 --groups 40
    python -m benchmarks.samples fitting OUT.json --source glaive_toolcall_en_demo.json --max-tokens 2048

`shared` writes groups of conversations under one tool prompt each, from the catalogue of the programmatic teacher.
`schemas` writes requests for real tools: lines `{"server", "tools": [{"name", "description", "inputSchema"}]}`.
`fitting` keeps the conversations of a ShareGPT file that every trainer takes whole.
Tokens are counted with the tokenizer and chat template of --model and --chat-template. Prints one JSON line of facts.
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.settings import add_model_arguments, load_renderer
from data_pipeline.catalogue import load_catalogue
from data_pipeline.dialogues import Draft, RepetitionError, write
from data_pipeline.surface import ToolInstance, dress, make_style
from data_pipeline.toolsets import ToolSet
from data_pipeline.world import World
from fcdist.config.seeds import derive_seed
from fcdist.errors import RenderError, SchemaError
from fcdist.schema.checks import check_conversation
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall
from fcdist.sources.formats import from_sharegpt

Record = dict[str, Any]
CountTokens = Callable[[Conversation], int]
"""Tokens of a conversation as it is rendered; of the prompt, where the last word is the user's."""
BRANCH_TOLERANCE = 0.25
"""A branch of `shared` may be longer or shorter than asked by this share."""

_WORDS = (
    "amber", "basin", "cedar", "delta", "ember", "falcon", "garnet", "harbor", "indigo", "juniper", "kestrel", "lagoon",
    "meadow", "nectar", "onyx", "prairie", "quartz", "raven", "summit", "tundra", "umber", "violet", "willow", "zephyr",
)  # fmt: skip
_REQUESTS = ("Please {}", "I need you to {}", "Could you {}", "Can you {}", "For my report, {}", "Right away, {}")


def to_sharegpt(conversation: Conversation) -> Record:
    """A conversation of user turns, single calls, results and answers as LLaMA-Factory lays it out."""
    turns = []
    for message in conversation.messages:
        if message.tool_calls:
            (call,) = message.tool_calls
            value = {"name": call.name, "arguments": json.loads(call.arguments)}
            turns.append({"from": "function_call", "value": json.dumps(value, ensure_ascii=False)})
        else:
            speaker = {"user": "human", "assistant": "gpt", "tool": "observation"}[message.role]
            turns.append({"from": speaker, "value": message.content})
    tools = [tool.to_wire()["function"] for tool in conversation.tools]
    return {"conversations": turns, "tools": json.dumps(tools, ensure_ascii=False)}


def shared_prompts(
    count_tokens: CountTokens, prompt_tokens: int, branch_tokens: int, per_group: int, groups: int, seed: int
) -> list[Record]:
    """`groups` tool prompts of about `prompt_tokens`, each with `per_group` single-call conversations that go on for
    about `branch_tokens`."""
    records: list[Record] = []
    for group in range(groups):
        tool_set = _tool_set(count_tokens, prompt_tokens, derive_seed(seed, "tools", group))
        own = derive_seed(seed, "conversations", group)
        records += map(to_sharegpt, _group(tool_set, count_tokens, branch_tokens, per_group, own))
    return records


def _prompt(tools: Iterable[Tool]) -> Conversation:
    return Conversation((Message("user", "0"),), tuple(tools))


def _tool_set(count_tokens: CountTokens, prompt_tokens: int, seed: int) -> ToolSet:
    rng = random.Random(seed)
    catalogue = load_catalogue()
    style = make_style(rng, chinese=False)
    instances: list[ToolInstance] = []
    for base in rng.sample(catalogue.tools, len(catalogue.tools)):
        instances.append(dress(base, style, rng, catalogue.pools, [i.tool.name for i in instances]))
        if count_tokens(_prompt(i.tool for i in instances)) >= prompt_tokens:
            return ToolSet(f"set-{seed}", tuple(instances), None, None)
    raise SystemExit(f"--prompt-tokens {prompt_tokens}: the whole catalogue makes a shorter prompt")


def _group(
    tool_set: ToolSet, count_tokens: CountTokens, branch_tokens: int, count: int, seed: int
) -> list[Conversation]:
    catalogue = load_catalogue()
    tools = tuple(instance.tool for instance in tool_set.instances)
    prompt_tokens = count_tokens(_prompt(tools))
    found: dict[str, Conversation] = {}
    for attempt in range(100 * count):
        own = derive_seed(seed, attempt)
        world = World(own, catalogue.pools, "en")
        draft = Draft(tool_set, catalogue, "en", random.Random(own), world, catalogue.tools)
        try:
            write("single", draft)
        except RepetitionError:
            continue
        conversation = Conversation(tuple(_without_thoughts(draft.messages)), tools, category="single", language="en")
        check_conversation(conversation)
        excess = count_tokens(conversation) - prompt_tokens - branch_tokens
        if abs(excess) <= BRANCH_TOLERANCE * branch_tokens:
            found.setdefault(str(conversation.messages[0].content), conversation)
        if len(found) == count:
            return list(found.values())
    raise SystemExit(f"{len(found)} different conversations instead of {count} in one group; ask for fewer")


def _without_thoughts(messages: Iterable[Message]) -> list[Message]:
    return [Message(m.role, m.content, tool_calls=m.tool_calls, tool_call_id=m.tool_call_id) for m in messages]


def schema_prompts(
    lines: Iterable[str], count_tokens: CountTokens, max_tokens: int, per_group: int, groups: int, seed: int
) -> list[Record]:
    """Requests that state every argument, and the call, for a random choice of servers.

    Servers whose tools break JSON Schema, or whose prompt exceeds `max_tokens`, are passed over.
    """
    servers = [json.loads(line) for line in lines]
    random.Random(derive_seed(seed, "servers")).shuffle(servers)
    records: list[Record] = []
    taken = 0
    for server in servers:
        if taken == groups:
            break
        try:
            tools = tuple(_tool(entry) for entry in server["tools"])
            conversations = _requests(tools, per_group, derive_seed(seed, "requests", server["server"]))
        except SchemaError:
            continue
        if conversations and count_tokens(_prompt(tools)) <= max_tokens:
            records += map(to_sharegpt, conversations)
            taken += 1
    if taken < groups:
        raise SystemExit(f"{taken} servers fit instead of --groups {groups}; ask for fewer or raise --max-tokens")
    return records


def fitting(records: Iterable[Record], count_tokens: CountTokens, max_tokens: int) -> list[Record]:
    """Records that are valid and have at most `max_tokens` tokens, so that no trainer cuts or drops one."""
    kept = []
    for record in records:
        try:
            conversation = from_sharegpt(record)
            check_conversation(conversation)
            if count_tokens(conversation) <= max_tokens:
                kept.append(record)
        except (SchemaError, RenderError):
            continue
    return kept


def _tool(entry: Mapping[str, Any]) -> Tool:
    wire = {"name": entry["name"], "description": entry["description"], "parameters": entry["inputSchema"]}
    return Tool.from_wire({"type": "function", "function": wire}, entry["name"])


def _requests(tools: Sequence[Tool], count: int, seed: int) -> list[Conversation]:
    """`count` different checked conversations; empty if the tools leave too few."""
    rng = random.Random(seed)
    found: dict[str, Conversation] = {}
    for _ in range(20 * count):
        tool = rng.choice(tools)
        arguments = sample_value(tool.parameters, tool.parameters, rng)
        stated = ", ".join(f"{key.replace('_', ' ')} {_spoken(value)}" for key, value in arguments.items())
        deed = re.split(r"[.\n]", tool.description.strip())[0][:120].strip() or tool.name.replace("_", " ")
        request = rng.choice(_REQUESTS).format(deed[:1].lower() + deed[1:]) + (f", with {stated}." if stated else ".")
        call = ToolCall("call_0", tool.name, json.dumps(arguments, ensure_ascii=False))
        conversation = Conversation(
            (Message("user", request), Message("assistant", tool_calls=(call,))), tuple(tools), category="single"
        )
        try:
            check_conversation(conversation)
        except SchemaError as error:
            if "arguments" in str(error):  # a pattern or condition that the sampler does not know
                continue
            raise
        found.setdefault(request, conversation)
        if len(found) == count:
            return list(found.values())
    return []


def _spoken(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def sample_value(schema: Any, root: Mapping[str, Any], rng: random.Random, depth: int = 0) -> Any:
    """A value of a JSON Schema: type, enum, const, properties, items, bounds, alternatives and local references.

    Args:
        schema: of the value.
        root: schema that local references (`#/...`) start from.
        rng: source of choices.
        depth: levels above; optional properties are left out and lists are short below the second.
    """
    if not isinstance(schema, Mapping):
        return rng.choice(_WORDS)
    if reference := schema.get("$ref"):
        target: Any = root
        for part in str(reference).removeprefix("#/").split("/"):
            target = target.get(part, {}) if isinstance(target, Mapping) else {}
        return sample_value(target, root, rng, depth + 1) if depth < 6 else rng.choice(_WORDS)
    for key in ("anyOf", "oneOf"):
        if options := [o for o in schema.get(key, ()) if not (isinstance(o, Mapping) and o.get("type") == "null")]:
            return sample_value(rng.choice(options), root, rng, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    kind = schema.get("type") or ("object" if "properties" in schema else "string")
    kind = next((k for k in kind if k != "null"), "string") if isinstance(kind, list) else kind
    return _SAMPLERS.get(kind, _text)(schema, root, rng, depth)


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], rng: random.Random, depth: int) -> Any:
    required = schema.get("required") or ()
    wanted = {
        k: s for k, s in schema.get("properties", {}).items() if k in required or (depth < 2 and rng.random() < 0.4)
    }
    return {key: sample_value(value, root, rng, depth + 1) for key, value in wanted.items()}


def _array(schema: Mapping[str, Any], root: Mapping[str, Any], rng: random.Random, depth: int) -> Any:
    count = max(int(schema.get("minItems", 0)), 1 if depth > 2 else rng.randint(1, 3))
    return [sample_value(schema.get("items", {}), root, rng, depth + 1) for _ in range(count)]


def _text(schema: Mapping[str, Any], root: Mapping[str, Any], rng: random.Random, depth: int) -> Any:
    return {
        "date": "2026-03-14",
        "date-time": "2026-03-14T09:30:00Z",
        "uri": f"https://example.com/{rng.choice(_WORDS)}",
        "email": f"{rng.choice(_WORDS)}@example.com",
    }.get(str(schema.get("format")), " ".join(rng.choices(_WORDS, k=rng.randint(1, 3))))


def _integer(schema: Mapping[str, Any], root: Mapping[str, Any], rng: random.Random, depth: int) -> Any:
    low = int(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
    return rng.randint(low, max(low, int(schema.get("maximum", low + 99))))


def _number(schema: Mapping[str, Any], root: Mapping[str, Any], rng: random.Random, depth: int) -> Any:
    low = float(schema.get("minimum", 0))
    return round(rng.uniform(low, float(schema.get("maximum", low + 100))), 2)


def _boolean(schema: Mapping[str, Any], root: Mapping[str, Any], rng: random.Random, depth: int) -> Any:
    return rng.random() < 0.5


_SAMPLERS = {"object": _object, "array": _array, "integer": _integer, "number": _number, "boolean": _boolean}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("shared", "schemas", "fitting"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--prompt-tokens", type=int, default=2048, help="shared: of a prompt, about")
    parser.add_argument("--branch-tokens", type=int, default=100, help="shared: what follows the prompt, about")
    parser.add_argument("--per-group", type=int, default=16)
    parser.add_argument("--groups", type=int, default=4)
    parser.add_argument("--source", type=Path, help="schemas: one server a line; fitting: a ShareGPT file")
    parser.add_argument("--max-tokens", type=int, default=6000, help="schemas: of a prompt; fitting: of a conversation")
    parser.add_argument("--seed", type=int, default=0)
    add_model_arguments(parser)
    arguments = parser.parse_args()
    renderer = load_renderer(arguments)

    def count_tokens(conversation: Conversation) -> int:
        if conversation.messages[-1].role == "user":
            text = renderer.prompt(conversation)
        else:
            text = "".join(segment.text for segment in renderer.render(conversation)[0])
        return len(renderer.tokenizer(text, add_special_tokens=False)["input_ids"])

    sizes = arguments.per_group, arguments.groups, arguments.seed
    if arguments.kind == "shared":
        records = shared_prompts(count_tokens, arguments.prompt_tokens, arguments.branch_tokens, *sizes)
    elif arguments.source is None:
        parser.error(f"{arguments.kind} needs --source FILE")
    elif arguments.kind == "schemas":
        lines = arguments.source.read_text(encoding="utf-8").splitlines()
        records = schema_prompts(lines, count_tokens, arguments.max_tokens, *sizes)
    else:
        records = json.loads(arguments.source.read_text(encoding="utf-8"))
        records = fitting(records, count_tokens, arguments.max_tokens)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    print(json.dumps({"file": str(arguments.out), "samples": len(records)}))


if __name__ == "__main__":
    main()
