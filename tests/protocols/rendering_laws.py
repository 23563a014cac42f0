"""The laws of rendering, checked on one conversation with the tokenizer as it would be exported."""

from drawn_conversations import Spoken, meaning, spoken, wire
from transformers import PreTrainedTokenizerBase

from fcdist.protocols.rendering import Renderer, Segment, drop_thoughts
from fcdist.schema.conversation import Conversation, Message


def check_laws(
    render: Renderer, exported: PreTrainedTokenizerBase, conversation: Conversation
) -> list[tuple[Segment, ...]]:
    """Render and hold every supervised turn against plain transformers; returns the examples."""
    tools = [tool.to_wire() for tool in conversation.tools] or None
    native = render.protocol.name == "native"
    examples = render.render(conversation)
    for turn in spoken(conversation, examples):
        prompt = "".join(turn.runs)
        before = wire(turn.before, as_objects=native)
        assert prompt == exported.apply_chat_template(before, tools=tools, add_generation_prompt=True, tokenize=False)
        asked = Conversation(turn.before, conversation.tools)
        assert prompt == render.prompt(asked)
        messages = [*before, *wire((turn.message,), as_objects=native)]
        whole = exported.apply_chat_template(messages, tools=tools, tokenize=False)
        check_turn(render, turn, prompt, whole)
        served = exported.apply_chat_template(before, tools=tools, add_generation_prompt=True)["input_ids"]
        first, *later = turn.runs
        trained = exported.encode(first, add_special_tokens=False)
        trained += [i for run in later for i in encode_inside(exported, run)]
        assert trained == served
        assert exported.encode(turn.text, add_special_tokens=False)[-1] in render.stop_token_ids
        check_reading(render, exported, turn, prompt)
    return examples


def carried(conversation: Conversation, protocol: str, shape: str) -> Conversation:
    """What the pair can write: native shapes of one call, without thoughts, or with an answer or a call, not both."""
    if protocol != "native":
        return conversation
    if shape != "tools_tagged":
        conversation = drop_thoughts(conversation)
    messages = []
    for m in conversation.messages:
        calls = m.tool_calls[:1] if shape == "tools_bare" else m.tool_calls
        content = None if m.tool_calls else m.content
        messages.append(Message(m.role, content, m.thought, calls, m.tool_call_id, m.name, m.weight))
    return Conversation(tuple(messages), conversation.tools, id="native")


def encode_inside(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Encode text that follows other text: SentencePiece would put a space before it at the start of a string."""
    newline = tokenizer.encode("\n", add_special_tokens=False)
    ids = tokenizer.encode("\n" + text, add_special_tokens=False)
    return ids[len(newline) :] if ids[: len(newline)] == newline else tokenizer.encode(text, add_special_tokens=False)


def check_turn(render: Renderer, turn: Spoken, prompt: str, whole: str) -> None:
    end = render.end_of_call if turn.message.tool_calls else render.end_of_turn
    kinds = [s.kind for s in turn.segments]
    assert turn.segments[-1] == Segment(end, True, "end") and kinds.count("end") == 1
    said = turn.text.removesuffix(end)
    assert end not in said
    assert (prompt + turn.text).rstrip() == whole.rstrip() or prompt + said == whole
    assert ("call" in kinds) == bool(turn.message.tool_calls)
    assert ("thought" in kinds) == bool(turn.message.thought)
    assert ("answer" in kinds) == bool((turn.message.content or "").strip())
    if turn.message.tool_calls:  # the model must learn that nothing follows the last brace but the end
        assert said[said.rindex("}") :] + end in turn.text


def check_reading(render: Renderer, exported: PreTrainedTokenizerBase, turn: Spoken, prompt: str) -> None:
    read = render.parse(turn.text, ())
    assert meaning(read) == meaning(turn.message)
    assert meaning(render.parse(turn.text.removesuffix(turn.segments[-1].text))) == meaning(turn.message)
    if render.protocol.name != "native":
        assert [c.arguments for c in read.tool_calls] == [c.arguments for c in turn.message.tool_calls]
    shipped = exported.parse_response(turn.text, prefix=prompt)
    assert shipped["role"] == "assistant"
    calls = [(c["function"]["name"], c["function"]["arguments"]) for c in shipped.get("tool_calls", ())]
    assert (shipped.get("reasoning_content", ""), shipped.get("content", ""), calls) == meaning(turn.message)
