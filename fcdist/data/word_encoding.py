"""Encoding in words: what repeats is looked up, and only new words are given to the tokenizer."""

import itertools
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from tokenizers import Encoding as TextEncoding
from tokenizers import Tokenizer, models

from fcdist.data.encoding import Encoding, token_starts
from fcdist.data.pretokens import SPLITS, Pretokens, odd_ones, steps


def ends_words_at_spaces(backend: Tokenizer) -> bool:
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
    *others, last = steps(backend)
    if last["type"] != "ByteLevel" or last["add_prefix_space"]:
        return False
    splits = [
        step["type"] == "Split"
        and step["pattern"].get("Regex") in SPLITS
        and step["behavior"] == "Isolated"
        and not step["invert"]
        for step in others
        if step["type"] != "Digits"
    ]
    return all(splits) and (bool(last["use_regex"]) or bool(splits))


class WordEncode:
    """Encodes parts of a text and remembers them: added tokens, long stretches between them, and words.

    Tool definitions, role headers and most words repeat, so nearly all of a text is looked up; new words that are plain
    are taken apart here. Ids are kept as bytes, which join quickest.
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
        self._pretokens = Pretokens(backend)
        self._expected_pieces: dict[str, list[str]] = {}  # text → its pieces
        self._expected: dict[str, list[str]] = {}  # piece → its words
        self._piece = lru_cache(self.PIECES)(self._encode_piece)
        self._starts = lru_cache(self.PIECES)(self._token_starts)

    def __call__(self, text: str, inside: bool = False, places: Sequence[int] = ()) -> Encoding:
        """See `Encode`."""
        pieces = self._expected_pieces.get(text) or self._cut(text)
        parts = [self._added[piece] if i % 2 else self._piece(piece) for i, piece in enumerate(pieces)]
        ids = np.frombuffer(b"".join(parts), np.int32)
        return Encoding(ids, self._before(pieces, parts, places) if places else [])

    def expect(self, texts: Iterable[str]) -> None:
        """See `Encode`."""
        self._expected_pieces = {text: self._cut(text) for text in texts}
        pieces = (piece for pieces in self._expected_pieces.values() for piece in pieces[::2])
        self._expected = {piece: self._WORD.findall(piece) for piece in dict.fromkeys(pieces)}
        self._learn(itertools.chain.from_iterable(self._expected.values()))

    def _cut(self, text: str) -> list[str]:
        """Stretches between added tokens, and in every second place an added token."""
        return self._added_token.split(text) if self._added_token else [text]

    def _before(self, pieces: list[str], parts: list[bytes], places: Sequence[int]) -> list[int]:
        """Tokens that begin before each place, from the pieces and their ids."""
        ends = list(itertools.accumulate(map(len, pieces)))
        tokens = [0, *itertools.accumulate([len(part) // 4 for part in parts])]
        before = []
        for place in places:
            i = bisect_right(ends, place)
            if i == len(pieces):
                before.append(tokens[-1])
            else:
                inside = place - (ends[i] - len(pieces[i]))
                before.append(tokens[i] + (int(inside > 0) if i % 2 else self._begun(pieces[i], inside)))
        return before

    def _begun(self, piece: str, place: int) -> int:
        """Tokens of `piece` that begin before one of its characters."""
        words = self._split(piece)
        ends = list(itertools.accumulate(map(len, words)))
        whole = bisect_right(ends, place)
        inside = len(words[whole]) - (ends[whole] - place)
        begun = int(np.searchsorted(self._starts(words[whole]), inside)) if inside else 0
        return sum(map(len, map(self._word_ids, words[:whole]))) // 4 + begun

    def _split(self, piece: str) -> list[str]:
        return self._expected.get(piece) or self._WORD.findall(piece)

    def _encode_piece(self, piece: str) -> bytes:
        words = self._split(piece)
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
        """Encode the words that are new: here if they are plain, else together in one call."""
        if len(self._words) > self.WORDS:
            self._words.clear()
            self._pretokens.clear()
        new = {word for word in set(words).difference(self._words) if len(word) <= self.LONGEST}
        odd = odd_ones(new)
        self._words.update(self._pretokens.encode(new.difference(odd)))
        if odd:
            self._reset()
            for word, encoded in zip(odd, self._backend.encode_batch(odd, add_special_tokens=False), strict=True):
                self._words[word] = np.array(encoded.ids, dtype=np.int32).tobytes()

    def _token_starts(self, word: str) -> np.ndarray:
        return token_starts(self._encode(word).offsets)

    def _encode(self, text: str) -> TextEncoding:
        self._reset()
        return self._backend.encode(text, add_special_tokens=False)

    def _reset(self) -> None:
        """Forget what the tokenizer was last called with."""
        self._backend.no_truncation()
        self._backend.no_padding()
