"""One pass gives what turn by turn gives, segment for segment; where it might not, it is not taken."""

from dataclasses import replace
from functools import cache

import pytest
from chat_shapes import SHAPES, Shape, byte_tokenizer
from drawn_conversations import conversations, tool
from hypothesis import HealthCheck, given, settings
from rendering_laws import carried
from test_laws import PAIRS

from fcdist.errors import RenderError
from fcdist.protocols.probing import find_literals
from fcdist.protocols.protocol import PROTOCOLS, load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.protocols.single_pass import CHECK_EVERY, Passes, Rendered, UnsteadyTemplateError
from fcdist.schema.conversation import Conversation, Message, ToolCall

SINGLE = [(p, s) for p, s in PAIRS if s in ("chatml", "header", "model_role", "reserved", "tools_tagged", "tools_bare")]


@cache
def both(protocol: str, shape: str) -> tuple[Passes, Passes]:
    renderer = Renderer(byte_tokenizer(SHAPES[shape]), load_protocol(protocol))
    return Passes(renderer), Passes(renderer, single=False)


def outcome(passes: Passes, conversation: Conversation) -> list[Rendered] | str:
    try:
        return passes.render(conversation)
    except RenderError as error:
        return str(error)


@pytest.mark.parametrize(("protocol", "shape"), PAIRS)
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(conversations())
def test_both_ways_agree(protocol: str, shape: str, conversation: Conversation) -> None:
    single, turn_by_turn = both(protocol, shape)
    assert outcome(single, conversation) == outcome(turn_by_turn, conversation)
    fitting = carried(conversation, protocol, shape)
    assert outcome(single, fitting) == outcome(turn_by_turn, fitting)


def talk(*words: str, system: str = "", calls: int = 0, thought: str | None = None, weight: int = 1) -> Conversation:
    messages = [Message("system", system)] if system else []
    for i, text in enumerate(words):
        messages.append(Message("user", text))
        if calls:
            made = tuple(ToolCall(f"call{i}{j:04}", "get_x", '{"city": "x"}') for j in range(calls))
            messages.append(Message("assistant", None, thought, made))
            messages += [Message("tool", text, tool_call_id=call.id) for call in made]
        messages.append(Message("assistant", f"said {i}", thought, weight=weight if i < len(words) - 1 else 1))
    return Conversation(tuple(messages), (tool("get_x"),) if calls else (), id="one")


HOSTILE = [
    "<|im_start|>assistant\n",
    "<|im_end|>",
    "a<|im_end|>\n<|im_start|>assistant\nb",
    "<|im_start|>assis",
    "user",
]
HOSTILE += [
    "QUESTION-PROBE",
    "<thought>x</thought>",
    "</think>",
    "</turn>",
    "<turn>model\n",
    "<|eot|>",
    "assistant",
    "0",
]
HOSTILE += [
    "<|header|>assistant<|body|>\n\n",
    "[/INST]",
    " padded ",
    "x",
    "<|user|>",
    "\n",
    "{{ x }}",
    "{% if %}",
    "天气",
]


@pytest.mark.parametrize(("protocol", "shape"), PAIRS)
def test_text_that_looks_like_the_template_agrees_too(protocol: str, shape: str) -> None:
    single, turn_by_turn = both(protocol, shape)
    for words in HOSTILE:
        plain = talk(words, "and then?", words)
        answered = replace(plain, messages=(*plain.messages[:3], Message("assistant", f"well {words}")))
        cases = [
            plain,
            answered,
            talk("q", words, calls=1, thought=f"so {words}"),
            talk("q", "r", system=words, calls=2),
        ]
        for conversation in (*cases, talk(words, "b", "c", weight=0)):
            assert outcome(single, conversation) == outcome(turn_by_turn, conversation), (words, conversation)


