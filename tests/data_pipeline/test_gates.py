"""Gates catch what is wrong: seeded corruptions of good conversations, each of a known kind."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta

import pytest

from data_pipeline.gates import GATES, first_failure
from data_pipeline.programmatic import ProgrammaticTeacher
from fcdist.config.types import GenerateConfig
from fcdist.schema.conversation import Conversation, Message, ToolCall

Corruption = Callable[[Conversation, random.Random], Conversation | None]


def with_call(conversation: Conversation, change: Callable[[ToolCall], ToolCall | None]) -> Conversation | None:
    """The conversation with its first call changed, or None where that is not possible."""
    for position, message in enumerate(conversation.messages):
        if message.tool_calls:
            changed = change(message.tool_calls[0])
            if changed is None or changed == message.tool_calls[0]:
                return None
            calls = (changed, *message.tool_calls[1:])
            return with_message(conversation, position, replace(message, tool_calls=calls))
    return None


def with_message(conversation: Conversation, position: int, message: Message) -> Conversation:
    messages = list(conversation.messages)
    messages[position] = message
    return replace(conversation, messages=tuple(messages))


def with_argument(conversation: Conversation, change: Callable[[str, object], object]) -> Conversation | None:
    """The first call with the first argument for which `change` gives something else."""

    def changed(call: ToolCall) -> ToolCall | None:
        arguments = json.loads(call.arguments)
        for key, value in arguments.items():
            new = change(key, value)
            if new is not None and new != value:
                return replace(call, arguments=json.dumps({**arguments, key: new}, ensure_ascii=False))
        return None

    return with_call(conversation, changed)


def wrong_date(c, rng):
    def shift(key, value):
        if isinstance(value, str) and len(value) == 10 and value[4] == value[7] == "-" and value[:4].isdigit():
            return (date.fromisoformat(value) + timedelta(rng.choice((-7, -1, 1, 7, 365)))).isoformat()
        return None

    return with_argument(c, shift)


def wrong_number(c, rng):
    return with_argument(c, lambda k, v: v + rng.choice((1, 7, 100)) if type(v) in (int, float) else None)


def wrong_text(c, rng):
    return with_argument(c, lambda k, v: "Quxville" if isinstance(v, str) else None)


def invented_id(c, rng):
    def invent(key, value):
        return f"ZZ-{rng.randint(10**5, 10**6)}" if isinstance(value, str) and key.lower().endswith("id") else None

    return with_argument(c, invent)


def swapped_arguments(c, rng):
    def swap(call):
        arguments = json.loads(call.arguments)
        for a in arguments:
            for b in arguments:
                same_kind = type(arguments[a]) is type(arguments[b]) and isinstance(arguments[a], str | int | float)
                if a < b and same_kind and arguments[a] != arguments[b]:
                    swapped = {**arguments, a: arguments[b], b: arguments[a]}
                    return replace(call, arguments=json.dumps(swapped, ensure_ascii=False))
        return None

    return with_call(c, swap)


def unknown_tool(c, rng):
    return with_call(c, lambda call: replace(call, name=call.name + "_x"))


def missing_slot(c, rng):
    def drop(call):
        arguments = json.loads(call.arguments)
        required = next(t for t in c.tools if t.name == call.name).parameters["required"]
        if not required:
            return None
        arguments.pop(rng.choice(required))
        return replace(call, arguments=json.dumps(arguments, ensure_ascii=False))

    return with_call(c, drop)


def unsaid_optional(c, rng):
    def add(call):
        arguments = json.loads(call.arguments)
        properties = next(t for t in c.tools if t.name == call.name).parameters["properties"]
        spare = [k for k, v in properties.items() if k not in arguments and v.get("type") == "integer"]
        return replace(call, arguments=json.dumps({**arguments, spare[0]: 3})) if spare else None

    return with_call(c, add)


def call_in_negative(c, rng):
    if c.category != "negative" or c.tools[0].parameters["required"] == []:
        return None
    last = c.messages[-1]
    call = ToolCall("call_1", c.tools[0].name, "{}")
    return replace(c, messages=(*c.messages[:-1], replace(last, content=None, tool_calls=(call,))))


def question_skipped(c, rng):
    if c.category != "slot_filling":
        return None
    ask = next(i for i, m in enumerate(c.messages) if m.role == "assistant")
    return None if c.messages[ask].tool_calls else replace(c, messages=c.messages[:ask] + c.messages[ask + 2 :])


def question_for_other_slot(c, rng):
    if not c.metadata.get("missing"):
        return None
    ask = next(i for i, m in enumerate(c.messages) if m.role == "assistant")
    return with_message(c, ask, replace(c.messages[ask], content="What is your shoe size?"))


def answer_contradicts(c, rng):
    for position in range(len(c.messages) - 1, 0, -1):
        message = c.messages[position]
        if message.role == "assistant" and message.content and c.messages[position - 1].role == "tool":
            if not any(char.isdigit() for char in message.content):
                return None
            changed = "".join(str((int(x) + 3) % 10) if x.isascii() and x.isdigit() else x for x in message.content)
            return with_message(c, position, replace(message, content=changed))
    return None


def thought_names_other_tool(c, rng):
    for position, message in enumerate(c.messages):
        if message.tool_calls and message.thought:
            return with_message(c, position, replace(message, thought="Use teleport_home now."))
    return None


def repeated_call(c, rng):
    for position, message in enumerate(c.messages):
        if message.tool_calls:
            end = position + 1 + len(message.tool_calls)
            return replace(c, messages=(*c.messages[:end], *c.messages[position:]))
    return None


CORRUPTIONS: dict[str, Corruption] = {
    f.__name__: f
    for f in (
        wrong_date,
        wrong_number,
        wrong_text,
        invented_id,
        swapped_arguments,
        unknown_tool,
        missing_slot,
        unsaid_optional,
        call_in_negative,
        question_skipped,
        question_for_other_slot,
        answer_contradicts,
        thought_names_other_tool,
        repeated_call,
    )
}


@pytest.fixture(scope="module")
def good() -> list[Conversation]:
    teacher = ProgrammaticTeacher(GenerateConfig(num_conversations=400), seed=21)
    return [teacher.conversation(i) for i in range(400)]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_are_caught(name, good):
    rng = random.Random(name)
    broken = [b for c in good if (b := CORRUPTIONS[name](c, rng)) is not None][:60]
    assert len(broken) >= 10
    missed = [c for c in broken if first_failure(GATES, c) is None]
    assert len(missed) <= 0.05 * len(broken), [(c.id, [m.content for m in c.messages]) for c in missed[:3]]


def test_without_declared_words_values_are_still_traced(good):
    plain = [replace(c, metadata=None) for c in good]
    failed = [c for c in plain if first_failure(GATES, c) is not None]
    assert len(failed) <= 0.03 * len(plain), [(first_failure(GATES, c), c.id) for c in failed[:5]]
    rng = random.Random(0)
    broken = [b for c in plain if (b := wrong_text(c, rng)) is not None]
    caught = [c for c in broken if first_failure(GATES, c) is not None]
    assert len(caught) >= 0.95 * len(broken)
