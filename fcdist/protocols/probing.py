"""Finding out what a chat template does: how turns end and what comes before them, by rendering small conversations;
what it looks for in texts, by its source.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from transformers import PreTrainedTokenizerBase

from fcdist.errors import RenderError
from fcdist.protocols.parsing import read_turn, read_with_template
from fcdist.protocols.protocol import fill_response_template, load_protocol

_ANSWER, _QUESTION = "ANSWER-PROBE", "QUESTION-PROBE"
_USER: dict[str, Any] = {"role": "user", "content": _QUESTION}
_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "probe_tool",
        "description": "A probing tool.",
        "parameters": {"type": "object", "properties": {"probe_key": {"type": "string", "description": "A key."}}},
    },
}
_CALL = {
    "id": "probe00id",
    "type": "function",
    "function": {"name": "probe_tool", "arguments": {"probe_key": "PROBE-VALUE"}},
}
_CALLING: dict[str, Any] = {"role": "assistant", "tool_calls": [_CALL]}
_RESULT: dict[str, Any] = {"role": "tool", "content": "RESULT-PROBE", "tool_call_id": "probe", "name": "probe_tool"}


@dataclass(frozen=True, slots=True)
class Ending:
    """The token that closes an assistant turn."""

    token: str
    token_id: int


def ask(
    tokenizer: PreTrainedTokenizerBase,
    chat_template: str,
    conversations: list[list[dict[str, Any]]],
    tools: list[dict[str, Any]] | None,
    prompt: bool,
) -> list[str]:
    """Render several conversations over the same tools, with or without the generation prompt."""
    offered: list[Any] | None = tools
    rendered = tokenizer.apply_chat_template(
        conversations, tools=offered, chat_template=chat_template, add_generation_prompt=prompt, tokenize=False
    )
    return [str(text) for text in rendered]


def find_ending(tokenizer: PreTrainedTokenizerBase, chat_template: str, after_call: bool = False) -> Ending:
    """The special token that follows what the assistant wrote.

    Where a template writes none after the last turn (GLM style), it is the token that opens the turn that follows.

    Args:
        tokenizer: gives the special tokens.
        chat_template: composed.
        after_call: look behind a turn with a call, which some templates close differently.

    Raises:
        RenderError: the template refuses a plain question and answer, or no special token follows the answer.
    """
    answer: dict[str, Any] = {"role": "assistant", "content": _ANSWER}
    following: dict[str, Any] = _USER
    tools, mark = None, _ANSWER
    if after_call:
        answer = _CALLING
        following = {"role": "tool", "content": "RESULT", "tool_call_id": "probe00id", "name": "probe_tool"}
        tools, mark = [_TOOL], "PROBE-VALUE"
    tokens = {**tokenizer.get_added_vocab()}
    tokens |= {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}
    rest = ""
    for messages in ([_USER, answer], [_USER, answer, following]):
        try:
            text = ask(tokenizer, chat_template, [messages], tools, False)[0]
        except (jinja2.TemplateError, TypeError) as error:
            raise RenderError(f"the chat template refuses a question and its answer: {error}") from None
        rest = text.rpartition(mark)[2]
        found = [token for token in tokens if token and token in rest and (after_call or _leads(rest, token))]
        if found:
            token = min(found, key=lambda t: (rest.index(t), -len(t)))
            return Ending(token, tokens[token])
    raise RenderError(
        f"the chat template closes an assistant turn with no special token (it goes on with {rest[:40]!r}), so a model "
        "could not learn when to stop; add an end-of-turn token to the template (model.chat_template), "
        "for example {{ eos_token }} after the assistant's content"
    )


def find_generation_prompt(tokenizer: PreTrainedTokenizerBase, chat_template: str) -> str:
    """What stands between a user's text and the assistant's: the header a template adds for the model to go on from.

    A template that adds nothing on request (`[INST] ... [/INST]`) gives all that follows the user's text.
    """
    try:
        without = ask(tokenizer, chat_template, [[_USER]], None, False)[0]
        prompt = ask(tokenizer, chat_template, [[_USER]], None, True)[0]
    except (jinja2.TemplateError, TypeError) as error:
        raise RenderError(f"the chat template refuses a single user message: {error}") from None
    if prompt.startswith(without) and len(prompt) > len(without):
        return prompt[len(without) :]
    return prompt.rpartition(_QUESTION)[2]


def takes_tools(tokenizer: PreTrainedTokenizerBase, chat_template: str) -> bool:
    """Whether the checkpoint's own template writes the tools it is given and the calls that were made."""
    messages = [_USER, _CALLING]
    try:
        text = ask(tokenizer, chat_template, [messages], [_TOOL], False)[0]
    except (jinja2.TemplateError, TypeError):
        return False
    return "A probing tool." in text and "PROBE-VALUE" in text


