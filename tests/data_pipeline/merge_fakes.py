"""Conversations and shard folders for tests of the merge."""

import json
import random

from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall
from fcdist.schema.shards import ShardWriter, write_manifest

WORDS = ["amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "iris", "jade", "kelp", "lotus"]
WORDS += ["maple", "nadir", "onyx", "pearl", "quartz", "raven", "slate", "tulip", "umber", "vapor", "willow", "xenon"]


def tool(name, *parameters):
    properties = {key: {"type": "string", "description": key} for key in parameters or ("city",)}
    return Tool(name, f"Does {name}.", {"type": "object", "properties": properties, "required": list(properties)})


def called(said, arguments, tools=None, number=0, **fields):
    """One user turn, one call of the first tool, its result and the answer."""
    tools = tools or (tool("find_hotel"),)
    call = ToolCall("call_1", tools[0].name, json.dumps(arguments, ensure_ascii=False))
    messages = (
        Message("user", said),
        Message("assistant", thought=f"{tools[0].name} fits.", tool_calls=(call,)),
        Message("tool", '{"status": "booked"}', tool_call_id="call_1", name=tools[0].name),
        Message("assistant", "It is booked."),
    )
    return conversation(messages, tools, number, category="single", **fields)


def chatted(said, tools=None, number=0, answer="Sorry, nothing here does that.", **fields):
    """One user turn and an answer without a call."""
    messages = (Message("user", said), Message("assistant", answer, thought="No function fits."))
    return conversation(messages, tools or (tool("find_hotel"),), number, category="negative", **fields)


def conversation(messages, tools, number, category, metadata=None, language="en"):
    return Conversation(tuple(messages), tuple(tools), f"c{number}", "fake", category, language, metadata)


def varied(count, seed=0, tools_every=4):
    """Conversations of random words, `tools_every` of them on one tool set; some repeat an earlier one (nearly)."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        tools = (tool(f"book_{number // tools_every}"),)
        said = " ".join(rng.choices(WORDS, k=rng.randint(6, 20)))
        if made and rng.random() < 0.4:
            words = made[rng.randrange(len(made))].messages[0].content.split()
            words[rng.choice((-1, -1, len(words) // 2))] = rng.choice(WORDS)
            said = " ".join(words)
        make = chatted if rng.random() < 0.3 else called
        made.append(
            make(said, tools=tools, number=number) if make is chatted else called(said, {"city": "Oslo"}, tools, number)
        )
    return made


def write_shards(folder, conversations, sizes=None, rejected=(), **facts):
    """A folder of shards with a manifest; `sizes` are the numbers of conversations of each shard."""
    sizes = sizes or [len(conversations)]
    start, shards = 0, {}
    for number, size in enumerate(sizes):
        name = f"shard-{number:05d}.jsonl"
        with ShardWriter(folder / name) as shard:
            for item in conversations[start : start + size]:
                shard.write(item)
        shards[name] = {"counts": dict(shard.counts)}
        start += size
    assert start == len(conversations)
    if rejected:
        with ShardWriter(folder / "shard-00000.rejected.jsonl") as shard:
            for item, reason in rejected:
                shard.write(item, reason=reason, attempt=0)
    write_manifest(folder, shards, **facts)
    return folder
