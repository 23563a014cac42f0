"""What the free mode asks, in the language of the conversation. Versioned: a change asks anew."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

VERSION = "free-1"

_TURN = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "enum": ["user", "assistant", "observation"]},
        "thought": {"type": ["string", "null"]},
        "calls": {
            "type": "array",
            "items": {
                "type": "object",
                # Strict outputs know no free-form objects, so arguments and results travel as JSON text.
                "properties": {"name": {"type": "string"}, "arguments": {"type": "string"}},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            },
        },
        "text": {"type": ["string", "null"]},
    },
    "required": ["role", "thought", "calls", "text"],
    "additionalProperties": False,
}
DIALOGUE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "conversations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"id": {"type": "integer"}, "turns": {"type": "array", "items": _TURN}},
                "required": ["id", "turns"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["conversations"],
    "additionalProperties": False,
}

KINDS: Mapping[str, tuple[str, str]] = {
    "single": ("one request, one call, one answer", "一个请求、一次调用、一个回答"),
    "nested": (
        "one request whose values fill the nested objects or lists of one call",
        "一个请求，其内容填入一次调用中的嵌套对象或列表",
    ),
    "date": (
        "one request with a date said in everyday words, which the call turns into a calendar date",
        "一个请求，用日常说法提到日期，调用中换算成具体日期",
    ),
    "parallel": (
        "one request that needs all the calls at once: one assistant turn holds them all",
        "一个请求需要同时发出全部调用：一次助手发言里包含所有调用",
    ),
    "chain": (
        "one request; each call uses what the one before returned, so there is one call in each assistant turn and no "
        "user turn between them",
        "一个请求；后一次调用用到前一次的返回结果，因此每次助手发言只调用一次，中间没有用户发言",
    ),
    "follow_up": (
        "a request and its answer, then the user builds on it with another request",
        "先完成一个请求，用户再接着提出相关的新请求",
    ),
    "multi_turn": (
        "several requests one after the other, each answered before the next",
        "先后几个请求，逐一完成",
    ),
    "correction": (
        "the user changes their mind or corrects themselves, and the calls follow what they want in the end",
        "用户改变主意或更正自己，调用以最终意愿为准",
    ),
    "recovery": (
        "a result is an error or empty; the assistant says so plainly and goes on as the facts show",
        "某次结果是错误或为空；助手如实说明，并按事实继续",
    ),
    "slot_filling": (
        "the user leaves out what `ask_for` names; the assistant asks for exactly that, in these words, without "
        "calling; the user answers; then the call",
        "用户没说 `ask_for` 里的内容；助手先不调用，只用这些说法追问；用户回答后再调用",
    ),
    "negative": (
        "no function serves what the user wants: no call at all; the assistant answers from general knowledge, or says "
        "what it cannot do",
        "没有函数能满足用户：绝不调用；助手凭常识回答，或说明自己做不到",
    ),
}
_OTHER_KIND = ("the calls are made in the order of the facts", "按事实的先后顺序进行调用")

MANNERS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "in a hurry, a few words",
        "polite, one long sentence",
        "explains the reason first, then asks",
        "types on a phone, no capital letters",
        "blunt, no greeting",
        "thinks aloud",
        "chatty and cheerful",
        "precise, like a form",
        "unsure, hedges",
        "asks on behalf of someone else",
        "plain and businesslike",
        "a little annoyed",
    ),
    "zh": (
        "赶时间，只有几个字",
        "客气，一句长话",
        "先说原因再提要求",
        "手机打字，不加标点",
        "直截了当，不寒暄",
        "边想边说",
        "健谈，语气轻快",
        "说得很准确，像填表",
        "拿不准，语气犹豫",
        "替别人问",
        "平实，公事公办",
        "有点不耐烦",
    ),
}

_ENGLISH = """\
You write dialogues between a user and an assistant that can call functions, as training data. You get the functions \
and a list of wanted conversations. Write every wanted conversation, and make it sound like real people.

