"""A tiny catalogue with the real teacher's interface."""

import json
import os
import random
import signal
import time
from multiprocessing import parent_process

from data_pipeline.teachers import PlannedTeacher
from fcdist.config.seeds import derive_seed
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

CITIES = ("Oslo", "Rome", "Lima", "Kyoto", "Cairo")
CATEGORIES = ("single", "negative")
TOOLS = tuple(
    tuple(
        Tool(
            f"{verb}_{i}",
            "Look something up.",
            {
                "type": "object",
                "properties": {"city": {"type": "string"}, "nights": {"type": "integer"}},
                "required": ["city", "nights"],
            },
        )
        for verb in ("find_hotel", "find_hostel")
    )
    for i in range(3)
)


class FakePlanner:
    """Hotels; attempt 0 of every fifth index carries a flaw that `fake_check` finds."""

    def __init__(self, seed, block=4, delay_s=0.0):
        self.seed, self.block, self.delay_s = seed, block, delay_s

    def conversation(self, index, attempt=0):
        time.sleep(self.delay_s)
        rng = random.Random(derive_seed(self.seed, index, attempt))
        tools = TOOLS[index // self.block % len(TOOLS)]
        city, nights = rng.choice(CITIES), rng.randint(2, 90)
        category = CATEGORIES[index % 2]
        flaw = "flawed " if index % 5 == 0 and attempt == 0 else ""
        if category == "negative":
            messages = (
                Message("user", f"{flaw}Tell me a joke about {city}, number {nights}."),
                Message("assistant", f"Here is joke {nights} about {city}.", thought="No function tells jokes."),
            )
        else:
            call = ToolCall("call_0", tools[0].name, json.dumps({"city": city, "nights": nights}))
            messages = (
                Message("user", f"{flaw}I need a hotel in {city} for {nights} nights."),
                Message("assistant", thought=f"{tools[0].name} fits: {city}, {nights} nights.", tool_calls=(call,)),
                Message("tool", json.dumps({"price": nights * 10}), tool_call_id="call_0"),
                Message("assistant", f"It costs {nights * 10}."),
            )
        return Conversation(messages, tools, id=f"c{index}", source="fake", category=category, language="en")

    def execute(self, conversation):
        calls = (json.loads(call.arguments) for m in conversation.messages for call in m.tool_calls)
        return ({"price": arguments["nights"] * 10} for arguments in calls)


def fake_check(conversations):
    return ["flawed" if "flawed" in (c.messages[0].content or "") else None for c in conversations]


def never(conversations):
    return ["never"] * len(conversations)


def make_fake(config, run_dir):
    return PlannedTeacher(FakePlanner(config.seed), "fake")


def make_slow(config, run_dir):
    return PlannedTeacher(FakePlanner(config.seed, delay_s=0.004), "fake")


def make_dying(config, run_dir):
    if parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return make_fake(config, run_dir)


def never_in_worker(conversations):
    return ["never" if parent_process() is not None else None] * len(conversations)
