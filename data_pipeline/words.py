"""Tokens of user turns for measuring likeness: words, and single characters in Chinese, Japanese and Korean."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence

from fcdist.schema.conversation import Conversation, ToolCall
from fcdist.schema.json_text import read_json

_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+(?:['’][^\W_{_IDEOGRAPHS}]+)*")
_IDEOGRAPH = re.compile(f"[{_IDEOGRAPHS}]")
_DIGITS = re.compile(r"\d+(?:[.,:/-]\d+)*")
_MIN_VALUE_LENGTH = 2
"""Shorter argument values (a unit, a letter) also stand in words that have nothing to do with them."""


def tokens(text: str) -> list[str]:
    """Lower-case words of `text`; an ideograph is a token of its own, punctuation is none."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


def joined(words: Sequence[str]) -> str:
    """Tokens as people write them: blanks between words, none between ideographs."""
    return re.sub(rf"(?<=[{_IDEOGRAPHS}]) (?=[{_IDEOGRAPHS}])", "", " ".join(words))


def user_turns(conversation: Conversation) -> list[str]:
    """What the user says, turn by turn."""
    return [message.content or "" for message in conversation.messages if message.role == "user"]


def language_of(conversation: Conversation) -> str:
    """The conversation's own label; without one `zh` where a tenth of what the user says is ideographs, else `en`."""
    if conversation.language:
        return conversation.language
    said = "".join(user_turns(conversation))
    return "zh" if 10 * len(_IDEOGRAPH.findall(said)) > len(said) else "en"


def delexicalised_turns(conversation: Conversation) -> list[list[str]]:
    """Tokens of each user turn, with the values of the calls and every number replaced by one placeholder.

    Two turns that differ in nothing but their values become equal.
    """
    values = sorted({value for value in _values(conversation) if len(value) >= _MIN_VALUE_LENGTH}, key=len)
    turns = []
    for text in user_turns(conversation):
        text = unicodedata.normalize("NFKC", text).lower()
        for value in reversed(values):  # the longest first: a value may stand inside another
            text = text.replace(value, " 0 ")
        turns.append(_TOKEN.findall(_DIGITS.sub(" 0 ", text)))
    return turns


def decoded_arguments(call: ToolCall) -> Mapping[str, object]:
    """Arguments of a call; empty where they are no JSON object."""
    try:
        value = read_json(call.arguments)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _values(conversation: Conversation) -> Iterator[str]:
    """Texts that fill slots: argument values, and the words behind them where the teacher noted those."""
    for message in conversation.messages:
        for call in message.tool_calls:
            yield from _texts(decoded_arguments(call))
    for noted in (conversation.metadata or {}).get("calls") or ():
        if isinstance(noted, Mapping):
            yield from _texts(noted.get("spans"))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield unicodedata.normalize("NFKC", value).lower()
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key != "form" or "of" not in value:  # how a tool writes a value is no text of a slot
                yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
