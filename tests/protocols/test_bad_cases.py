"""What cannot be rendered is refused with its cause; what a model writes never raises."""

import json
from dataclasses import replace

import pytest
from chat_shapes import SHAPES, Shape, byte_tokenizer
from drawn_conversations import tool

from fcdist.errors import ConfigError, RenderError
from fcdist.protocols.protocol import PROTOCOLS, carries_system, load_protocol
from fcdist.protocols.rendering import Renderer, drop_thoughts
from fcdist.schema.conversation import Conversation, Message, ToolCall

TEXT = Renderer(byte_tokenizer(SHAPES["chatml"]), load_protocol("text"))
CALL = '<function_call>{"name": "get_x", "arguments": {"a": 1}}</function_call>'


def conversation(*last: Message, system: str | None = None) -> Conversation:
    start = [Message("system", system)] if system else []
    return Conversation((*start, Message("user", "q"), *last), (tool("get_x"),), id="one")


def test_an_unknown_protocol_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"protocol.name='react'.*native, tagged, text"):
        load_protocol("react")
    assert PROTOCOLS == ("native", "tagged", "text")


def test_a_tokenizer_without_template_is_refused() -> None:
    tokenizer = byte_tokenizer(SHAPES["chatml"])
    tokenizer.chat_template = None
    with pytest.raises(RenderError, match=r"no chat template.*model.chat_template"):
        Renderer(tokenizer, load_protocol("text"))


def test_a_template_without_end_of_turn_is_refused() -> None:
    plain = Shape("{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}assistant: ", (), "")
    with pytest.raises(RenderError, match=r"no special token.*eos_token"):
        Renderer(byte_tokenizer(plain), load_protocol("text"))


def test_a_template_that_is_no_jinja_is_refused() -> None:
    with pytest.raises(RenderError, match="not valid Jinja"):
        Renderer(byte_tokenizer(Shape("{% for %}", (), "")), load_protocol("text"))


def test_native_needs_a_template_that_takes_tools() -> None:
    with pytest.raises(RenderError, match=r"protocol.name=text or tagged"):
        Renderer(byte_tokenizer(SHAPES["chatml"]), load_protocol("native"))


def test_native_calls_that_nothing_reads_are_refused_at_export() -> None:
    shape = SHAPES["tools_tagged"]
    strange = replace(shape, template=shape.template.replace("<tool_call>\n", "((").replace("\n</tool_call>", "))"))
    render = Renderer(byte_tokenizer(strange), load_protocol("native"))
    for use in (render.prepare_tokenizer, lambda: render.parse("x")):
        with pytest.raises(RenderError, match=r"response_template.*protocol.name=text or tagged"):
            use()


@pytest.mark.parametrize("shape", ["inst", "model_role"])
def test_a_refused_system_role_goes_into_the_first_user_turn(shape: str) -> None:
    assert not carries_system(SHAPES[shape].template)
    render = Renderer(byte_tokenizer(SHAPES[shape]), load_protocol("text"))
    prompt = render.prompt(conversation(system="Be brief."))
    opening = prompt.index("user\n" if shape == "model_role" else "[INST] ")
    places = [prompt.index(part) for part in ("Be brief.\n\nYou can call", '{"name": "get_x"', "\n\nq")]
    assert places == sorted(places) and opening < places[0]


def test_tools_replace_the_templates_default_system_prompt() -> None:
    assert "Default prompt." not in TEXT.prompt(conversation())
    assert "Default prompt." in TEXT.prompt(replace(conversation(), tools=()))


def test_results_of_parallel_calls_share_one_user_turn() -> None:
    calls = (ToolCall("a", "get_x", "{}"), ToolCall("b", "get_x", "{}"))
    results = (Message("tool", "r1", tool_call_id="a"), Message("tool", "r2", tool_call_id="b"))
    prompt = TEXT.prompt(conversation(Message("assistant", None, tool_calls=calls), *results))
    assert "<|im_start|>user\n<observation>r1</observation>\n<observation>r2</observation><|im_end|>" in prompt


@pytest.mark.parametrize(
    ("last", "cause"),
    [
        (Message("assistant", CALL), "would be read back as the calls"),
        (Message("assistant", "x", thought="a</thought>b"), "the thought would be read back"),
        (Message("assistant", "<thought>x"), "would be read back as nothing valid"),
        (Message("assistant", "a<|im_end|>b"), "must hold the end-of-turn token"),
        (Message("assistant", None, tool_calls=(ToolCall("a", "get_x", "[1]"),)), "no JSON object"),
        (Message("assistant", "x", weight=0), "no assistant turn has weight"),
    ],
)
def test_a_turn_that_would_be_read_as_another_is_refused(last: Message, cause: str) -> None:
    with pytest.raises(RenderError, match=f"conversation 'one'.*{cause}"):
        TEXT.render(conversation(last))


