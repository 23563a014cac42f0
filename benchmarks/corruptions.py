"""Ways in which a good conversation can be spoilt, each in one place and for one known reason."""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from fcdist.schema.conversation import Conversation, Message, ToolCall

Corruption = Callable[[Conversation, random.Random], Conversation | None]
"""(good conversation, stream) → the same with one error; None where this error cannot be made."""

_ISO = re.compile(r"\d{4}-\d{2}-\d{2}")
_CLOCK = re.compile(r"\d{2}:\d{2}")
_IDENTIFIER = re.compile(r"[A-Z]{2,}-?\d{3,}")
_OTHER_NAMES = ("Quxville", "Zanzibaria", "Mirabelle Grünfeld", "莫尔多瓦镇", "欧阳无忌", "Blorptastic Ltd")


def with_message(c: Conversation, place: int, **changes: Any) -> Conversation:
    """The conversation with one message changed."""
    messages = list(c.messages)
    messages[place] = replace(messages[place], **changes)
    return replace(c, messages=tuple(messages))


def language(c: Conversation) -> str:
    """`zh` or `en`; rows of people do not say."""
    return c.language or ("zh" if re.search("[\u4e00-\u9fff]", c.messages[-1].content or "") else "en")


def calling(c: Conversation) -> Iterator[tuple[int, int, ToolCall, dict[str, Any]]]:
    """(message, number in it, call, arguments) of every call."""
    for place, message in enumerate(c.messages):
        for number, call in enumerate(message.tool_calls):
            yield place, number, call, json.loads(call.arguments)


def with_arguments(c: Conversation, place: int, number: int, arguments: Mapping[str, Any]) -> Conversation:
    """The conversation with the arguments of one call changed."""
    calls = list(c.messages[place].tool_calls)
    calls[number] = replace(calls[number], arguments=json.dumps(arguments, ensure_ascii=False))
    return with_message(c, place, tool_calls=tuple(calls))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every leaf with its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
    else:
        for key, item in items:
            yield from leaves(item, (*path, key))


