"""Rendering in one pass: the same segments as `Renderer.render`, from one call of the template instead of 2n.

A template that writes message after message makes every prompt and every finished turn a beginning of the whole text.
Then one rendering holds them all, and a turn is found between the generation prompt that opens it and the token that
closes it. What makes this safe:

- A template is steady for a shape of conversation if both ways give equal segments for a made-up conversation of that
  shape, several turns long. Other shapes are rendered turn by turn.
- What a template does may also hang on the words: on those that it compares with, which stand in its source. A
  conversation that holds one of them, or a marker, or an empty text, is rendered turn by turn.
- In the text there must be as many generation prompts as assistant turns, each followed by its closing token, and
  nothing after the last one.
- One conversation in CHECK_EVERY is rendered both ways all the same; a difference is an UnsteadyTemplateError.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import jinja2
import jinja2.ext
from jinja2 import nodes

from fcdist.errors import RenderError
from fcdist.protocols.rendering import Renderer, Segment, wire_tools
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

CHECK_EVERY = 256
HEADS = 4096
"""Heads (system prompt and tools) that are remembered; then all are forgotten."""
_MARK = "QUESTION-PROBE"
_STAND_IN = Tool("look_up", "Looks up.", {"type": "object", "properties": {"key": {"type": "string"}}})
_STAND_IN_WIRE = wire_tools([_STAND_IN])


class UnsteadyTemplateError(Exception):
    """One pass gave other segments than turn by turn, so what it gave before is in doubt too. Names the conversation.

    Not an FcdistError: no user can mend it. The caller renders everything again with `single=False`.
    """


class Rendered(NamedTuple):
    """One example."""

    segments: tuple[Segment, ...]
    prefix_chars: int
    """Characters before the first user's words: system prompt and tools. 0 if the text begins otherwise."""


class _Shape(NamedTuple):
    """What a template may tell conversations apart by, their words aside."""

    system: bool
    tools: bool
    thoughts: bool
    turns: frozenset[tuple[bool, bool, bool]]
    """Of every assistant message: (has content, has calls, has several)."""
    ends_in_call: bool
    named_results: bool


class _Head(NamedTuple):
    """The text before the first user's words, with the tools and with one small stand-in for them."""

    text: str
    stand_in: str


