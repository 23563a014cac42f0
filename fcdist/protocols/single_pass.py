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

Conversations that are announced (`Passes.expect`) are written together, and tools that several of them share are
written once: the others get the text of the first, up to where their own words begin.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from fcdist.errors import RenderError
from fcdist.protocols.probing import find_literals
from fcdist.protocols.rendering import Renderer, Segment, wire_tools
from fcdist.protocols.shapes import MADE_UP_TOOL, Shape, make_up, shape_of
from fcdist.schema.conversation import Conversation, Message, Tool

CHECK_EVERY = 256
HEADS = 4096
"""Heads (system prompt and tools) that are remembered; then all are forgotten."""
_MARK = "QUESTION-PROBE"
_STAND_IN = wire_tools([MADE_UP_TOOL])


class UnsteadyTemplateError(Exception):
    """One pass gave other segments than turn by turn, so what it gave before is in doubt too. Names the conversation.

    Not an FcdistError: no user can mend it. The caller renders everything again with `single=False`.
    """


class Rendered(NamedTuple):
    """One example."""

    segments: tuple[Segment, ...]
    prefix_chars: int
    """Characters before the first user's words: system prompt and tools. 0 if the text begins otherwise."""


_HeadKey = tuple[int, str | None]
"""Number of the tool set, system prompt."""


class _Head(NamedTuple):
    """The text before the first user's words, with the tools and with one small stand-in for them."""

    text: str
    stand_in: str


class _Expected(NamedTuple):
    """A conversation that will be rendered."""

    conversation: Conversation
    said: Sequence[Message]
    """Up to the last turn that is learnt; empty where one pass is not safe."""
    wire: list[dict[str, Any]]
    """The same, as a template takes them."""
    key: _HeadKey | None
    """None without tools."""
    text: str | None
    """Written in one pass, with the stand-in for its tools; None: not written with others."""


