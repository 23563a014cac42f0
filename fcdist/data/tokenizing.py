"""From rendered segments to token ids with a kind for every token."""

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

import numpy as np
from tokenizers import Encoding as TextEncoding
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerBase

from fcdist.data.batch import Kind
from fcdist.errors import RenderError
from fcdist.protocols.rendering import Segment


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


def runs(segments: Iterable[Segment]) -> Iterator[tuple[bool, str, list[Segment]]]:
    """(supervised, text, segments) of every run of equal supervision: what is encoded on its own."""
    for supervised, run in itertools.groupby(segments, key=lambda segment: segment.supervised):
        parts = [segment for segment in run if segment.text]
        yield supervised, "".join(part.text for part in parts), parts


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
    ids: list[np.ndarray] = []
    kinds: list[np.ndarray] = []
    inside, prefix_len = False, 0
    for supervised, text, parts in runs(segments):
        if supervised:
            ends = [*itertools.accumulate(len(part.text) for part in parts)]
            encoding = encode(text, inside=inside, places=ends[:-1])
            kinds.append(_kinds(parts, encoding))
        elif not inside and 0 < prefix_chars <= len(text):
            encoding = encode(text, places=(prefix_chars, prefix_chars + 1))
            prefix_len = _whole_tokens(encoding, prefix_chars == len(text))
        else:
            encoding = encode(text, inside=inside)
        if not supervised:
            kinds.append(np.full(len(encoding.ids), int(Kind.CONTEXT), dtype=np.int8))
        ids.append(encoding.ids)
        inside = inside or len(encoding.ids) > 0
    if not any(run.any() for run in kinds):
        raise RenderError("no token of the conversation carries loss: it has no assistant turn of weight 1")
    example = Example(np.concatenate(ids), np.concatenate(kinds), prefix_len)
    if example.kinds[0]:
        raise RenderError("the conversation begins with a target; a prompt must come before it")
    return example


def _whole_tokens(encoding: Encoding, ends_there: bool) -> int:
    """Tokens that end at or before a place, from how many begin before it and before the character after it."""
    begun, begun_after = encoding.before
    return begun if ends_there or begun_after > begun else begun - 1


def _kinds(parts: Sequence[Segment], encoding: Encoding) -> np.ndarray:
    values = np.array([Kind[part.kind.upper()] for part in parts], dtype=np.int8)
    if Kind.CONTEXT in values:
        raise RenderError("a supervised segment is of kind 'context'; it must be thought, call, answer or end")
    kinds: np.ndarray = np.repeat(values, np.diff([0, *encoding.before, len(encoding.ids)]))
    return kinds


def encoder(tokenizer: PreTrainedTokenizerBase) -> Encode:
    """Tokenizer call without automatic special tokens, with the place of every token."""
    if tokenizer.is_fast and _ends_words_at_spaces(tokenizer.backend_tokenizer):
        return _WordEncode(tokenizer.backend_tokenizer)
    return _WholeEncode(_FastEncode(tokenizer) if tokenizer.is_fast else _SlowEncode(tokenizer))


class _Tokens(NamedTuple):
    ids: list[int]
    starts: list[int]
    """First character of each token, ascending."""


_LETTERS = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    rf"(?i:'s|'t|'re|'ve|'m|'ll|'d)|{_LETTERS}|{numbers}|{_REST}" for numbers in (r"\p{N}", r"\p{N}{1,3}", r"\p{N}+")
}
"""Patterns of tiktoken's cl100k, Llama 3, Qwen and their kin. As in GPT-2's, no match goes on over a space."""


