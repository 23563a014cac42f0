"""Laws of rendering, over every protocol and shape of chat template."""

import json
from functools import cache

import pytest
from chat_shapes import SHAPES, byte_tokenizer
from drawn_conversations import chats, conversations, wire
from hypothesis import HealthCheck, given, settings
from rendering_laws import carried, check_laws
from transformers import PreTrainedTokenizerBase

from fcdist.protocols.protocol import PROTOCOLS, carries_system, load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.schema.conversation import Conversation, Message

PAIRS = [
    (protocol, shape)
    for protocol in PROTOCOLS
    for shape in SHAPES
    if (protocol == "native") == SHAPES[shape].takes_tools or (protocol != "native" and shape == "tools_tagged")
]
law = settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@cache
def renderer(protocol: str, shape: str) -> Renderer:
    return Renderer(byte_tokenizer(SHAPES[shape]), load_protocol(protocol))


@cache
def exported(protocol: str, shape: str) -> PreTrainedTokenizerBase:
    return renderer(protocol, shape).prepare_tokenizer()


@pytest.mark.parametrize(("protocol", "shape"), PAIRS)
@law
@given(conversations())
def test_what_is_trained_is_what_is_served(protocol: str, shape: str, conversation: Conversation) -> None:
    conversation = carried(conversation, protocol, shape)
    examples = check_laws(renderer(protocol, shape), exported(protocol, shape), conversation)
    if SHAPES[shape].keeps_past:
        assert len(examples) == 1


@pytest.mark.parametrize(("protocol", "shape"), [pair for pair in PAIRS if pair[0] != "native"])
@law
@given(chats())
def test_without_tools_the_text_is_the_checkpoints_own(protocol: str, shape: str, chat: tuple[Message, ...]) -> None:
    render = renderer(protocol, shape)
    own = byte_tokenizer(SHAPES[shape])
    chat = chat if carries_system(own.chat_template) else chat[chat[0].role == "system" :]
    assert render.prompt(Conversation(chat[:-1])) == own.apply_chat_template(
        wire(chat[:-1]), add_generation_prompt=True, tokenize=False
    )
    assert render.tokenizer.apply_chat_template(
        wire(chat), chat_template=render.chat_template, tokenize=False
    ) == own.apply_chat_template(wire(chat), tokenize=False)


@pytest.mark.parametrize("protocol", ["text", "tagged"])
@law
@given(conversations(weights=False))
def test_calls_may_come_as_text_or_as_objects(protocol: str, conversation: Conversation) -> None:
    render = renderer(protocol, "chatml")
    messages = tuple(
        Message(
            m.role,
            m.content,
            m.thought,
            tuple(type(c)(c.id, c.name, json.dumps(json.loads(c.arguments), ensure_ascii=False)) for c in m.tool_calls),
            m.tool_call_id,
        )
        for m in conversation.messages
    )
    texts = [
        render.tokenizer.apply_chat_template(
            wire(messages, as_objects),
            tools=[t.to_wire() for t in conversation.tools],
            chat_template=render.chat_template,
            tokenize=False,
        )
        for as_objects in (False, True)
    ]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("protocol", ["text", "tagged"])
@law
@given(conversations())
def test_context_is_never_supervised(protocol: str, conversation: Conversation) -> None:
    examples = renderer(protocol, "chatml").render(conversation)
    assert all(s.supervised == (s.kind != "context") for segments in examples for s in segments)
    supervised = "".join(s.text for segments in examples for s in segments if s.supervised)
    turns = [m for m in conversation.messages if m.role == "assistant" and m.weight]
    assert supervised.count("<|im_end|>") == len(turns)
    assert all(segments[0].kind == "context" and segments[-1].kind == "end" for segments in examples)
