"""Text → token ids with the place of every token, whatever the tokenizer is made of."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase


class Encoding(NamedTuple):
    """Tokens of a text."""

    ids: np.ndarray
    """[T] int32."""
    before: list[int]
    """For each place that was asked for: how many tokens begin before that character."""


class Encode(Protocol):
    """Text → tokens without automatic special tokens."""

    def __call__(self, text: str, inside: bool = False, places: Sequence[int] = ()) -> Encoding:
        """Encode `text`; `inside` says that other text stands before it; `places` are characters, ascending."""
        ...

    def expect(self, texts: Iterable[str]) -> None:
        """Texts that will be encoded next: they may be looked at together, which is quicker. Changes no result."""
        ...


class Tokens(NamedTuple):
    """What a tokenizer makes of a whole text."""

    ids: list[int]
    starts: list[int]
    """First character of each token, ascending."""


class WholeEncode:
    """Encodes a text in one call.

    SentencePiece puts a space before whatever it takes for the start of a string; in mid-text none belongs there.
    """

    def __init__(self, encode: Callable[[str], Tokens]) -> None:
        self._encode = encode
        self._before = encode("\n").ids
        self._adds_space = encode("\na").ids != [*self._before, *encode("a").ids]

    def __call__(self, text: str, inside: bool = False, places: Sequence[int] = ()) -> Encoding:
        """See `Encode`."""
        ids, starts = self._tokens(text, inside)
        return Encoding(np.array(ids, dtype=np.int32), np.searchsorted(starts, places).tolist() if places else [])

    def expect(self, texts: Iterable[str]) -> None:
        """Nothing is gained."""

    def _tokens(self, text: str, inside: bool) -> Tokens:
        if inside and self._adds_space:
            ids, starts = self._encode("\n" + text)
            skip = len(self._before)
            if ids[:skip] == self._before:
                return Tokens(ids[skip:], [max(start - 1, 0) for start in starts[skip:]])
        return self._encode(text)


class FastEncode:
    """A tokenizer of the Rust library, which says where each token stands."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> Tokens:
        """Tokens of `text`."""
        encoded = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )
        return Tokens(list(encoded["input_ids"]), token_starts(encoded["offset_mapping"]).tolist())


def token_starts(offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """[T] int64 first character of each token.

    Some tokenizers leave a token's space out of its offsets; what no token claims belongs to the next one. Tokens
    inside one multi-byte character all begin at that character.
    """
    begins, ends = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    claimed = np.maximum.accumulate(np.append(0, ends))[:-1]
    starts: np.ndarray = np.minimum(begins, claimed)
    return starts


class SlowEncode:
    """For tokenizers in Python, which give no offsets: places are found by decoding ever longer beginnings."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> Tokens:
        """Tokens of `text`."""
        ids = list(
            self._tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        )
        starts: list[int] = []
        last = max(len(text) - 1, 0)
        for i in range(len(ids)):
            before = str(self._tokenizer.decode(ids[:i], clean_up_tokenization_spaces=False)).rstrip("\ufffd")
            starts.append(min(max(len(before), starts[-1] if starts else 0), last))
        return Tokens(ids, starts)
