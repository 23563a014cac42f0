"""Paraphrase mode: the planner settles what happens, a language model says it in its own words.

Ground truth stays known: calls, arguments and results are the plan's; the model only rewrites user turns, thoughts and
answers, with the values locked. Here its reply is held against the locks; the gates read the result like any other.
A draft that could not be rewritten is refused with a reason, never replaced by the planner's own words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_pipeline.llm.locks import Words, broken_lock, kept_strings, plan_values
from data_pipeline.llm.manners import manner_of
from data_pipeline.llm.prompts import ANSWER_SCHEMA, VERSION, paraphrase_messages
from data_pipeline.llm.repair import read_list
from data_pipeline.llm.wire import Completion, Request
from data_pipeline.teachers import Task
from fcdist.schema.conversation import Conversation

MAX_GROWTH = (4, 400)
"""A rewritten text may have this many times the characters of the original, plus this many."""


@dataclass(frozen=True, slots=True)
class _Text:
    message: int
    field: str
    """Of Message: `content` or `thought`."""
    kind: str
    """`user`, `thought` or `answer`."""
    original: str


class Paraphrase:
    """Rewrites user turns, thoughts and answers of planned conversations."""

    version = VERSION

    def request(self, tasks: Sequence[Task], plans: Sequence[Conversation]) -> Request:
        """Ask for new words of plans that share a tool set and language."""
        tools = [tool.to_wire() for tool in plans[0].tools]
        items = [describe_plan(i, plan) for i, plan in enumerate(plans)]
        messages = paraphrase_messages(plans[0].language, tools, items)
        return Request(messages, ANSWER_SCHEMA, VERSION, sample=tasks[0].attempt)

    def read(
        self, tasks: Sequence[Task], plans: Sequence[Conversation], answer: Completion
    ) -> list[tuple[Conversation, str | None]]:
        """See `read_rewrites`."""
        return read_rewrites(plans, answer)


def describe_plan(number: int, plan: Conversation) -> dict[str, Any]:
    """What the prompt says of one conversation: how its user talks, its turns, the texts to rewrite, what to keep."""
    words = Words.of(plan)
    values = plan_values(plan)
    return {
        "id": number,
        "manner": manner_of(plan),
        "plan": [_describe_message(message) for message in plan.messages],
        "rewrite": [
            {"by": text.kind, "text": text.original, "keep": kept_strings(text.original, values, words, text.kind)}
            for text in _texts(plan)
        ],
    }


def _describe_message(message: Any) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role}
    if message.role in ("system", "tool"):
        turn["content"] = message.content
    if message.tool_calls:
        turn["calls"] = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    return turn


def _texts(plan: Conversation) -> list[_Text]:
    """Texts to rewrite, in the order they are spoken."""
    texts: list[_Text] = []
    for i, message in enumerate(plan.messages):
        if message.role == "user":
            texts.append(_Text(i, "content", "user", message.content or ""))
        elif message.role == "assistant":
            if message.thought:
                texts.append(_Text(i, "thought", "thought", message.thought))
            if message.content:
                texts.append(_Text(i, "content", "answer", message.content))
    return texts


def read_rewrites(plans: Sequence[Conversation], answer: Completion) -> list[tuple[Conversation, str | None]]:
    """Put an answer's words into the plans of its request.

    Returns:
        For each plan the rewritten conversation and None, or the plan itself and why it has to be refused.
    """
    if answer.refused:
        return [(plan, "llm_refused") for plan in plans]
    items: dict[int, list[Mapping[str, Any]]] = {}
    for item in read_list(answer.text, ANSWER_SCHEMA):
        items.setdefault(item["id"], []).append(item)
    if not items:
        return [(plan, "llm_unreadable") for plan in plans]
    return [_apply(plan, items.get(number, [])) for number, plan in enumerate(plans)]


def _apply(plan: Conversation, items: Sequence[Mapping[str, Any]]) -> tuple[Conversation, str | None]:
    if not items:
        return plan, "llm_missing_item"
    if len(items) > 1:
        return plan, "llm_duplicate_item"
    texts, new = _texts(plan), items[0]["texts"]
    if len(new) != len(texts) or not all(isinstance(text, str) and text.strip() for text in new):
        return plan, "llm_wrong_texts"
    if all(text.original == said.strip() for text, said in zip(texts, new, strict=True) if text.kind == "user"):
        return plan, "llm_unchanged"
    words, values = Words.of(plan), plan_values(plan)
    messages = list(plan.messages)
    for text, said in zip(texts, new, strict=True):
        said = said.strip()
        if len(said) > MAX_GROWTH[0] * len(text.original) + MAX_GROWTH[1]:
            return plan, "llm_too_long"
        if reason := broken_lock(text.original, said, kept_strings(text.original, values, words, text.kind)):
            return plan, reason
        if (
            text.kind != "thought"
            and (plan.language == "zh") != _is_chinese(said)
            and _is_chinese(text.original) == (plan.language == "zh")
        ):
            return plan, "llm_language"
        message = messages[text.message]
        messages[text.message] = (
            replace(message, thought=said) if text.field == "thought" else replace(message, content=said)
        )
    return replace(plan, messages=tuple(messages)), None


def _is_chinese(text: str) -> bool:
    return any("\u4e00" <= character <= "\u9fff" for character in text)
