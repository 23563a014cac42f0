"""Words that are wrong: questions, answers, thoughts, results and what else is said."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

from benchmarks.corruptions.editing import ISO_DAY, language, leaves, with_message
from fcdist.schema.conversation import Conversation, Message


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
            if isinstance(value, str) and ISO_DAY.fullmatch(value) and value in thought:
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