def with_leaf(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of nested `value` with another leaf."""
    if not path:
        return new
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = with_leaf(value[path[0]], path[1:], new)
    return copied


def other_leaf(change: Callable[[Any, random.Random], Any]) -> Corruption:
    """Change one leaf of one call, and what the thought before it says, as a model that errs would write it."""

    def corrupt(c: Conversation, rng: random.Random) -> Conversation | None:
        found = [
            (place, number, arguments, path, value, new)
            for place, number, _, arguments in calling(c)
            for path, value in leaves(arguments)
            if (new := change(value, rng)) is not None and new != value
        ]
        if not found:
            return None
        place, number, arguments, path, value, new = rng.choice(found)
        spoilt = with_arguments(c, place, number, with_leaf(arguments, path, new))
        thought = c.messages[place].thought
        return with_message(spoilt, place, thought=thought and thought.replace(f"= {value}", f"= {new}"))

    return corrupt


def _shifted_day(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, str) or not _ISO.fullmatch(value[:10]):
        return None
    return (date.fromisoformat(value[:10]) + timedelta(rng.choice((-7, -1, 1, 7, 365)))).isoformat() + value[10:]


def _shifted_time(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, str) or not _CLOCK.fullmatch(value):
        return None
    return f"{(int(value[:2]) + rng.choice((1, 2, 12))) % 24:02d}:{value[3:]}"


def _other_number(value: Any, rng: random.Random) -> Any:
    return value + rng.choice((1, 3, 7, 100)) if type(value) in (int, float) else None


def _other_unit(value: Any, rng: random.Random) -> Any:
    return value * rng.choice((10, 60, 1000)) if type(value) in (int, float) and value else None


def _other_name(value: Any, rng: random.Random) -> Any:
    return rng.choice(_OTHER_NAMES) if isinstance(value, str) and not any(x.isdigit() for x in value) else None


def _invented_identifier(value: Any, rng: random.Random) -> Any:
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        return None
    return re.sub(r"\d", lambda _: str(rng.randint(0, 9)), value)


def swapped_arguments(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, number, _, arguments in calling(c):
        for a in arguments:
            for b in arguments:
                alike = type(arguments[a]) is type(arguments[b]) and isinstance(arguments[a], str | int | float)
                if a < b and alike and arguments[a] != arguments[b]:
                    return with_arguments(c, place, number, {**arguments, a: arguments[b], b: arguments[a]})
    return None


def missing_argument(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, number, call, arguments in calling(c):
        required = next(t for t in c.tools if t.name == call.name).parameters["required"]
        if required:
            dropped = rng.choice(required)
            return with_arguments(c, place, number, {k: v for k, v in arguments.items() if k != dropped})
    return None


def extra_argument(c: Conversation, rng: random.Random) -> Conversation | None:
    """An optional argument that nobody asked for."""
    for place, number, call, arguments in calling(c):
        properties = next(t for t in c.tools if t.name == call.name).parameters["properties"]
        for key, schema in properties.items():
            if key not in arguments and schema.get("type") in ("integer", "number", "string"):
                value = schema["enum"][0] if schema.get("enum") else 3 if schema["type"] != "string" else "Quxville"
                return with_arguments(c, place, number, {**arguments, key: value})
    return None


def unknown_tool(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, number, call, _ in calling(c):
        calls = list(c.messages[place].tool_calls)
        calls[number] = replace(call, name=f"{call.name}_v9")
        return with_message(c, place, tool_calls=tuple(calls))
    return None


def dropped_tool(c: Conversation, rng: random.Random) -> Conversation | None:
    used = {call.name for _, _, call, _ in calling(c)}
    return replace(c, tools=tuple(t for t in c.tools if t.name not in used)) if used else None


def call_in_negative(c: Conversation, rng: random.Random) -> Conversation | None:
    """The first tool that needs nothing is called, or one with arguments that fit its schema."""
    if c.category != "negative":
        return None
    for tool in c.tools:
        properties = tool.parameters["properties"]
        if any(
            properties[key].get("type") not in ("string", "integer", "number") for key in tool.parameters["required"]
        ):
            continue
        arguments = {
            key: schema["enum"][0] if schema.get("enum") else 3 if schema["type"] != "string" else "Paris"
            for key, schema in properties.items()
            if key in tool.parameters["required"]
        }
        place = next(i for i, m in enumerate(c.messages) if m.role == "assistant")
        call = ToolCall("call_1", tool.name, json.dumps(arguments))
        thought = f"Call {tool.name}."
        messages = (*c.messages[:place], Message("assistant", None, thought, (call,)))
        return replace(c, messages=messages)
    return None


def question_skipped(c: Conversation, rng: random.Random) -> Conversation | None:
    if not (c.metadata or {}).get("missing"):
        return None
    ask = next(i for i, m in enumerate(c.messages) if m.role == "assistant")
    return None if c.messages[ask].tool_calls else replace(c, messages=c.messages[:ask] + c.messages[ask + 2 :])


def _question(c: Conversation) -> tuple[int, str, list[str]] | None:
    """(message, its text, nouns asked for) of a question for something missing."""
    missing = (c.metadata or {}).get("missing")
    if not missing:
        return None
    ask = next(i for i, m in enumerate(c.messages) if m.role == "assistant")
    return ask, c.messages[ask].content or "", [slot["noun"] for slot in missing]


def question_for_other_slot(c: Conversation, rng: random.Random) -> Conversation | None:
    if (found := _question(c)) is None:
        return None
    ask, text, nouns = found
    other = rng.choice(("鞋码", "血型") if language(c) == "zh" else ("shoe size", "blood type"))
    changed = text.replace(nouns[0], other)
    return with_message(c, ask, content=changed) if changed != text else None


def question_for_given_slot(c: Conversation, rng: random.Random) -> Conversation | None:
    """The question also asks for something that the user gave."""
    if (found := _question(c)) is None:
        return None
    ask, text, nouns = found
    others = [n for n in (c.metadata or {}).get("nouns", ()) if not any(n in noun for noun in nouns)]
    if not others:
        return None
    joint = "和" if language(c) == "zh" else " and the "
    changed = text.replace(nouns[-1], f"{nouns[-1]}{joint}{rng.choice(others)}", 1)
    return with_message(c, ask, content=changed) if changed != text else None


def _answers(c: Conversation) -> list[int]:
    return [
        i for i, m in enumerate(c.messages) if m.content and m.role == "assistant" and c.messages[i - 1].role == "tool"
    ]


def answer_contradicts(c: Conversation, rng: random.Random) -> Conversation | None:
    """All digits of an answer differ from those of the result."""
    for place in _answers(c):
        text = c.messages[place].content or ""
        if any(x.isdigit() and x.isascii() for x in text):
            changed = "".join(str((int(x) + 3) % 10) if x.isascii() and x.isdigit() else x for x in text)
            return with_message(c, place, content=changed)
    return None


_INVENTED = {
    "en": (
        "It costs {n} dollars.",
        "The confirmation code is QX{n}.",
        "It takes place at {h}:43 pm.",
        "They are open until February {d}, 2031.",
        "You can find it near Zanzibaria Harbour.",
        "Ask for Mirabelle Grunfeld at the desk.",
    ),
    "zh": (
        "费用是{n}元。",
        "确认码是QX{n}。",
        "时间是晚上{h}点43分。",
        "有效期到2031年2月{d}日。",
        "地点在“莫尔多瓦集市”。",
        "请联系Mirabelle。",
    ),
}


def invented_fact(c: Conversation, rng: random.Random) -> Conversation | None:
    """The answer tells one thing more than the result."""
    for place in _answers(c):
        said = rng.choice(_INVENTED[language(c)]).format(n=rng.randint(20000, 90000), h=rng.randint(6, 9), d=19)
        return with_message(c, place, content=f"{c.messages[place].content} {said}")
    return None


def _thought(c: Conversation) -> Iterator[tuple[int, Message]]:
    return ((i, m) for i, m in enumerate(c.messages) if m.tool_calls and m.thought)


def thought_names_other_tool(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, message in _thought(c):
        name = message.tool_calls[0].name
        others = [t.name for t in c.tools if t.name != name and name not in t.name] or ["teleport_home"]
        return with_message(c, place, thought=(message.thought or "").replace(name, rng.choice(others)))
    return None


def thought_tells_other_value(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, message in _thought(c):
        for _, value in leaves(json.loads(message.tool_calls[0].arguments)):
            thought = message.thought or ""
            if type(value) in (int, float) and re.search(rf"(?<![\d.]){re.escape(str(value))}(?![\d.])", thought):
                other = str(value + 17)
                changed = re.sub(rf"(?<![\d.]){re.escape(str(value))}(?![\d.])", other, thought)
                return with_message(c, place, thought=changed)
            if isinstance(value, str) and _ISO.fullmatch(value) and value in thought:
                other = (date.fromisoformat(value) + timedelta(40)).isoformat()
                return with_message(c, place, thought=thought.replace(value, other))
    return None


def result_changed(c: Conversation, rng: random.Random) -> Conversation | None:
    """Result and answer are changed alike: only executing the call again shows it."""
    for place, message in enumerate(c.messages[:-1]):
        after = c.messages[place + 1]
        if message.role != "tool" or after.role != "assistant" or not after.content:
            continue
        numbers = [v for _, v in leaves(json.loads(message.content or "")) if type(v) in (int, float) and v]
        if numbers:
            old, new = str(numbers[0]), str(numbers[0] + 2)
            changed = with_message(c, place, content=(message.content or "").replace(old, new))
            return with_message(changed, place + 1, content=after.content.replace(old, new))
    return None


def withdrawn_value_used(c: Conversation, rng: random.Random) -> Conversation | None:
    withdrawn = (c.metadata or {}).get("withdrawn")
    if not withdrawn:
        return None
    users = [i for i, m in enumerate(c.messages) if m.role == "user"]
    taken = withdrawn[0]
    for place, number, _, arguments in calling(c):
        path = tuple(taken["name"].split("."))
        present = dict(leaves(arguments)).get(path)
        if place > users[taken["turn"]] and present is not None and not isinstance(taken["value"], dict | list):
            return with_arguments(c, place, number, with_leaf(arguments, path, taken["value"]))
    return None


def success_after_error(c: Conversation, rng: random.Random) -> Conversation | None:
    said = {
        "en": ("Done, it has been booked.", "All set!", "Your request was completed successfully."),
        "zh": ("已为您预订成功。", "办好了！", "操作成功，已确认。"),
    }
    for place, message in enumerate(c.messages[:-1]):
        if message.role == "tool" and '"error"' in (message.content or "") and c.messages[place + 1].content:
            return with_message(c, place + 1, content=rng.choice(said[language(c)]))
    return None


def result_denied(c: Conversation, rng: random.Random) -> Conversation | None:
    """The answer says that nothing was found where something was."""
    said = {"en": "I'm sorry, I found nothing that matches.", "zh": "抱歉，没有找到符合条件的结果。"}
    for place in _answers(c):
        content = c.messages[place - 1].content or ""
        if "error" not in content and "[]" not in content:
            return with_message(c, place, content=said[language(c)])
    return None


def repeated_turn(c: Conversation, rng: random.Random) -> Conversation | None:
    """The last exchange takes place twice."""
    if len(c.messages[-2].content or "") + len(c.messages[-1].content or "") < 25 or c.messages[-2].role != "user":
        return None
    return replace(c, messages=(*c.messages, *c.messages[-2:]))


def repeated_call(c: Conversation, rng: random.Random) -> Conversation | None:
    for place, message in enumerate(c.messages):
        if message.tool_calls and "error" not in (c.messages[place + 1].content or ""):
            end = place + 1 + len(message.tool_calls)
            return replace(c, messages=(*c.messages[:end], *c.messages[place:]))
    return None


def invented_contact(c: Conversation, rng: random.Random) -> Conversation | None:
    said = {
        "en": ("Write to helen.marsh@brightmail.com.", "Call 415-555-0188 for help.", "Their number is +442079460018."),
        "zh": ("请联系chen.wei@mailbox.cn。", "客服电话13800138000。", "可以打010-62345678。"),
    }
    place = len(c.messages) - 1
    return with_message(c, place, content=f"{c.messages[place].content} {rng.choice(said[language(c)])}")


def card_number(c: Conversation, rng: random.Random) -> Conversation | None:
    """The user tells a number that could be somebody's credit card."""
    digits = [4, 5, 3, 9] + [rng.randint(0, 9) for _ in range(11)]
    total = sum(sum(divmod(2 * d, 10)) if i % 2 == 0 else d for i, d in enumerate(digits))
    number = "".join(map(str, [*digits, -total % 10]))
    place = next(i for i, m in enumerate(c.messages) if m.role == "user")
    said = f"{c.messages[place].content} {'卡号' if c.language == 'zh' else 'My card:'} {number}"
    return with_message(c, place, content=said)


def other_identity(c: Conversation, rng: random.Random) -> Conversation | None:
    said = {
        "en": ("As an AI language model, I am happy to help.", "I'm ChatGPT.", "I was trained by OpenAI."),
        "zh": ("作为一个人工智能语言模型，我很乐意帮忙。", "我是文心一言。", "我由OpenAI训练。"),
    }
    place = len(c.messages) - 1
    return with_message(c, place, content=f"{rng.choice(said[language(c)])} {c.messages[place].content}")


def wrong_weekday(c: Conversation, rng: random.Random) -> Conversation | None:
    """The system message tells a weekday that its date does not have."""
    text = c.messages[0].content or ""
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    named = next((day for day in days if day in text), None)
    if c.messages[0].role != "system" or named is None:
        return None
    return with_message(c, 0, content=text.replace(named, days[(days.index(named) + 2) % 7]))


def needless_call(c: Conversation, rng: random.Random) -> Conversation | None:
    """What the user took back, or knows already, is called all the same."""
    facts = c.metadata or {}
    made = [(c.messages[place], place) for place, *_ in calling(c)]
    if not made or not isinstance(facts.get("dropped", facts.get("recalled")), int):
        return None
    message, place = made[0]
    users = [i for i, m in enumerate(c.messages) if m.role == "user"]
    turn = users[facts.get("dropped", facts.get("recalled"))]
    end = place + 1 + len(message.tool_calls)
    return replace(c, messages=(*c.messages[: turn + 1], *c.messages[place:end], *c.messages[turn + 1 :]))


CORRUPTIONS: dict[str, Corruption] = {
    "wrong date": other_leaf(_shifted_day),
    "wrong time": other_leaf(_shifted_time),
    "wrong number": other_leaf(_other_number),
    "unit off": other_leaf(_other_unit),
    "wrong name": other_leaf(_other_name),
    "invented id": other_leaf(_invented_identifier),
    "swapped arguments": swapped_arguments,
    "missing argument": missing_argument,
    "unasked argument": extra_argument,
    "unknown tool": unknown_tool,
    "dropped tool": dropped_tool,
    "call in a negative": call_in_negative,
    "question skipped": question_skipped,
    "question for another slot": question_for_other_slot,
    "question for a given slot": question_for_given_slot,
    "answer contradicts result": answer_contradicts,
    "invented fact in answer": invented_fact,
    "result denied": result_denied,
    "other tool in thought": thought_names_other_tool,
    "other value in thought": thought_tells_other_value,
    "result changed": result_changed,
    "withdrawn value used": withdrawn_value_used,
    "success after error": success_after_error,
    "needless call": needless_call,
    "repeated exchange": repeated_turn,
    "repeated call": repeated_call,
    "invented contact": invented_contact,
    "card number": card_number,
    "foreign identity": other_identity,
    "wrong weekday": wrong_weekday,
}
