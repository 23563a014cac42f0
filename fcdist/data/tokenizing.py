"""From rendered segments to token ids with a kind for every token."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from fcdist.data.batch import Kind
from fcdist.data.encoding import Encode, Encoding, FastEncode, SlowEncode, WholeEncode
from fcdist.data.word_encoding import WordEncode, ends_words_at_spaces
from fcdist.errors import RenderError
from fcdist.protocols.rendering import Segment


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


_SUPERVISED = attrgetter("supervised")


class Run(NamedTuple):
    """Segments of equal supervision that follow each other: what is encoded on its own."""

    supervised: bool
    text: str
    segments: list[Segment]


def runs(segments: Iterable[Segment]) -> Iterator[Run]:
    """The runs of a rendered conversation, without empty segments."""
    for supervised, run in itertools.groupby(segments, key=_SUPERVISED):
        parts = [segment for segment in run if segment.text]
        yield Run(supervised, "".join([part.text for part in parts]), parts)


def tokenize(segments: Iterable[Segment], encode: Encode, prefix_chars: int = 0) -> Example:
    """`tokenize_runs` of the output of `Renderer.render`, in order."""
    return tokenize_runs(runs(segments), encode, prefix_chars)


def tokenize_runs(some: Iterable[Run], encode: Encode, prefix_chars: int = 0) -> Example:
    """Encode a rendered conversation and mark the tokens that carry loss.

    Each run of equal supervision is encoded on its own, because serving does the same: the prompt is encoded first
    and sampling starts after its last token. Encoding the whole text could merge a prompt character and a completion
    character into a token the served model never sees.

    Args:
        some: the runs of a conversation, in order.
        encode: tokenizer call without automatic special tokens; see `encoder`.
        prefix_chars: characters of the text before the first user turn.

    Returns:
        An Example; a token that spans two kinds has the kind of its first character.

    Raises:
        RenderError: no token is supervised, so the example could only dilute the batch; or the first one is, which
            nothing precedes.
    """
    ids: list[np.ndarray] = []
    kinds: list[bytes] = []
    inside, prefix_len = False, 0
    for supervised, text, parts in some:
        if supervised:
            ends = [*itertools.accumulate([len(part.text) for part in parts])]
            encoding = encode(text, inside=inside, places=ends[:-1])
            kinds.append(_kinds(parts, encoding))
        elif not inside and 0 < prefix_chars <= len(text):
            encoding = encode(text, places=(prefix_chars, prefix_chars + 1))
            prefix_len = _whole_tokens(encoding, prefix_chars == len(text))
        else:
            encoding = encode(text, inside=inside)
        if not supervised:
            kinds.append(bytes(len(encoding.ids)))
        ids.append(encoding.ids)
        inside = inside or len(encoding.ids) > 0
    of_all = b"".join(kinds)
    if not of_all.strip(b"\0"):
        raise RenderError("no token of the conversation carries loss: it has no assistant turn of weight 1")
    if of_all[0]:
        raise RenderError("the conversation begins with a target; a prompt must come before it")
    return Example(np.concatenate(ids), np.frombuffer(of_all, np.int8), prefix_len)


def _whole_tokens(encoding: Encoding, ends_there: bool) -> int:
    """Tokens that end at or before a place, from how many begin before it and before the character after it."""
    begun, begun_after = encoding.before
    return begun if ends_there or begun_after > begun else begun - 1


_TARGETS = {kind.name.lower(): bytes([kind]) for kind in Kind if kind != Kind.CONTEXT}


def _kinds(parts: Sequence[Segment], encoding: Encoding) -> bytes:
    """A Kind for every token of a supervised run."""
    if any(part.kind not in _TARGETS for part in parts):
        raise RenderError("a supervised segment is of kind 'context'; it must be thought, call, answer or end")
    bounds = itertools.pairwise((0, *encoding.before, len(encoding.ids)))
    return b"".join(_TARGETS[part.kind] * (end - begin) for part, (begin, end) in zip(parts, bounds, strict=True))


def encoder(tokenizer: PreTrainedTokenizerBase) -> Encode:
    """Tokenizer call without automatic special tokens, with the place of every token."""
    if tokenizer.is_fast and ends_words_at_spaces(tokenizer.backend_tokenizer):
        return WordEncode(tokenizer.backend_tokenizer)
    return WholeEncode(FastEncode(tokenizer) if tokenizer.is_fast else SlowEncode(tokenizer))
