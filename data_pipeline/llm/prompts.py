"""What the language-model teacher is asked, in the language of the conversation. Versioned: a change asks anew."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

VERSION = "paraphrase-2"

ANSWER_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "conversations": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer"},
                    "texts": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["id", "texts"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["conversations"],
    "additionalProperties": False,
}

_ENGLISH = """\
You rewrite dialogues between a user and an assistant that can call functions, so that they sound like real people. \
The facts are settled: which functions are called, with which values, and what they return. Only the wording is yours.

You get the functions, and a list of conversations. Each conversation has its plan (all turns with calls and results) \
and `rewrite`: the texts to put into other words, in order. A text is by the `user`, or the assistant's `thought` \
before it acts, or the assistant's `answer`. `keep` lists what must appear in your version exactly as it is written.

Rules:
1. Give back every text, in the same order, one for one; never merge, split, add or leave out one.
2. Keep the meaning and every fact. Add no fact, name, date, number or wish that is not in the text.
3. Copy every string in `keep` letter by letter, in the same order.
4. `manner` says how the user of a conversation talks. Vary openings and order between conversations; do not start \
them alike. Users never mention functions or parameters.
5. What a user leaves open stays open: never fill in a value that the plan lets the assistant ask for.
6. A thought stays short and names the same function and the same values, or what is missing, or why no function fits.
7. An answer says only what the results say. A question keeps asking for the same missing things.
8. Write English.

Reply with JSON alone: {"conversations": [{"id": 0, "texts": ["...", "..."]}, ...]}"""

_CHINESE = """\
你负责改写“用户与能调用函数的助手”之间的对话，让它们听起来像真人说的话。事实已经确定：调用哪些函数、参数取什么值、返回什么结果；\
你只改措辞。

你会得到函数列表和若干段对话。\
每段对话包含完整的计划（所有轮次、调用和结果），以及 `rewrite`：需要依次换一种说法的文本。\
文本分为用户的话（`user`）、助手行动前的思考（`thought`）和助手的回答（`answer`）。`keep` 列出必须一字不差保留的内容。

规则：
1. 每条文本都要给出改写，顺序一致，一一对应；不合并、不拆分、不增加、不遗漏。
2. 意思和所有事实保持不变；不得添加原文没有的事实、名称、日期、数字或要求。
3. `keep` 中的每个字符串必须原样照抄，先后顺序不变。
4. `manner` 说明这段对话里的用户怎样说话。不同对话的开头和语序要有变化，不要雷同。用户不会提到函数或参数。
5. 用户没说的就不要替他说：计划里由助手追问的内容，不得提前补上。
6. 思考要简短，点明同样的函数和取值，或者缺少什么，或者为什么没有合适的函数。
7. 回答只说结果里有的内容；提问要继续问同样缺少的内容。
8. 用中文书写。

只回复 JSON：{"conversations": [{"id": 0, "texts": ["...", "..."]}, ...]}"""


def paraphrase_messages(
    language: str, tools: Sequence[Mapping[str, Any]], conversations: Sequence[Mapping[str, Any]]
) -> tuple[Mapping[str, str], ...]:
    """Messages that ask for new words of some conversations about one tool set.

    Args:
        language: `zh` for the Chinese prompt, anything else for the English one.
        tools: in OpenAI wire form.
        conversations: objects with `id`, `plan` and `rewrite`.

    Returns:
        A system and a user message.
    """
    return task_messages(_CHINESE if language == "zh" else _ENGLISH, tools, conversations=list(conversations))


def task_messages(system: str, tools: Sequence[Mapping[str, Any]], **task: Any) -> tuple[Mapping[str, str], ...]:
    """A system message, and a user message that holds the functions and the rest of the task as JSON."""
    facts = {"functions": [tool["function"] for tool in tools], **task}
    return (
        {"role": "system", "content": system},
        {"role": "user", "content": json.dumps(facts, ensure_ascii=False)},
    )