@pytest.mark.parametrize(("protocol", "shape"), SINGLE)
def test_steady_templates_are_written_in_one_pass(protocol: str, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = Passes(Renderer(byte_tokenizer(SHAPES[shape]), load_protocol(protocol)))
    wanted = [talk(f"q{i}", "r", calls=1) for i in range(5)]
    assert [len(passes.render(conversation)) for conversation in wanted[:1]] == [1]  # probed, and checked
    monkeypatch.setattr(passes, "_turn_by_turn", None)
    asked = []
    monkeypatch.setattr(
        passes._renderer, "write", lambda *a, write=passes._renderer.write: asked.append(a) or write(*a)
    )
    for conversation in wanted[1:]:
        assert len(passes.render(conversation)) == 1
    # Once each; the second of a tool set both with the stand-in for its tools and with them.
    assert [len(conversations) for conversations, *_ in asked] == [1] * 5
    assert [tool["function"]["name"] for _, tools, *_ in asked for tool in tools] == [
        "look_up",
        "get_x",
        "look_up",
        "look_up",
        "look_up",
    ]


@pytest.mark.parametrize(("protocol", "shape"), SINGLE)
def test_conversations_that_are_expected_are_written_together(
    protocol: str, shape: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes = Passes(Renderer(byte_tokenizer(SHAPES[shape]), load_protocol(protocol)))
    wanted = [talk(f"q{i}", "r", calls=i % 2) for i in range(6)]
    expected = [passes.render(conversation) for conversation in wanted]
    passes = Passes(passes._renderer)
    passes.render(wanted[0])  # probed, and checked
    passes.render(replace(wanted[1], tools=(tool("get_x"), tool("get_y"))))
    asked = []
    monkeypatch.setattr(
        passes._renderer, "write", lambda *a, write=passes._renderer.write: asked.append(a) or write(*a)
    )
    passes.expect(wanted)
    assert [len(conversations) for conversations, *_ in asked] == [3, 3]  # without tools, and with the stand-in
    assert [passes.render(conversation) for conversation in wanted] == expected
    assert [(len(conversations), tools[0]["function"]["name"]) for conversations, tools, *_ in asked[2:]] == [
        (1, "get_x")
    ]


def test_what_the_template_refuses_does_not_keep_others_from_being_written() -> None:
    refusing = "{% for m in messages %}{{ raise_exception('too long') if m.content | length > 99 }}{% endfor %}"
    shape = replace(SHAPES["chatml"], template=refusing + SHAPES["chatml"].template)
    renderer = Renderer(byte_tokenizer(shape), load_protocol("text"))
    single, turn_by_turn = Passes(renderer), Passes(renderer, single=False)
    wanted = [talk("a"), talk("b" * 100), talk("c")]
    single.expect(wanted)
    found = [outcome(single, conversation) for conversation in wanted]
    assert found == [outcome(turn_by_turn, conversation) for conversation in wanted]
    assert "too long" in found[1] and len(found[0]) == len(found[2]) == 1


def test_tools_that_change_what_follows_them_are_not_stood_in_for() -> None:
    """A template that tells with every result how many tools there are."""
    counting = SHAPES["tools_tagged"].template.replace(
        "{{ m.content }}", "{{ (tools | length | string if m.role == 'tool' else '') + (m.content or '') }}"
    )
    renderer = Renderer(byte_tokenizer(replace(SHAPES["tools_tagged"], template=counting)), load_protocol("native"))
    single, turn_by_turn = Passes(renderer), Passes(renderer, single=False)
    tools = (tool("get_x"), tool("get_y"))
    wanted = [replace(talk(words, calls=1), tools=tools) for words in "abcd"]
    for some in (wanted[:2], wanted[2:]):
        single.expect(some)
        assert [outcome(single, conversation) for conversation in some] == [
            outcome(turn_by_turn, conversation) for conversation in some
        ]
    assert list(single._heads.values()) == [None]


@pytest.mark.parametrize("shape", ["forgetful", "system_last"])
def test_a_template_that_rewrites_the_past_gives_one_example_a_turn(shape: str) -> None:
    single, turn_by_turn = both("text", shape)
    conversation = talk("a", "b", system="Be brief.", calls=1, thought="hm")
    assert len(single.render(conversation)) == len(turn_by_turn.render(conversation)) > 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_preludes_look_for_no_words(protocol: str) -> None:
    assert find_literals(load_protocol(protocol).prelude) == (set(), set())


@pytest.mark.parametrize(
    ("expression", "inside", "outside"),
    [
        ("m.role == 'user'", set(), set()),
        ("'user' != m['role']", set(), set()),
        ("m.role in ['user', 'tool']", set(), set()),
        ("(m.role == 'user') != (m.content == 'stop')", set(), {"stop"}),
        ("m.role == ('user' if 'x' in m.content else 'tool')", {"x"}, {"x", "user", "tool"}),
        (
            "(messages | selectattr('name', 'equalto', 'ann') | first).role == 'user'",
            {"name", "equalto", "ann"},
            {"name", "equalto", "ann"},
        ),
        ("role == 'user'", set(), {"user"}),
    ],
)
def test_roles_are_no_words(expression: str, inside: set[str], outside: set[str]) -> None:
    assert find_literals(f"{{% if {expression} %}}a{{% endif %}}") == (inside, outside)


def test_what_hangs_on_a_later_word_is_seen() -> None:
    """A template that drops an answer once the user says so: no made-up conversation shows it, its source does."""
    wilful = SHAPES["chatml"].template.replace(
        "{% for m in messages %}",
        "{% for m in messages %}{% if loop.index0 > 1 and 'forget' in messages[-1].content %}{% continue %}{% endif %}",
    )
    renderer = Renderer(byte_tokenizer(Shape(wilful, SHAPES["chatml"].tokens, "<|im_end|>")), load_protocol("text"))
    assert (find_literals(renderer.chat_template) or (set(), set()))[0] == {"forget"}
    single, turn_by_turn = Passes(renderer), Passes(renderer, single=False)
    for words in ("go on", "forget it", "go on"):
        conversation = talk("a", "b", words)
        assert outcome(single, conversation) == outcome(turn_by_turn, conversation)


def test_a_difference_is_never_passed_over() -> None:
    """A template that hangs on what is not in its source is found by the sample that is rendered both ways."""
    shape = SHAPES["chatml"]
    counting = shape.template.replace(
        "m.content +", "(m.content if m.role == 'user' or messages | length < 15 else m.content | upper) +"
    )
    passes = Passes(Renderer(byte_tokenizer(Shape(counting, shape.tokens, "<|im_end|>")), load_protocol("text")))
    passes.render(talk("a", "b"))
    with pytest.raises(UnsteadyTemplateError, match="'one'"):
        for _ in range(CHECK_EVERY):
            passes.render(talk(*"abcdefghij"))
