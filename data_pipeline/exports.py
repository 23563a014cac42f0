"""Other layouts of a finished data set, for other trainers.

A conversation that a layout cannot carry without loss is left out and counted, never bent to fit.

sharegpt is written so that LLaMA-Factory keeps everything: its formatter takes one `function_call` turn
`<thought>…</thought>\\n<tool_call>[{…},{…}]</tool_call>` with arguments as objects, demands that human or observation
and gpt or function_call alternate, and skips what breaks that.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall
from fcdist.schema.shards import write_json

Record = dict[str, Any]
Export = Callable[[Conversation], Iterator[Record]]
"""Records of one conversation; raises Unfit."""

_MARKS = ("<thought>", "</thought>", "<think>", "</think>", "<tool_call>", "</tool_call>")
DATASET_INFO = "dataset_info.json"
ALPACA_RULES = (
    "Answer the user. Before a call or a decision you may think in <thought>…</thought>. To call functions, write "
    '<tool_call>[{"name": …, "arguments": {…}}, …]</tool_call> and nothing after it. Call only functions that are '
    "listed, with values the user or an earlier result gave; ask for what is missing; call nothing where none fits."
)


class Unfit(Exception):
    """A layout cannot carry this conversation; the text is a counter key."""


def to_openai(conversation: Conversation) -> Iterator[Record]:
    """`messages` and `tools` as OpenAI's fine-tuning takes them; a thought is `reasoning_content`."""
    wire = conversation.to_wire()
    yield {key: wire[key] for key in ("messages", "tools") if key in wire}


def to_sharegpt(conversation: Conversation) -> Iterator[Record]:
    """`conversations`, `system`, `tools` (JSON text). Parallel results are one observation: a JSON list.

    Raises:
        Unfit: a turn without loss (`weight`), a mark of the layout inside a text (`reserved_words`), white space at an
            edge that readers strip (`edge_whitespace`), or thoughts or tools where the layout has no place for them.
    """
    _refuse_losses(conversation)
    messages = list(conversation.messages)
    system = messages.pop(0).content if messages[0].role == "system" else ""
    turns: list[Record] = []
    place = 0
    while place < len(messages):
        message = messages[place]
        place += 1
        if message.role == "user":
            turns.append({"from": "human", "value": message.content})
        elif message.role == "assistant":
            turns.append({"from": "function_call" if message.tool_calls else "gpt", "value": assistant_text(message)})
        else:
            results = [message.content or ""]
            while place < len(messages) and messages[place].role == "tool":
                results.append(messages[place].content or "")
                place += 1
            turns.append({"from": "observation", "value": _observation(results)})
    tools = [tool.to_wire()["function"] for tool in conversation.tools]
    yield {
        **({"id": conversation.id} if conversation.id else {}),
        "conversations": turns,
        "system": system,
        "tools": json.dumps(tools, ensure_ascii=False) if tools else "",
    }


def to_alpaca(conversation: Conversation) -> Iterator[Record]:
    """One record for each assistant turn: rules and tools, the dialogue so far, thought and call or answer.

    Raises:
        Unfit: as `to_sharegpt`.
    """
    _refuse_losses(conversation)
    messages = conversation.messages
    system = (messages[0].content or "") if messages[0].role == "system" else ""
    listed = "\n".join(json.dumps(tool.to_wire()["function"], ensure_ascii=False) for tool in conversation.tools)
    parts = [system, ALPACA_RULES if conversation.tools else "", f"Functions:\n{listed}" if listed else ""]
    instruction = "\n\n".join(part for part in parts if part) or "Answer the user."
    spoken = messages[1:] if system else messages
    for place, message in enumerate(spoken):
        if message.role == "assistant":
            yield {
                "instruction": instruction,
                "input": _dialogue(spoken[:place]),
                "output": assistant_text(message),
            }


def assistant_text(message: Message) -> str:
    """An assistant turn as text: thought, content, calls, each on a line of its own."""
    parts = [f"<thought>{message.thought}</thought>"] if message.thought else []
    parts += [message.content] if message.content else []
    parts += [f"<tool_call>{_calls_text(message.tool_calls)}</tool_call>"] if message.tool_calls else []
    return "\n".join(parts)


def write_dataset_info(folder: Path, splits: Sequence[str]) -> None:
    """LLaMA-Factory's description of the ShareGPT files `<split>.jsonl` in `folder`."""
    tags = {
        "role_tag": "from",
        "content_tag": "value",
        "user_tag": "human",
        "assistant_tag": "gpt",
        "observation_tag": "observation",
        "function_tag": "function_call",
        "system_tag": "system",
    }
    columns = {"messages": "conversations", "system": "system", "tools": "tools"}
    entries = {
        f"fcdist_{split}": {
            "file_name": f"{split}.jsonl",
            "formatting": "sharegpt",
            "columns": columns,
            "tags": tags,
        }
        for split in splits
    }
    write_json(folder / DATASET_INFO, entries)


def _refuse_losses(conversation: Conversation) -> None:
    for message in conversation.messages:
        if message.weight != 1:
            raise Unfit("weight")
        texts = [message.content or "", message.thought or "", *(call.arguments for call in message.tool_calls)]
        if message.role == "assistant":
            if any(mark in text for text in texts for mark in _MARKS):
                raise Unfit("reserved_words")
            beside = bool(message.thought or message.tool_calls)
            if any(text != text.strip() for text in texts[1:2] + (texts[:1] if beside else [])):
                raise Unfit("edge_whitespace")


def _calls_text(calls: Sequence[ToolCall]) -> str:
    return json.dumps(
        [{"name": call.name, "arguments": json.loads(call.arguments)} for call in calls], ensure_ascii=False
    )


def _observation(results: Sequence[str]) -> str:
    """One result as it is; several as a JSON list whose entries read back to the very texts."""
    return results[0] if len(results) == 1 else json.dumps([_readable(text) for text in results], ensure_ascii=False)


def _readable(text: str) -> Any:
    """The JSON value of a result where writing it again gives the same text, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if not isinstance(value, str) and json.dumps(value, ensure_ascii=False) == text else text


def _dialogue(messages: Sequence[Message]) -> str:
    if len(messages) == 1:
        return messages[0].content or ""
    lines = []
    for message in messages:
        if message.role == "tool":
            lines.append(f"Result: {message.content}")
        elif message.role == "user":
            lines.append(f"User: {message.content}")
        else:
            lines.append(f"Assistant: {assistant_text(message)}")
    return "\n".join(lines)


def wire_tools(tools: Sequence[Tool]) -> str:
    """Tools as JSON text: a columnar reader would give every tool the (empty) parameters of every other."""
    return json.dumps([tool.to_wire() for tool in tools], ensure_ascii=False)


EXPORTS: dict[str, Export] = {"openai": to_openai, "sharegpt": to_sharegpt, "alpaca": to_alpaca}
"""Layouts that need one conversation at a time; `preference` also needs pairs (data_pipeline/preferences.py)."""