def find_reader(
    tokenizer: PreTrainedTokenizerBase,
    chat_template: str,
    recipe: Mapping[str, Any],
    generation_prompt: str,
    stop_tokens: Sequence[str],
) -> tuple[Mapping[str, Any] | None, dict[str, Any] | None]:
    """The first known reader that reads back a call written by the checkpoint's own template.

    Args:
        tokenizer: of the checkpoint.
        chat_template: its own, one that takes tools.
        recipe: of `native`; its `readers` name a protocol (`use`) or hold a `response_template`.
        generation_prompt: what the assistant's text comes after.
        stop_tokens: what it may end in.

    Returns:
        (grammar recipe or None, filled response template); (None, None) if no reader fits.
    """
    messages = [_USER, _CALLING]
    prompt = ask(tokenizer, chat_template, [messages[:1]], [_TOOL], True)[0]
    text = ask(tokenizer, chat_template, [messages], [_TOOL], False)[0][len(prompt) :]
    for token in stop_tokens:
        text = text.split(token, 1)[0]
    after_result = ask(tokenizer, chat_template, [[*messages, _RESULT]], [_TOOL], True)[0]
    # Where results end otherwise than questions, only the end of the prompt tells where the answer begins.
    anchor = generation_prompt.split("<think>")[0] if after_result.endswith(generation_prompt) else ""
    for reader in recipe["readers"]:
        protocol = load_protocol(reader["use"]) if "use" in reader else None
        template = protocol.response_template if protocol else reader["response_template"]
        filled = fill_response_template(template or {}, anchor, stop_tokens)
        message = read_with_template(text, filled, generation_prompt, [_TOOL])
        if (
            message is None
            or len(message.tool_calls) != 1
            or message.content
            or message.tool_calls[0].name != "probe_tool"
        ):
            continue
        if protocol is None:
            return None, filled
        turn = read_turn(text, protocol.recipe)
        if turn is not None and turn.calls:
            return protocol.recipe, filled
    return None, None


@lru_cache(maxsize=64)
def find_literals(template: str) -> tuple[set[str], set[str]] | None:
    """Strings that the template looks for inside texts, and those it compares whole texts with; None: unreadable."""
    # Blocks are trimmed as transformers does it, so that jinja2 takes the lexer which it made for the same template.
    extensions = [jinja2.ext.loopcontrols]
    environment = jinja2.Environment(extensions=extensions, autoescape=False, trim_blocks=True, lstrip_blocks=True)
    try:
        tree = environment.parse(template)
    except jinja2.TemplateSyntaxError:
        return None
    compares = list(tree.find_all(nodes.Compare))
    of_roles: set[nodes.Const] = set().union(*map(_role_names, compares))
    inside: set[nodes.Const] = set()  # nodes are hashed by identity
    outside: set[nodes.Const] = set()
    for compare in compares:
        contained = any(operand.op in ("in", "notin") for operand in compare.ops)
        (inside if contained else outside).update(_constants(compare))
    for node in tree.find_all((nodes.Call, nodes.Filter, nodes.Test)):
        if isinstance(node, (nodes.Call, nodes.Filter, nodes.Test)):
            inside.update(*map(_constants, node.args))
    return _strings(inside - of_roles), _strings(outside - of_roles)


def _role_names(compare: nodes.Compare) -> set[nodes.Const]:
    """Constants that are held against a message's role, so against no text that someone wrote."""
    sides = [compare.expr, *(operand.expr for operand in compare.ops)]
    roles = [side for side in sides if _is_role(side)]
    others = [side for side in sides if not _is_role(side)]
    if not roles or not all(map(_is_literal, others)):
        return set()
    keys = {side.arg for side in roles if isinstance(side, nodes.Getitem) and isinstance(side.arg, nodes.Const)}
    return keys.union(*map(_constants, others))


def _is_role(side: nodes.Node) -> bool:
    """`message.role` or `message['role']`."""
    if isinstance(side, nodes.Getattr):
        return side.attr == "role"
    return isinstance(side, nodes.Getitem) and isinstance(side.arg, nodes.Const) and side.arg.value == "role"


def _is_literal(side: nodes.Node) -> bool:
    items = side.items if isinstance(side, (nodes.List, nodes.Tuple)) else [side]
    return all(isinstance(item, nodes.Const) for item in items)


def _constants(node: nodes.Node) -> set[nodes.Const]:
    return {node} if isinstance(node, nodes.Const) else set(node.find_all(nodes.Const))


def _strings(constants: set[nodes.Const]) -> set[str]:
    return {const.value for const in constants if isinstance(const.value, str) and const.value.strip()}


def _leads(rest: str, token: str) -> bool:
    return rest.lstrip().startswith(token)
