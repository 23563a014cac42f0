"""From rendered segments to token ids with a kind for every token."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, Protocol

import numpy as np
from transformers import PreTrainedTokenizerBase

from fcdist.data.batch import Kind
from fcdist.errors import RenderError
from fcdist.protocols.rendering import Segment


class Encoding(NamedTuple):
    """Tokens of a text and where they begin in it."""

    ids: list[int]
    starts: list[int]
    """First character of each token, ascending."""


class Encode(Protocol):
    """Text → tokens without automatic special tokens."""

    def __call__(self, text: str, inside: bool = False) -> Encoding:
        """Encode `text`; `inside` says that other text stands before it."""
        ...


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids of one conversation (or of one turn of it, where the template breaks the prefix property)."""

    input_ids: np.ndarray
    """[T] int32."""
    kinds: np.ndarray
    """[T] int8, a Kind; every kind but CONTEXT is a target."""
    prefix_len: int = 0
    """Tokens before the first user turn: system text and tool definitions."""

    @property
    def num_targets(self) -> int:
        """Tokens that carry loss."""
        return int(np.count_nonzero(self.kinds))


def tokenize(segments: Iterable[Segment], encode: Encode, prefix_chars: int = 0) -> Example:
    """Encode a rendered conversation and mark the tokens that carry loss.

    Each run of equal supervision is encoded on its own, because serving does the same: the prompt is encoded first
    and sampling starts after its last token. Encoding the whole text could merge a prompt character and a completion
    character into a token the served model never sees.

    Args:
        segments: output of `Renderer.render`, in order.
        encode: tokenizer call without automatic special tokens; see `encoder`.
        prefix_chars: characters of the text before the first user turn.

    Returns:
        An Example; a token that spans two kinds has the kind of its first character.

    Raises:
        RenderError: no token is supervised, so the example could only dilute the batch; or the first one is, which
            nothing precedes.
    """
    ids: list[int] = []
    kinds: list[int] = []
    prefix_len = 0
    for supervised, run in groupby(segments, key=lambda segment: segment.supervised):
        parts = [segment for segment in run if segment.text]
        text = "".join(part.text for part in parts)
        encoding = encode(text, inside=bool(ids))
        if not ids and not supervised and 0 < prefix_chars <= len(text):
            places = zip(encoding.starts, [*encoding.starts[1:], len(text)], strict=True)
            inside = (begin < prefix_chars and end <= prefix_chars for begin, end in places)
            prefix_len = next((i for i, whole in enumerate(inside) if not whole), len(encoding.ids))
        ids += encoding.ids
        kinds += _kinds(parts, encoding.starts) if supervised else [int(Kind.CONTEXT)] * len(encoding.ids)
    if not any(kinds):
        raise RenderError("no token of the conversation carries loss: it has no assistant turn of weight 1")
    if kinds[0]:
        raise RenderError("the conversation begins with a target; a prompt must come before it")
    return Example(np.array(ids, dtype=np.int32), np.array(kinds, dtype=np.int8), prefix_len)


def _kinds(parts: Sequence[Segment], starts: Sequence[int]) -> list[int]:
    ends = np.cumsum([len(part.text) for part in parts])
    values = [int(Kind[part.kind.upper()]) for part in parts]
    if Kind.CONTEXT in values:
        raise RenderError("a supervised segment is of kind 'context'; it must be thought, call, answer or end")
    return [values[i] for i in np.searchsorted(ends, starts, side="right")]


def encoder(tokenizer: PreTrainedTokenizerBase) -> Encode:
    """Tokenizer call without automatic special tokens, with the place of every token."""
    return _InsideEncode(_FastEncode(tokenizer) if tokenizer.is_fast else _SlowEncode(tokenizer))


class _InsideEncode:
    """SentencePiece puts a space before whatever it takes for the start of a string; in mid-text none belongs there."""

    def __init__(self, encode: Callable[[str], Encoding]) -> None:
        self._encode = encode
        self._before = encode("\n").ids
        self._adds_space = encode("\na").ids != [*self._before, *encode("a").ids]

    def __call__(self, text: str, inside: bool = False) -> Encoding:
        if inside and self._adds_space:
            ids, starts = self._encode("\n" + text)
            skip = len(self._before)
            if ids[:skip] == self._before:
                return Encoding(ids[skip:], [max(start - 1, 0) for start in starts[skip:]])
        return self._encode(text)


class _FastEncode:
    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> Encoding:
        encoded = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )
        # Some tokenizers leave a token's space out of its offsets; what no token claims belongs to the next one.
        # Tokens inside one multi-byte character all begin at that character.
        starts, claimed = [], 0
        for begin, end in encoded["offset_mapping"]:
            starts.append(min(begin, claimed))
            claimed = max(claimed, end)
        return Encoding(list(encoded["input_ids"]), starts)


class _SlowEncode:
    """For tokenizers in Python, which give no offsets: places are found by decoding ever longer beginnings."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> Encoding:
        ids = list(
            self._tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        )
        starts: list[int] = []
        last = max(len(text) - 1, 0)
        for i in range(len(ids)):
            before = str(self._tokenizer.decode(ids[:i], clean_up_tokenization_spaces=False)).rstrip("\ufffd")
            starts.append(min(max(len(before), starts[-1] if starts else 0), last))
        return Encoding(ids, starts)
