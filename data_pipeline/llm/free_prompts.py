"""What the free mode asks, in the language of the conversation. Versioned: a change asks anew."""

from collections.abc import Mapping, Sequence
from typing import Any

from data_pipeline.llm.prompts import task_messages

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
        "one request that needs several calls at once: one assistant turn holds them all",
        "一个请求需要同时发出多个调用：一次助手发言里包含所有调用",
    ),
    "chain": (
        "one request; a later call uses what an earlier one returned",
        "一个请求；后面的调用用到前面调用的返回结果",
    ),
    "follow_up": (
        "a request and its answer, then the user builds on it",
        "先完成一个请求，用户再接着往下问",
    ),
    "correction": (
        "the user corrects themselves, changes their mind or takes the request back; the calls follow what they want "
        "by then",
        "用户更正自己、改变主意或收回请求；调用以当时的意愿为准",
    ),
    "recovery": (
        "a result is an error or empty; the assistant says so plainly and goes on as the outline shows",
        "某次结果是错误或为空；助手如实说明，再按提纲继续",
    ),
    "slot_filling": (
        "the user leaves something out that a call needs; the assistant asks for exactly that and never makes it up",
        "用户没说调用所需的某项内容；助手只追问这一项，绝不编造",
    ),
    "negative": (
        "no call at all: no function serves what the user wants, or nothing has to be done; the assistant answers from "
        "what it knows, or says what it cannot do",
        "绝不调用：没有函数能满足用户，或者什么都不必做；助手凭已知内容回答，或说明自己做不到",
    ),
}
_OTHER_KIND = ("the calls are made in the order of the facts", "按事实的先后顺序进行调用")

_ENGLISH = """\
You write dialogues between a user and an assistant that can call functions, as training data. You get the functions \
and a list of wanted conversations. Write every one of them, so that it sounds like real people.

For each wanted conversation:
- `kind` says what it is, and `manner` how this user talks. `system`, where given, stands before the dialogue and is \
not written by you; dates are reckoned from it.
- `facts` are the calls that belong in it, with the results that the system returned. They are all that the assistant \
knows of the world.
- `outline` lists the turns: the user's, the assistant's that calls (`facts`: numbers of the facts, counted from 0), \
and the assistant's that speaks. Write exactly these turns, in this order. `gist` says what a turn is about: find your \
own words and situation for it. Strings in `keep` stand in the turn as they are. An assistant's turn without `gist` \
tells what the results say.

How to write a turn:
- `user`: only `text`. All that a call needs is said by the user, follows from the system message, or stands in an \
earlier result; what comes up later in the outline is not said earlier. Names, numbers and identifiers stand in the \
user's words as in the call; a date may be said in everyday words. Users never mention functions or parameters.
- `assistant` that calls: `thought` (one or two sentences: which function, by its name, and why, with the values) and \
`calls`; `text` is null. Copy name and arguments from the fact, the arguments as JSON text.
- `observation`: one after each call, in order; `text` is the result of the fact, as JSON text.
- `assistant` that speaks: `text`, and where it asks or does not call, a short `thought` (what is missing, by the same \
words as in `keep`, or why no function fits); `calls` is empty. An answer says only what the results say, with their \
numbers, names and identifiers unchanged. It adds no fact, no promise and no advice.

Vary situations, openings, length and order of words between conversations; no two may start alike. Write English.

Reply with JSON alone: {"conversations": [{"id": 0, "turns": [{"role": "user", "thought": null, "calls": [], \
"text": "..."}, ...]}, ...]}"""

_CHINESE = """\
你要写“用户与能调用函数的助手”之间的对话，用作训练数据。你会得到函数列表和需要写的对话清单。请写出清单中的每一段对话，\
让它们听起来像真人说的话。

清单中的每一项：
- `kind` 说明对话的类型，`manner` 说明这位用户说话的方式。`system`（如有）放在对话之前，不用你写；日期以它为准。
- `facts` 是对话中的调用和系统返回的结果，助手对外界只知道这些。
- `outline` 依次列出每个发言：用户的、助手调用的（`facts` 是事实的编号，从 0 数起）、助手说话的。\
发言的数目和顺序必须与提纲完全一致。`gist` 是这句话的大意：请换成自己的说法和情境。\
`keep` 里的字符串要一字不差地出现在这句话里。没有 `gist` 的助手发言，就是转述结果。

怎样写发言：
- `user`：只有 `text`。调用所需的一切，要么由用户说出，要么能由系统消息推出，要么出现在之前的结果里；\
提纲后面才出现的内容，前面不要说。\
名称、数字和编号在用户的话里与调用中一致；日期可以用日常说法。用户不会提到函数或参数。
- 进行调用的 `assistant`：有 `thought`（一两句话：用哪个函数，写出函数名，为什么，取哪些值）和 `calls`，\
`text` 为 null。函数名和参数照抄事实，参数以 JSON 文本给出。
- `observation`：每个调用之后各一条，顺序一致；`text` 是事实中的结果，以 JSON 文本给出。
- 说话的 `assistant`：有 `text`，`calls` 为空；在追问或不调用时另写简短的 `thought`\
（缺少什么，用 `keep` 里的说法，或为什么没有合适的函数）。\
回答只说结果里有的内容，数字、名称和编号不变；不补充事实，不许诺，不给建议。

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
    return task_messages(_CHINESE if language == "zh" else _ENGLISH, tools, wanted=list(wanted))