For each wanted conversation:
- `kind` says what it is. `facts` are calls that belong in it, with the results that the system returned, in order. \
They are all the assistant knows of the world. `idea`, where given, is what the user is after: find your own words and \
situation for it. `system`, where given, stands before the dialogue; dates are reckoned from it. `manner` is how this \
user talks.

Turns:
- `user`: only `text`. Everything a call needs is said by the user, follows from the system message or stands in an \
earlier result. Names, numbers and identifiers appear in the user's words as they do in the call; a date may be said \
in everyday words. Users never mention functions or parameters.
- `assistant` that calls: `thought` (one or two sentences: which function, by its name, and with which values) and \
`calls`; `text` is null. Copy arguments from the facts as they are, as JSON text. Make exactly the calls of the facts.
- `observation`: one for each call, in order, directly after it; `text` is the result from the facts, as JSON text.
- `assistant` that answers or asks: `text`, and a short `thought` where it decides not to call (what is missing, or \
why no function fits); `calls` is empty.
- The last turn is the assistant's. An answer says only what the results say, with their numbers, names and \
identifiers unchanged. It adds no fact, no promise and no advice.

Vary situations, openings, length and order of words between conversations; no two may start alike. Write English.

Reply with JSON alone: {"conversations": [{"id": 0, "turns": [{"role": "user", "thought": null, "calls": [], \
"text": "..."}, ...]}, ...]}"""

_CHINESE = """\
你要写“用户与能调用函数的助手”之间的对话，用作训练数据。你会得到函数列表和需要写的对话清单。请写出清单中的每一段对话，\
让它们听起来像真人说的话。

清单中的每一项：
- `kind` 说明对话的类型。`facts` 是对话中要发生的调用以及系统返回的结果，按先后排列，助手对外界只知道这些。\
`idea`（如有）是用户想要的事：请换成自己的说法和情境。`system`（如有）放在对话之前，日期以它为准。\
`manner` 是这位用户说话的方式。

发言：
- `user`：只有 `text`。调用所需的一切，要么由用户说出，要么能由系统消息推出，要么出现在之前的结果里。\
名称、数字和编号在用户的话里与调用中一致；日期可以用日常说法。用户不会提到函数或参数。
- 进行调用的 `assistant`：有 `thought`（一两句话：用哪个函数，写出函数名，取哪些值）和 `calls`，`text` 为 null。\
参数照抄事实，以 JSON 文本给出。事实中的调用一个不多、一个不少。
- `observation`：紧跟在调用之后，每个调用一条，顺序一致；`text` 是事实中的结果，以 JSON 文本给出。
- 回答或追问的 `assistant`：有 `text`；决定不调用时另写简短的 `thought`（缺少什么，或为什么没有合适的函数）；\
`calls` 为空。
- 最后一句由助手说。回答只说结果里有的内容，数字、名称和编号不变；不补充事实，不许诺，不给建议。

不同对话的情境、开头、长短和语序要有变化，不要雷同。用中文书写。

只回复 JSON：{"conversations": [{"id": 0, "turns": [{"role": "user", "thought": null, "calls": [], "text": "..."}, \
...]}, ...]}"""


def kind_of(category: str, language: str) -> str:
    """What a conversation of `category` is, in words."""
    return KINDS.get(category, _OTHER_KIND)[language == "zh"]


def dialogue_messages(
    language: str, tools: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, str], ...]:
    """Messages that ask for whole dialogues about one tool set.

    Args:
        language: `zh` for the Chinese prompt, anything else for the English one.
        tools: in OpenAI wire form.
        wanted: what each conversation has to be, see `free.describe_wanted`.

    Returns:
        A system and a user message.
    """
    task = {"functions": [tool["function"] for tool in tools], "wanted": list(wanted)}
    return (
        {"role": "system", "content": _CHINESE if language == "zh" else _ENGLISH},
        {"role": "user", "content": json.dumps(task, ensure_ascii=False)},
    )