class Passes:
    """Renders conversations in one pass where that is safe, else turn by turn."""

    def __init__(self, renderer: Renderer, single: bool = True) -> None:
        """`single=False`: always turn by turn."""
        self._renderer = renderer
        self._count = 0
        self._steady: dict[_Shape, bool] = {}
        self._heads: dict[tuple[str, str | None], _Head | None] = {}
        self._prefixes: dict[tuple[str, str | None], str] = {}
        self._tools: dict[int, tuple[tuple[Tool, ...], str, list[dict[str, Any]] | None]] = {}
        literals = _literals(renderer.chat_template) if single and renderer.generation_prompt.strip() else None
        self._single = literals is not None
        inside, outside = literals or ((), ())
        ends = {renderer.generation_prompt.strip(), renderer.end_of_turn, renderer.end_of_call, *renderer.stop_tokens}
        self._marks = (*ends, *inside)
        self._whole_words = tuple(outside)
        if self._single:
            after = renderer.prompt(Conversation((Message("user", f" {_MARK} "),))).rpartition(_MARK)[2]
            self._trims = not after.startswith(" ")
            self._closing = after if self._trims else after[1:]

    def render(self, conversation: Conversation) -> list[Rendered]:
        """The examples of a conversation.

        Raises:
            RenderError: see `Renderer.render`.
            UnsteadyTemplateError: the sample that is rendered both ways differs.
        """
        rendered = self._in_one_pass(conversation) if self._single and self._is_safe(conversation) else None
        if rendered is None:
            return self._turn_by_turn(conversation)
        if self._count % CHECK_EVERY == 0 and self._turn_by_turn(conversation) != [rendered]:
            raise UnsteadyTemplateError(f"conversation {conversation.id!r}")
        self._count += 1
        return [rendered]

    def _turn_by_turn(self, conversation: Conversation) -> list[Rendered]:
        examples = self._renderer.render(conversation)
        prefix = self._prefix(conversation)
        return [
            Rendered(segments, len(prefix) if "".join(s.text for s in segments).startswith(prefix) else 0)
            for segments in examples
        ]

    def _prefix(self, conversation: Conversation) -> str:
        """What two prompts that differ in the first user's words have in common."""
        head = conversation.messages[: int(conversation.messages[0].role == "system")]
        key = self._head_key(conversation)
        if key not in self._prefixes:
            a, b = (
                self._renderer.prompt(Conversation((*head, Message("user", words)), conversation.tools))
                for words in ("0", "x")
            )
            length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            _remember(self._prefixes, key, a[:length])
        return self._prefixes[key]

    def _is_safe(self, conversation: Conversation) -> bool:
        shape = _shape(conversation)
        if shape is None:
            return False
        texts = [text.strip() for message in conversation.messages for text in _texts(message)]
        joined = "\n".join(texts)
        if any(mark in joined for mark in self._marks):
            return False
        if self._whole_words and any(t.startswith(self._whole_words) or t.endswith(self._whole_words) for t in texts):
            return False
        if shape not in self._steady:
            self._steady[shape] = self._is_steady(shape)
        return self._steady[shape]

    def _is_steady(self, shape: _Shape) -> bool:
        conversation = _made_up(shape)
        try:
            return self._turn_by_turn(conversation) == [self._in_one_pass(conversation)]
        except RenderError:
            return False

    def _in_one_pass(self, conversation: Conversation) -> Rendered | None:
        """None where the text does not hold what it must."""
        turns = [i for i, m in enumerate(conversation.messages) if m.role == "assistant" and m.weight]
        if not turns:
            return None
        said = conversation.messages[: turns[-1] + 1]
        messages = self._renderer.wire_messages(conversation)[: len(said)]
        try:
            text, prefix_chars = self._write(messages, conversation)
            segments = self._cut(text, said)
        except RenderError:
            return None
        return None if segments is None or prefix_chars is None else Rendered(segments, prefix_chars)

    def _cut(self, text: str, messages: Sequence[Message]) -> tuple[Segment, ...] | None:
        opening = self._renderer.generation_prompt
        if text.count(opening) != sum(message.role == "assistant" for message in messages):
            return None
        segments: list[Segment] = []
        position = written = 0
        for message in messages:
            if message.role != "assistant":
                continue
            found = text.find(opening, position)
            begin = position = found + len(opening)
            if not message.weight:
                continue
            end = self._renderer.end_of_call if message.tool_calls else self._renderer.end_of_turn
            close = text.find(end, begin)
            if found < 0 or close < 0:
                return None
            segments.append(Segment(text[written:begin], False, "context"))
            segments += self._renderer.split_turn(text[begin:close], message, "")
            segments.append(Segment(end, True, "end"))
            position = written = close + len(end)
        return None if text[written:].strip() else tuple(segments)

    def _write(self, messages: list[dict[str, Any]], conversation: Conversation) -> tuple[str, int | None]:
        """The whole text and where the first user's words begin.

        The third conversation with the same head is rendered with a small stand-in for its tools, once the second has
        shown that what follows the head is the same either way.
        """
        key = self._head_key(conversation)
        head = self._heads.get(key) if conversation.tools else None
        if head is not None:
            (text,) = self._renderer.write([messages], _STAND_IN_WIRE, False, conversation)
            if text.startswith(head.stand_in):
                return head.text + text[len(head.stand_in) :], len(head.text)
        (text,) = self._renderer.write([messages], self._known_tools(conversation)[1], False, conversation)
        prefix_chars = self._prefix_chars(text, conversation)
        if prefix_chars is None or not conversation.tools or head is not None:
            return text, prefix_chars
        if key not in self._heads:
            _remember(self._heads, key, None)
        else:
            (short,) = self._renderer.write([messages], _STAND_IN_WIRE, False, conversation)
            chars = self._prefix_chars(short, conversation)
            if chars is not None and text[prefix_chars:] == short[chars:]:
                self._heads[key] = _Head(text[:prefix_chars], short[:chars])
        return text, prefix_chars

    def _prefix_chars(self, text: str, conversation: Conversation) -> int | None:
        """The first user's words stand right before what closes them, which ends in the first generation prompt."""
        words = next((m.content or "" for m in conversation.messages if m.role == "user"), "")
        words = words.strip() if self._trims else words
        prompt_end = text.find(self._renderer.generation_prompt) + len(self._renderer.generation_prompt)
        begin = prompt_end - len(self._closing) - len(words)
        return begin if begin >= 0 and text.startswith(words + self._closing, begin) else None

    def _head_key(self, conversation: Conversation) -> tuple[str, str | None]:
        first = conversation.messages[0]
        return self._known_tools(conversation)[0], first.content if first.role == "system" else None

    def _known_tools(self, conversation: Conversation) -> tuple[str, list[dict[str, Any]] | None]:
        """Tools as JSON text and on the wire; conversations that were read together share the object."""
        tools = conversation.tools
        known = self._tools.get(id(tools))
        if known is None or known[0] is not tools:
            wire = wire_tools(tools)
            known = (tools, json.dumps(wire, ensure_ascii=False), wire)
            _remember(self._tools, id(tools), known)
        return known[1], known[2]


