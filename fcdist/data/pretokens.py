"""Plain words taken apart as a byte-level BPE tokenizer does it, each part merged once.

A tokenizer spends most of its time on finding the parts of a text (its regex engine, offsets, bytes as characters), not
on merging them. Parts repeat far more than words: `"user_id":` and `"order_id":` share all but one.
"""

import json
import re
from array import array
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

from tokenizers import Tokenizer, models

_Split = Callable[[str], list[str]]

_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|{_LETTERS}|{numbers}|{_REST}" for numbers in (r"\p{N}", r"\p{N}{1,3}", r"\p{N}+")
}
"""Patterns of tiktoken's cl100k, Llama 3, Qwen and their kin. As in GPT-2's, no match goes on over a space."""
_GPT2 = r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

_HAN = "\u4e00-\u9fa5"
_ODD = re.compile(f"[^\t\n\r -~{_HAN}、。《》【】！（），：；？“”‘’…—]")
"""Whatever is not plain. Regex engines agree on the class of the rest, whatever version of Unicode they know."""
_TO_PLAIN = ((r"\p{L}\p{N}]", f"A-Za-z{_HAN}0-9]"), (r"\p{L}", f"[A-Za-z{_HAN}]"), (r"\p{N}", "[0-9]"))

_PRINTED = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
_AS_CHARACTER = {byte: 256 + i for i, byte in enumerate(sorted({*range(256)} - _PRINTED))}
"""Bytes that stand for themselves in no vocabulary of byte-level BPE → the characters they are written as."""


def is_plain(text: str) -> bool:
    """Whether `Pretokens` may encode it."""
    return not _ODD.search(text)


class Pretokens(dict[str, bytes]):
    """Part of a word → its token ids as int32 bytes; found once, then remembered."""

    def __init__(self, backend: Tokenizer) -> None:
        """`backend` must be byte-level BPE with patterns of `SPLITS` or GPT-2's; see `ends_words_at_spaces`."""
        self._model: models.BPE = backend.model
        first, *others = [split for step in steps(backend) if (split := _split(step))]
        self._split = reduce(_then, others, first)

    def encode(self, word: str) -> bytes:
        """Token ids of a plain word, or of any plain text that may be encoded on its own, as int32 bytes."""
        return b"".join(map(self.__getitem__, self._split(word)))

    def __missing__(self, part: str) -> bytes:
        as_characters = part.encode().decode("latin-1").translate(_AS_CHARACTER)
        ids = array("i", [token.id for token in self._model.tokenize(as_characters)]).tobytes()
        self[part] = ids
        return ids


def steps(backend: Tokenizer) -> list[dict[str, Any]]:
    """The tokenizer's steps of pre-tokenization, as its file names them."""
    state = json.loads(backend.pre_tokenizer.__getstate__())
    return list(state["pretokenizers"]) if state["type"] == "Sequence" else [state]


def _then(first: _Split, second: _Split) -> _Split:
    return lambda text: [part for whole in first(text) for part in second(whole)]


def _split(step: Mapping[str, Any]) -> _Split | None:
    """What finds the parts of a plain text; None for a step that leaves it whole."""
    if step["type"] == "Digits":
        return re.compile("[0-9]|[^0-9]+" if step["individual_digits"] else "[0-9]+|[^0-9]+").findall
    if step["type"] == "ByteLevel" and not step["use_regex"]:
        return None
    pattern = _GPT2 if step["type"] == "ByteLevel" else step["pattern"]["Regex"]
    for unicode_class, plain in _TO_PLAIN:
        pattern = pattern.replace(unicode_class, plain)
    return re.compile(pattern, re.ASCII).findall