def _ends_words_at_spaces(backend: Tokenizer) -> bool:
    """Whether a text may be cut before any space that follows a non-space, and at added tokens, and encoded in parts.

    So it is for byte-level BPE: added tokens are taken out first, then a pattern without look-behind takes words off
    from left to right, and merges stay inside words. Where no match of the pattern can hold a space after a non-space,
    a word ends there whatever stands around. NFC composes nothing over a space.
    """
    normalizer = json.loads(backend.normalizer.__getstate__()) if backend.normalizer else {"type": "NFC"}
    if normalizer["type"] != "NFC" or not isinstance(backend.model, models.BPE) or backend.model.dropout:
        return False
    if backend.encode_special_tokens or not backend.pre_tokenizer:
        return False
    added = backend.get_added_tokens_decoder().values()
    if any(token.normalized or token.lstrip or token.rstrip or token.single_word for token in added):
        return False
    steps = json.loads(backend.pre_tokenizer.__getstate__())
    steps = steps["pretokenizers"] if steps["type"] == "Sequence" else [steps]
    *others, last = steps
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return False
    splits = [
        step["type"] == "Split"
        and step["pattern"].get("Regex") in _SPLITS
        and step["behavior"] == "Isolated"
        and not step["invert"]
        for step in others
        if step["type"] != "Digits"
    ]
    return all(splits) and (bool(last["use_regex"]) or bool(splits))