def _remember(table: dict[Any, Any], key: object, value: object) -> None:
    if len(table) >= HEADS:
        table.clear()
    table[key] = value


def _texts(message: Message) -> Iterator[str]:
    if message.content:
        yield message.content
    if message.thought:
        yield message.thought
    for call in message.tool_calls:
        yield call.name
        yield call.arguments


def _shape(conversation: Conversation) -> _Shape | None:
    """None for what no made-up conversation stands for: empty texts, an unusual order of roles."""
    messages = conversation.messages
    system = messages[0].role == "system"
    named = any(message.name is not None for message in messages)
    turns = set()
    before = "system"
    for message in messages[system:]:
        if not _follows(message.role, before) or (message.name is not None) != (named and message.role == "tool"):
            return None
        has_content = bool(message.content and message.content.strip())
        if message.role == "assistant":
            turns.add((has_content, bool(message.tool_calls), len(message.tool_calls) > 1))
        if not (has_content or message.tool_calls) or (message.thought is not None and not message.thought.strip()):
            return None
        before = "call" if message.tool_calls else message.role
    thoughts = any(message.thought is not None for message in messages)
    if before not in ("call", "assistant"):
        return None
    return _Shape(system, bool(conversation.tools), thoughts, frozenset(turns), before == "call", named)


def _follows(role: str, before: str) -> bool:
    allowed = {"user": ("system", "assistant"), "assistant": ("user", "tool"), "tool": ("call", "tool")}
    return before in allowed.get(role, ())


def _made_up(shape: _Shape) -> Conversation:
    """Every kind of turn after a question and after a result, with a thought and without; several questions."""
    messages = [Message("system", "Made-up system prompt.")] if shape.system else []
    calls = sorted(kind for kind in shape.turns if kind[1])
    answers = [kind for kind in shape.turns if not kind[1]]
    rounds = [(thought, calls[i:]) for thought in {shape.thoughts, False} for i in range(len(calls) + 2)]
    for thought, some in rounds if answers else rounds[:1]:  # without an answer there is one question
        messages.append(Message("user", f"Made-up question {len(messages)}."))
        for kind in (*some, *answers):
            messages += _turn(kind, thought, len(messages))
    if shape.ends_in_call:
        if answers:
            messages.append(Message("user", "Made-up last question."))
        messages += _turn(calls[-1], shape.thoughts, len(messages))
        messages = messages[: max(i for i, m in enumerate(messages) if m.role == "assistant") + 1]
    if shape.named_results:
        messages = [replace(m, name=_STAND_IN.name) if m.role == "tool" else m for m in messages]
    return Conversation(tuple(messages), (_STAND_IN,) if shape.tools else ())


def _turn(kind: tuple[bool, bool, bool], thought: bool, number: int) -> list[Message]:
    """An assistant's turn, and the results of its calls."""
    has_content, has_calls, has_several = kind
    count = (2 if has_several else 1) if has_calls else 0
    calls = tuple(ToolCall(f"made{number}up{i}", _STAND_IN.name, json.dumps({"key": f"k{i}"})) for i in range(count))
    content = f"Made-up answer {number}." if has_content else None
    turn = Message("assistant", content, f"Made-up thought {number}." if thought else None, calls)
    return [turn, *(Message("tool", f"Made-up result {call.id}.", tool_call_id=call.id) for call in calls)]


@lru_cache(maxsize=64)
def _literals(template: str) -> tuple[set[str], set[str]] | None:
    """Strings that the template looks for inside texts, and those it compares whole texts with; None: unreadable."""
    environment = jinja2.Environment(extensions=[jinja2.ext.loopcontrols], autoescape=False)
    try:
        tree = environment.parse(template)
    except jinja2.TemplateSyntaxError:
        return None
    inside: set[str] = set()
    outside: set[str] = set()
    calls: list[nodes.Call | nodes.Filter | nodes.Test] = []
    calls += [*tree.find_all(nodes.Call), *tree.find_all(nodes.Filter), *tree.find_all(nodes.Test)]
    for argument in (argument for call in calls for argument in call.args):
        inside |= _strings(argument)
    for compare in tree.find_all(nodes.Compare):
        contained = any(operand.op in ("in", "notin") for operand in compare.ops)
        (inside if contained else outside).update(_strings(compare))
    return {text for text in inside if text.strip()}, {text for text in outside if text.strip()}


def _strings(node: nodes.Node) -> set[str]:
    found = [node] if isinstance(node, nodes.Const) else list(node.find_all(nodes.Const))
    return {const.value for const in found if isinstance(const.value, str)}
