"""Plain words taken apart as a byte-level BPE tokenizer does it, each part merged once.

A tokenizer spends most of its time on finding the parts of a text (its regex engine, offsets, bytes as characters), not
on merging them. Parts repeat far more than words: `"user_id":` and `"order_id":` share all but one.
"""

import itertools
import json
import re
from array import array
from collections.abc import Callable, Iterable, Mapping
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
_BETWEEN = "\0"
"""Stands in no plain text."""


def odd_ones(words: Iterable[str]) -> list[str]:
    """Words that are not plain, which `Pretokens` may not encode."""
    return list(filter(_ODD.search, words))


class Pretokens:
    """Parts of plain words and their token ids, found once and then remembered."""

    def __init__(self, backend: Tokenizer) -> None:
        """`backend` must be byte-level BPE with patterns of `SPLITS` or GPT-2's; see `ends_words_at_spaces`."""
        self._model: models.BPE = backend.model
        first, *others = [split for step in steps(backend) if (split := _split(step))]
        self._split = reduce(_then, others, first)
        self._ids: dict[str, bytes] = {}  # int32

    def encode(self, words: Iterable[str]) -> dict[str, bytes]:
        """Token ids, as int32 bytes, of plain words, or of any plain texts that may be encoded on their own."""
        parts_of = {word: self._split(word) for word in words}
        self._learn(set(itertools.chain.from_iterable(parts_of.values())).difference(self._ids))
        find = self._ids.__getitem__
        return {word: b"".join(map(find, parts)) for word, parts in parts_of.items()}

    def clear(self) -> None:
        """Forget all parts."""
        self._ids.clear()

    def _learn(self, parts: Iterable[str]) -> None:
        new = list(parts)
        together = _BETWEEN.join(new).encode().decode("latin-1").translate(_AS_CHARACTER)
        as_characters = together.split(_BETWEEN.translate(_AS_CHARACTER)) if new else []
        for part, characters in zip(new, as_characters, strict=True):
            tokens = self._model.tokenize(characters)
            self._ids[part] = array("i", [token.id for token in tokens]).tobytes()


def steps(backend: Tokenizer) -> list[dict[str, Any]]:
    """The tokenizer's steps of pre-tokenization, as its file names them."""
    state = json.loads(backend.pre_tokenizer.__getstate__())
    return list(state["pretokenizers"]) if state["type"] == "Sequence" else [state]


def _then(first: _Split, second: _Split) -> _Split:
    def split(text: str) -> list[str]:
        wholes = first(text)
        return second(text) if len(wholes) == 1 else [part for whole in wholes for part in second(whole)]

    return split


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
