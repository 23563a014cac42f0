"""Small conversations that many tests read and write."""

import json
from collections.abc import Sequence
from pathlib import Path

from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall


def weather(unit: str = "city") -> Tool:
    schema = {"type": "object", "properties": {unit: {"type": "string"}}, "required": [unit]}
    return Tool(f"weather_by_{unit}", f"Weather of a {unit}", schema)


def tool_conversation(i: int, tool: Tool | None = None) -> Conversation:
    tool = tool or weather()
    unit = next(iter(tool.parameters["properties"]))
    call = ToolCall("call_0", tool.name, json.dumps({unit: f"Ort {i}"}))
    messages = (
        Message("user", f"Weather in Ort {i}?"),
        Message("assistant", thought=f"Ask for {i}.", tool_calls=(call,)),
        Message("tool", json.dumps({"degrees": i}), tool_call_id="call_0"),
        Message("assistant", f"{i} degrees" + " indeed" * (i % 5)),
    )
    return Conversation(messages, (tool,), id=f"tool-{i}", category="single")


def chat(i: int) -> Conversation:
    return Conversation((Message("user", f"你好 {i}"), Message("assistant", "好" * (1 + i % 7))), id=f"chat-{i}")


def write_jsonl(path: Path, conversations: Sequence[Conversation]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(c.to_wire(), ensure_ascii=False) + "\n" for c in conversations)
    path.write_text("".join(lines), encoding="utf-8")
    return path