def test_a_conversation_the_template_refuses_is_named() -> None:
    render = Renderer(byte_tokenizer(SHAPES["inst"]), load_protocol("text"))
    with pytest.raises(RenderError, match=r"'one'.*must alternate.*user user"):
        render.render(conversation(Message("user", "again"), Message("assistant", "x")))
    with pytest.raises(RenderError, match="the assistant speaks first"):
        TEXT.render(Conversation((Message("assistant", "x"),)))
    with pytest.raises(RenderError, match="must end in a user or tool message"):
        TEXT.prompt(conversation(Message("assistant", "x")))


@pytest.mark.parametrize(
    "text",
    [
        "<function_call>",
        "<function_call>{",
        '<function_call>{"name": "get_x"}</function_call>',
        '<function_call>{"name": 1, "arguments": {}}</function_call>',
        '<function_call>{"name": "get_x", "arguments": "{}"}</function_call>',
        CALL + "\n" + CALL[:-20],
        CALL.replace("}}", "}} x"),
        "<thought>never ends " + CALL,
        '<function_call>{"name": "get_x", "arguments": ' + '{"a":' * 5000 + "</function_call>",
    ],
)
@pytest.mark.parametrize("end", ["", "<|im_end|>", "<|im_end|>\nmore"])
def test_malformed_output_is_content(text: str, end: str) -> None:
    assert TEXT.parse(text + end) == Message("assistant", content=text)


def test_well_formed_output_is_read_however_it_is_spaced() -> None:
    read = TEXT.parse(f" <thought> t </thought>Sure.\n\n{CALL} {CALL}<|im_end|>")
    assert (read.thought, read.content, [c.arguments for c in read.tool_calls]) == ("t", "Sure.", ['{"a": 1}'] * 2)
    assert len(TEXT.parse(CALL.removesuffix("</function_call>")).tool_calls) == 1
    own = TEXT.parse("<think>\n\n</think>\n\n<thought>t</thought>\n" + CALL)
    assert (own.thought, own.content, len(own.tool_calls)) == ("t", None, 1)
    assert TEXT.parse("") == Message("assistant", content="")


def test_native_output_is_read_or_left_alone() -> None:
    render = Renderer(byte_tokenizer(SHAPES["tools_bare"]), load_protocol("native"))
    good = '{"name": "get_x", "parameters": {"a": 1}}<|eot|>'
    assert [(c.name, json.loads(c.arguments)) for c in render.parse(good).tool_calls] == [("get_x", {"a": 1})]
    assert render.parse('{"name": "get_x", "parame<|eot|>') == Message("assistant", '{"name": "get_x", "parame')


def test_ends_of_answers_and_calls_are_found() -> None:
    for name, shape in SHAPES.items():
        protocol = "native" if shape.takes_tools else "text"
        assert Renderer(byte_tokenizer(shape), load_protocol(protocol)).end_of_turn == shape.end, name
    opener = Renderer(byte_tokenizer(SHAPES["tools_opener"]), load_protocol("native"))
    assert (opener.end_of_turn, opener.end_of_call) == ("<|user|>", "<|observation|>")


def test_thoughts_can_be_dropped() -> None:
    thinking = conversation(Message("assistant", "x", thought="hm"))
    assert drop_thoughts(thinking) == conversation(Message("assistant", "x"))
    kinds = [s.kind for s in TEXT.render(drop_thoughts(thinking))[0]]
    assert kinds == ["context", "answer", "end"]


def test_the_fingerprint_follows_template_and_vocabulary() -> None:
    again = Renderer(byte_tokenizer(SHAPES["chatml"]), load_protocol("text"))
    assert again.fingerprint() == TEXT.fingerprint()
    again.tokenizer(["a", "bb"], padding=True, truncation=True, max_length=1)
    assert Renderer(again.tokenizer, load_protocol("text")).fingerprint() == TEXT.fingerprint()
    others = [Renderer(byte_tokenizer(SHAPES["chatml"]), load_protocol("tagged"))]
    others.append(Renderer(byte_tokenizer(SHAPES["header"]), load_protocol("text")))
    grown = byte_tokenizer(SHAPES["chatml"])
    grown.add_tokens(["new"])
    others.append(Renderer(grown, load_protocol("text")))
    assert len({TEXT.fingerprint(), *(other.fingerprint() for other in others)}) == 4


def test_the_exported_tokenizer_survives_a_folder(tmp_path) -> None:
    TEXT.prepare_tokenizer().save_pretrained(tmp_path)
    loaded = type(TEXT.tokenizer).from_pretrained(tmp_path)
    assert loaded.chat_template == TEXT.chat_template
    calls = loaded.parse_response(CALL + "<|im_end|>", prefix=TEXT.prompt(conversation()))["tool_calls"]
    assert calls == [{"type": "function", "function": {"name": "get_x", "arguments": {"a": 1}}}]
    assert TEXT.tokenizer.chat_template == SHAPES["chatml"].template