class _WordEncode:
    """Encodes parts of a text and remembers them: added tokens, long stretches between them, and words.

    Tool definitions, role headers and most words repeat, so nearly all of a text is looked up. Ids are kept as bytes,
    which join quickest.
    """

    PIECES = 1024
    """Stretches between added tokens that are remembered whole."""
    WORDS = 1 << 18
    """Words that are remembered; then all are forgotten."""
    LONGEST = 256
    """Characters of a word worth remembering."""

    _WORD = re.compile(r"\s*\S+(?:[^\S ]\s*\S+)*(?:[^\S ]\s*\Z)?|\s+")
    """Each match but the first begins with a space that follows a non-space."""

    def __init__(self, backend: Tokenizer) -> None:
        self._backend = backend
        added = {token.content: i for i, token in backend.get_added_tokens_decoder().items()}
        longest_first = sorted((re.escape(content) for content in added if content), key=len, reverse=True)
        self._added_token = re.compile(f"({'|'.join(longest_first)})") if longest_first else None
        self._added = {content: np.array([i], dtype=np.int32).tobytes() for content, i in added.items()}
        self._words: dict[str, bytes] = {}
        self._expected: dict[str, list[str]] = {}  # piece → its words
        self._piece = lru_cache(self.PIECES)(self._encode_piece)
        self._starts = lru_cache(self.PIECES)(self._token_starts)

    def __call__(self, text: str, inside: bool = False, places: Sequence[int] = ()) -> Encoding:
        parts: list[bytes] = []
        before: list[int] = []
        done = 0
        for i, piece in enumerate(self._pieces(text)):
            while len(before) < len(places) and places[len(before)] < done + len(piece):
                count = self._begun(piece, places[len(before)] - done) if i % 2 == 0 else places[len(before)] > done
                before.append(sum(map(len, parts)) // 4 + count)
            done += len(piece)
            parts.append(self._added[piece] if i % 2 else self._piece(piece))
        ids = np.frombuffer(b"".join(parts), dtype=np.int32)
        return Encoding(ids, before + [len(ids)] * (len(places) - len(before)))

    def expect(self, texts: Iterable[str]) -> None:
        pieces = (piece for text in texts for piece in self._pieces(text)[::2])
        self._expected = {piece: self._WORD.findall(piece) for piece in dict.fromkeys(pieces)}
        self._learn(itertools.chain.from_iterable(self._expected.values()))

    def _pieces(self, text: str) -> list[str]:
        """Stretches between added tokens, and in every second place an added token."""
        return self._added_token.split(text) if self._added_token else [text]

    def _begun(self, piece: str, place: int) -> int:
        """Tokens of `piece` that begin before one of its characters."""
        count = 0
        for match in self._WORD.finditer(piece):
            if match.end() > place:
                starts = self._starts(match[0])
                return count + int(np.searchsorted(starts, place - match.start()))
            count += len(self._word_ids(match[0])) // 4
        return count

    def _encode_piece(self, piece: str) -> bytes:
        words = self._expected.get(piece) or self._WORD.findall(piece)
        try:
            return b"".join(map(self._words.__getitem__, words))
        except KeyError:
            self._learn(words)
            return b"".join(map(self._word_ids, words))

    def _word_ids(self, word: str) -> bytes:
        ids = self._words.get(word)
        if ids is None:
            ids = np.array(self._encode(word).ids, dtype=np.int32).tobytes()
            if len(word) <= self.LONGEST:
                self._words[word] = ids
        return ids

    def _learn(self, words: Iterable[str]) -> None:
        """Encode in one call the words that are new and may stand side by side."""
        if len(self._words) > self.WORDS:
            self._words.clear()
        new = [word for word in set(words).difference(self._words) if len(word) <= self.LONGEST]
        side_by_side = [word for word in new if word[0] == " " and not word[-1].isspace()]
        alone = [word for word in new if word[0] != " " or word[-1].isspace()]
        if alone:
            self._reset()
            for word, encoded in zip(alone, self._backend.encode_batch(alone, add_special_tokens=False), strict=True):
                self._words[word] = np.array(encoded.ids, dtype=np.int32).tobytes()
        if side_by_side:
            encoded = self._encode("".join(side_by_side))
            ids, starts = np.array(encoded.ids, dtype=np.int32), _starts(encoded.offsets)
            places = np.cumsum([0, *map(len, side_by_side)])
            cuts = np.searchsorted(starts, places)
            found = np.append(starts, places[-1])[cuts] == places  # a byte the vocabulary lacks has no token
            for i in np.flatnonzero(found[:-1] & found[1:]).tolist():
                self._words[side_by_side[i]] = ids[cuts[i] : cuts[i + 1]].tobytes()

    def _token_starts(self, word: str) -> np.ndarray:
        return _starts(self._encode(word).offsets)

    def _encode(self, text: str) -> TextEncoding:
        self._reset()
        return self._backend.encode(text, add_special_tokens=False)

    def _reset(self) -> None:
        """Forget what the tokenizer was last called with."""
        self._backend.no_truncation()
        self._backend.no_padding()


class _WholeEncode:
    """Encodes a text in one call.

    SentencePiece puts a space before whatever it takes for the start of a string; in mid-text none belongs there.
    """

    def __init__(self, encode: Callable[[str], _Tokens]) -> None:
        self._encode = encode
        self._before = encode("\n").ids
        self._adds_space = encode("\na").ids != [*self._before, *encode("a").ids]

    def __call__(self, text: str, inside: bool = False, places: Sequence[int] = ()) -> Encoding:
        ids, starts = self._tokens(text, inside)
        return Encoding(np.array(ids, dtype=np.int32), np.searchsorted(starts, places).tolist() if places else [])

    def expect(self, texts: Iterable[str]) -> None:
        """Nothing is gained."""

    def _tokens(self, text: str, inside: bool) -> _Tokens:
        if inside and self._adds_space:
            ids, starts = self._encode("\n" + text)
            skip = len(self._before)
            if ids[:skip] == self._before:
                return _Tokens(ids[skip:], [max(start - 1, 0) for start in starts[skip:]])
        return self._encode(text)


class _FastEncode:
    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> _Tokens:
        encoded = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, return_attention_mask=False, verbose=False
        )
        return _Tokens(list(encoded["input_ids"]), _starts(encoded["offset_mapping"]).tolist())


def _starts(offsets: Sequence[tuple[int, int]]) -> np.ndarray:
    """[T] int64 first character of each token.

    Some tokenizers leave a token's space out of its offsets; what no token claims belongs to the next one. Tokens
    inside one multi-byte character all begin at that character.
    """
    begins, ends = np.array(offsets, dtype=np.int64).reshape(-1, 2).T
    claimed = np.maximum.accumulate(np.append(0, ends))[:-1]
    starts: np.ndarray = np.minimum(begins, claimed)
    return starts


class _SlowEncode:
    """For tokenizers in Python, which give no offsets: places are found by decoding ever longer beginnings."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer

    def __call__(self, text: str) -> _Tokens:
        ids = list(
            self._tokenizer(text, add_special_tokens=False, return_attention_mask=False, verbose=False)["input_ids"]
        )
        starts: list[int] = []
        last = max(len(text) - 1, 0)
        for i in range(len(ids)):
            before = str(self._tokenizer.decode(ids[:i], clean_up_tokenization_spaces=False)).rstrip("\ufffd")
            starts.append(min(max(len(before), starts[-1] if starts else 0), last))
        return _Tokens(ids, starts)
