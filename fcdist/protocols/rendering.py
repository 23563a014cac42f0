"""Rendering: a conversation as the text a model is trained on, split into what it reads and what it must write.

Only the checkpoint's chat template, composed with a protocol, writes text here, through `apply_chat_template`: the
training prompt is the serving prompt because both are the same call.
"""

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jinja2
from transformers import PreTrainedTokenizerBase

from fcdist.errors import RenderError
from fcdist.protocols.parsing import read_turn, read_with_template
from fcdist.protocols.probing import Ending, ask, find_ending, find_generation_prompt, find_reader, takes_tools
from fcdist.protocols.protocol import Protocol, fill_response_template
from fcdist.schema.conversation import Conversation, Message, Tool

SegmentKind = Literal["context", "thought", "call", "answer", "end"]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of rendered text. Every kind but `context` is supervised."""

    text: str
    supervised: bool
    kind: SegmentKind


class Renderer:
    """A tokenizer's chat template composed with a protocol.

    The conversation's system prompt comes first and the tools after it; with no tools, calls or thoughts the text is
    the checkpoint's own. Tool results travel in user turns (`text`, `tagged`), the only kind every template takes.
    """

    own_template: str
    """The checkpoint's."""
    chat_template: str
    """Composed; what export saves."""
    recipe: Mapping[str, Any] | None
    """Grammar recipe; for `native` that of the reader that fits the checkpoint's own calls, None if none has one."""
    response_template: dict[str, Any] | None
    """Filled in for this checkpoint; None if nothing reads its native calls."""
    end_of_turn: str
    """Token that closes an answer. For a template that closes nothing it is the opener of the next turn."""
    end_of_turn_id: int
    end_of_call: str
    """Token that closes a turn with calls; nearly always the same."""
    stop_token_ids: tuple[int, ...]
    """Where generation must stop: the ends above and the tokenizer's own."""
    generation_prompt: str
    """What the template adds after a user turn for the assistant to go on from."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, protocol: Protocol) -> None:
        """Compose and probe.

        Raises:
            RenderError: no chat template, one without an end-of-turn token, or (`native`) one that ignores tools.
        """
        if not tokenizer.chat_template:
            raise RenderError(
                "the tokenizer has no chat template; name one in model.chat_template or choose an instruct checkpoint"
            )
        self.tokenizer = tokenizer
        self.protocol = protocol
        named = [{"type": "function"}] if not protocol.prelude else None
        self.own_template = tokenizer.get_chat_template(tools=named)
        self.chat_template = protocol.compose(self.own_template)
        ending = find_ending(tokenizer, self.chat_template)
        self.end_of_turn, self.end_of_turn_id = ending.token, ending.token_id
        self.generation_prompt = find_generation_prompt(tokenizer, self.chat_template)
        if protocol.prelude:
            call_ending = ending
        elif takes_tools(tokenizer, self.chat_template):
            call_ending = find_ending(tokenizer, self.chat_template, after_call=True)
        else:
            raise RenderError(
                "protocol.name='native' needs a chat template that takes tools, and the checkpoint's ignores them; "
                "choose protocol.name=text or tagged, which work on any template"
            )
        self.end_of_call = call_ending.token
        self.stop_token_ids = _stop_ids(tokenizer, ending, call_ending)
        self.stop_tokens = [str(tokenizer.convert_ids_to_tokens(i)) for i in self.stop_token_ids]
        self.recipe, self.response_template = self._reader()
        self._fingerprint = ""

    def render(self, conversation: Conversation) -> list[tuple[Segment, ...]]:
        """Split a conversation into context and supervised text.

        The supervised text of an assistant turn is what the template adds after the generation prompt of the messages
        before it, up to and including the end-of-turn token. Turns follow each other in one example as long as the
        prompt of the next repeats them unchanged; a template that rewrites the past (drops earlier thoughts, moves
        the system prompt) starts a new example at that turn, whose context is exactly what serving sends. Whatever
        follows the last supervised turn is left out.

        Args:
            conversation: assistant turns of weight 0 stay in the context.

        Returns:
            Examples; each a tuple of segments whose texts join to what `apply_chat_template` writes.

        Raises:
            RenderError: the template refuses the conversation, no assistant turn has weight, or a turn would be read
                back as something else than it is.
        """
        turns = [i for i, m in enumerate(conversation.messages) if m.role == "assistant" and m.weight]
        if not turns:
            raise RenderError(f"{_name(conversation)}: no assistant turn has weight, so nothing can be learned from it")
        messages, tools = self.wire_messages(conversation), wire_tools(conversation.tools)
        prompts = self.write([messages[:i] for i in turns], tools, True, conversation)
        wholes = self.write([messages[: i + 1] for i in turns], tools, False, conversation)
        examples: list[tuple[Segment, ...]] = []
        segments: list[Segment] = []
        written = ""
        for i, prompt, whole in zip(turns, prompts, wholes, strict=True):
            where = f"{_name(conversation)}: messages[{i}]"
            body, end = self._supervised(prompt, whole, conversation.messages[i], where)
            if segments and not prompt.startswith(written):
                examples.append(tuple(segments))
                segments, written = [], ""
            segments.append(Segment(prompt[len(written) :], False, "context"))
            segments += self.split_turn(body, conversation.messages[i], where)
            segments.append(Segment(end, True, "end"))
            written = prompt + body + end
        return [*examples, tuple(segments)]

    def prompt(self, conversation: Conversation) -> str:
        """Text up to and including the generation prompt, for a conversation whose last turn is not the assistant's.

        Raises:
            RenderError: the template refuses the conversation, or the last message is the assistant's.
        """
        if not conversation.messages or conversation.messages[-1].role == "assistant":
            raise RenderError(f"{_name(conversation)}: a prompt must end in a user or tool message")
        tools = wire_tools(conversation.tools)
        return self.write([self.wire_messages(conversation)], tools, True, conversation)[0]

    def parse(self, text: str, tools: Sequence[Tool] = ()) -> Message:
        """Read generated text, with or without its end-of-turn token.

        Malformed calls leave a message whose content is the text, without calls or thought. The end-of-turn token and
        what follows it is not part of the message. Calls get the ids `call_0`, `call_1`, ...; arguments are the text
        that was generated (`native` with a response template: its JSON value, with types taken from `tools`).

        Raises:
            RenderError: nothing can read this checkpoint's native calls; never because of what the model wrote.
        """
        for token in self.stop_tokens:
            text = text.split(token, 1)[0]
        message: Message | None
        if self.recipe is not None:
            turn = read_turn(text, self.recipe)
            message = turn.to_message() if turn else None
        elif self.response_template is not None:
            wire = [tool.to_wire() for tool in tools]
            message = read_with_template(text, self.response_template, self.generation_prompt, wire)
        else:
            raise self._no_reader()
        return message or Message("assistant", content=text)

    def fingerprint(self) -> str:
        """Hex digest of all that decides which tokens a conversation becomes: template, tokenizer, stop tokens."""
        if not self._fingerprint:
            before = (self.protocol.name, self.chat_template, self.end_of_turn, self.end_of_call)
            digest = hashlib.sha256("".join(f"{fact}\0" for fact in before).encode())
            digest.update(_vocabulary(self.tokenizer))
            digest.update(f"\0{json.dumps(self.response_template, sort_keys=True)}".encode())
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    def prepare_tokenizer(self) -> PreTrainedTokenizerBase:
        """A copy of the tokenizer with the composed chat template and the response template, ready to be saved.

        Raises:
            RenderError: nothing can read this checkpoint's native calls.
        """
        if self.response_template is None:
            raise self._no_reader()
        tokenizer = copy.deepcopy(self.tokenizer)
        tokenizer.chat_template = self.chat_template
        tokenizer.response_template = self.response_template
        return tokenizer

    def _reader(self) -> tuple[Mapping[str, Any] | None, dict[str, Any] | None]:
        """Grammar recipe and response template of this checkpoint."""
        own = getattr(self.tokenizer, "response_template", None)
        if self.protocol.response_template is not None:
            template = fill_response_template(self.protocol.response_template, self.generation_prompt, self.stop_tokens)
            return self.protocol.recipe, template
        if own is not None:
            return None, own
        return find_reader(
            self.tokenizer, self.chat_template, self.protocol.recipe, self.generation_prompt, self.stop_tokens
        )

    def _no_reader(self) -> RenderError:
        return RenderError(
            "protocol.name='native': the tokenizer has no response_template and none that fcdist knows reads the calls "
            "its chat template writes; choose protocol.name=text or tagged, or set tokenizer.response_template"
        )

    def wire_messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        """Messages as `apply_chat_template` takes them."""
        messages = [message.to_wire() for message in conversation.messages]
        for message in messages:
            message.pop("weight", None)
        if not self.protocol.prelude:
            # What checkpoints' own templates expect and servers send them: an object, not its text.
            for call in (call for message in messages for call in message.get("tool_calls", ())):
                call["function"]["arguments"] = _decoded(call["function"]["arguments"])
        return messages

    def write(
        self,
        conversations: list[list[dict[str, Any]]],
        tools: list[dict[str, Any]] | None,
        prompt: bool,
        conversation: Conversation,
    ) -> list[str]:
        """What `apply_chat_template` writes for several lists of messages, with or without the generation prompt.

        Raises:
            RenderError: the template refuses one of them; `conversation` is named.
        """
        if not conversations[0]:
            raise RenderError(f"{_name(conversation)}: the assistant speaks first; a user message must come before it")
        try:
            return ask(self.tokenizer, self.chat_template, conversations, tools, prompt)
        except (jinja2.TemplateError, TypeError) as error:
            roles = " ".join(message["role"] for message in conversations[-1])
            raise RenderError(
                f"{_name(conversation)}: the chat template refuses it ({error}); roles: {roles}"
            ) from None

    def _supervised(self, prompt: str, whole: str, message: Message, where: str) -> tuple[str, str]:
        """What the template adds after the prompt: (text, its closing token)."""
        if not whole.startswith(prompt):
            raise RenderError(
                f"{where}: the template's generation prompt {self.generation_prompt!r} does not begin the turn it "
                "writes, so the turn cannot be trained as it is served; choose a template whose prompt adds no text "
                "of the answer"
            )
        end = self.end_of_call if message.tool_calls else self.end_of_turn
        added = whole[len(prompt) :]
        body, found, rest = added.partition(end)
        if not found and not self._closes(added):  # the token is the next turn's opener
            return added.rstrip("\n"), end
        if not found or rest.strip():
            raise RenderError(f"{where}: the turn must hold the end-of-turn token {end!r} once, at its end: {added!r}")
        return body, end

    def _closes(self, added: str) -> bool:
        """Whether a turn ends in some stop token, if not in the expected one."""
        return added.rstrip().endswith(tuple(self.stop_tokens))

    def split_turn(self, body: str, message: Message, where: str) -> list[Segment]:
        """Split a turn by what its text is for, and hold it against the message it must be read back as.

        Raises:
            RenderError: it would be read back as something else; the text begins with `where`.
        """
        turn = read_turn(body, self.recipe) if self.recipe is not None else None
        if self.protocol.prelude:
            said = [(call.name, call.arguments.strip()) for call in message.tool_calls]
            if turn is None or list(turn.calls) != said:
                read = "nothing valid" if turn is None else f"the calls {list(turn.calls)}"
                raise RenderError(
                    f"{where} would be read back as {read} instead of {said}: does its text hold tags of the protocol, "
                    f"or are the arguments no JSON object? Text: {body[:200]!r}"
                )
            if turn.thought != ((message.thought or "").strip() or None):
                raise RenderError(
                    f"{where}: the thought would be read back as {turn.thought!r} instead of {message.thought!r}; it "
                    "holds tags of the protocol or the chat template removes it (then set protocol.thoughts=false)"
                )
        if turn is not None:
            return [Segment(body[s.start : s.end], True, s.kind) for s in turn.spans]
        rest: SegmentKind = "call" if message.tool_calls else "answer"
        thought = (message.thought or "").strip()
        cut = body.index(thought) + len(thought) if thought and thought in body else 0
        parts = (Segment(body[:cut], True, "thought"), Segment(body[cut:], True, rest))
        return [part for part in parts if part.text]


def wire_tools(tools: Sequence[Tool]) -> list[dict[str, Any]] | None:
    """Tools as `apply_chat_template` takes them."""
    return [tool.to_wire() for tool in tools] or None


def drop_thoughts(conversation: Conversation) -> Conversation:
    """The conversation without what the assistant reasons before it calls or answers."""
    messages = tuple(m if m.thought is None else replace(m, thought=None) for m in conversation.messages)
    return replace(conversation, messages=messages)


def _name(conversation: Conversation) -> str:
    return f"conversation {conversation.id!r}" if conversation.id else "conversation"


def _decoded(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments


def _stop_ids(tokenizer: PreTrainedTokenizerBase, *endings: Ending) -> tuple[int, ...]:
    ids = [ending.token_id for ending in endings]
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    return tuple(dict.fromkeys(ids))


def _vocabulary(tokenizer: PreTrainedTokenizerBase) -> bytes | memoryview:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()
    # What pickle would keep: `to_str` gives the same text by way of a Python string, which is made and encoded first.
    state: bytes = backend.__getstate__()
    # Before the added tokens stand version, truncation and padding: the last two are set by whichever call came last.
    mark = b'"added_tokens":'
    at = state.find(mark)
    return state if at < 0 else memoryview(state)[at + len(mark) :]