class Passes:
    """Renders conversations in one pass where that is safe, else turn by turn."""

    def __init__(self, renderer: Renderer, single: bool = True) -> None:
        """`single=False`: always turn by turn."""
        self._renderer = renderer
        self._count = 0
        self._steady: dict[Shape, bool] = {}
        self._expected: dict[int, _Expected] = {}  # by the id of the conversation
        self._uses: Counter[_HeadKey] = Counter()
        self._heads: dict[_HeadKey, _Head | None] = {}  # None: the tools change what follows them
        self._prefixes: dict[_HeadKey, str] = {}
        self._tool_sets: dict[int, tuple[tuple[Tool, ...], int]] = {}  # by the id of the tools
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._last_number = 0  # never given again, though what has it is forgotten
        # A prelude looks for no words, so it need not be read.
        literals = find_literals(renderer.own_template) if single and renderer.generation_prompt.strip() else None
        self._single = literals is not None
        inside, outside = literals or ((), ())
        ends = {renderer.generation_prompt.strip(), renderer.end_of_turn, renderer.end_of_call, *renderer.stop_tokens}
        self._marks = (*ends, *inside)
        self._whole_words = tuple(outside)
        if self._single:
            after = renderer.prompt(Conversation((Message("user", f" {_MARK} "),))).rpartition(_MARK)[2]
            self._trims = not after.startswith(" ")
            self._closing = after if self._trims else after[1:]

    def expect(self, conversations: Sequence[Conversation]) -> None:
        """Conversations that will be rendered next: they are written together, which is quicker. Changes no result."""
        expected = [
            self._look_at(c) if self._single and self._is_safe(c) else _Expected(c, (), [], None, None)
            for c in conversations
        ]
        self._expected = {id(one.conversation): one for one in expected}
        if len(self._uses) > HEADS:
            self._uses.clear()
        self._uses.update(one.key for one in expected if one.key)
        without_tools = [one for one in expected if one.said and not one.key]
        repeated = [one for one in expected if one.key and self._uses[one.key] > 1 and self._may_stand_in(one.key)]
        for some, tools in ((without_tools, None), (repeated, _STAND_IN)):
            for one, text in zip(some, self._write_together(some, tools), strict=False):
                self._expected[id(one.conversation)] = one._replace(text=text)

    def render(self, conversation: Conversation) -> list[Rendered]:
        """The examples of a conversation.

        Raises:
            RenderError: see `Renderer.render`.
            UnsteadyTemplateError: the sample that is rendered both ways differs.
        """
        if id(conversation) not in self._expected:
            self.expect([conversation])
        rendered = self._in_one_pass(self._expected[id(conversation)])
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
            openings = [
                self._renderer.wire_messages(Conversation((*head, Message("user", words)))) for words in ("0", "x")
            ]
            a, b = self._renderer.write(openings, wire_tools(conversation.tools), True, conversation)
            length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
            _remember(self._prefixes, key, a[:length])
        return self._prefixes[key]

    def _is_safe(self, conversation: Conversation) -> bool:
        shape = shape_of(conversation)
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

    def _is_steady(self, shape: Shape) -> bool:
        conversation = make_up(shape)
        try:
            return self._turn_by_turn(conversation) == [self._in_one_pass(self._look_at(conversation))]
        except RenderError:
            return False

    def _look_at(self, conversation: Conversation) -> _Expected:
        turns = [i for i, m in enumerate(conversation.messages) if m.role == "assistant" and m.weight]
        said = conversation.messages[: turns[-1] + 1] if turns else ()
        wire = self._renderer.wire_messages(conversation)[: len(said)]
        key = self._head_key(conversation) if said and conversation.tools else None
        return _Expected(conversation, said, wire, key, None)

    def _in_one_pass(self, expected: _Expected) -> Rendered | None:
        """None where it is not safe, or the text does not hold what it must."""
        if not expected.said:
            return None
        try:
            text, prefix_chars = self._write(expected)
            segments = self._cut(text, expected.said)
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

    def _write_together(self, some: Sequence[_Expected], tools: list[dict[str, Any]] | None) -> list[str]:
        """Their texts; none if one of them is refused: then each is written on its own."""
        try:
            return self._renderer.write([e.wire for e in some], tools, False, some[0].conversation) if some else []
        except RenderError:
            return []

    def _write(self, expected: _Expected) -> tuple[str, int | None]:
        """The whole text and where the first user's words begin.

        The first of several conversations with the same head is written both with its tools and with the stand-in. If
        what follows the head is the same either way, its head goes before what the others got with the stand-in.
        """
        conversation, key, short = expected.conversation, expected.key, expected.text
        if key is None and short is not None:
            return short, self._prefix_chars(short, conversation)
        head = self._heads.get(key) if key else None
        if head is not None and short is not None and short.startswith(head.stand_in):
            return head.text + short[len(head.stand_in) :], len(head.text)
        (text,) = self._renderer.write([expected.wire], wire_tools(conversation.tools), False, conversation)
        prefix_chars = self._prefix_chars(text, conversation)
        if key and short is not None and prefix_chars is not None and key not in self._heads:
            chars = self._prefix_chars(short, conversation)
            same = chars is not None and text[prefix_chars:] == short[chars:]
            _remember(self._heads, key, _Head(text[:prefix_chars], short[:chars]) if same else None)
        return text, prefix_chars

    def _may_stand_in(self, key: _HeadKey) -> bool:
        return key not in self._heads or self._heads[key] is not None

    def _prefix_chars(self, text: str, conversation: Conversation) -> int | None:
        """The first user's words stand right before what closes them, which ends in the first generation prompt."""
        words = next((m.content or "" for m in conversation.messages if m.role == "user"), "")
        words = words.strip() if self._trims else words
        prompt_end = text.find(self._renderer.generation_prompt) + len(self._renderer.generation_prompt)
        begin = prompt_end - len(self._closing) - len(words)
        return begin if begin >= 0 and text.startswith(words + self._closing, begin) else None

    def _head_key(self, conversation: Conversation) -> _HeadKey:
        first = conversation.messages[0]
        return self._tool_set(conversation.tools), first.content if first.role == "system" else None

    def _tool_set(self, tools: tuple[Tool, ...]) -> int:
        """Number of all that a template can tell tools by; conversations that were read together share the object."""
        known = self._tool_sets.get(id(tools))
        if known is None or known[0] is not tools:
            facts = tuple((tool.name, tool.description, tool.schema, tool.strict) for tool in tools)
            if facts not in self._numbers:
                self._last_number += 1
                _remember(self._numbers, facts, self._last_number)
            known = (tools, self._numbers[facts])
            _remember(self._tool_sets, id(tools), known)
        return known[1]


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
