"""Likeness by a text encoder, for paraphrases that share no words.

A server embeds what the user says (any with OpenAI's `/embeddings`: vLLM, llama.cpp, text-embeddings-inference, hosted
ones); conversations that act alike are near-duplicates when the cosine of their vectors reaches a threshold. The
comparison is exact, against every kept conversation: N² / 2 products of vectors, some minutes for 100,000 of them.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from data_pipeline.dedup import Collision, acts
from data_pipeline.words import user_turns
from fcdist.config.types import MergeConfig
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Conversation

BATCH = 64
"""Texts of one request."""
MAX_RETRIES = 6
ROWS_AT_ONCE = 4096
"""Kept vectors that are compared in one product."""


class TextEncoder:
    """Vectors of unit length from the server that `merge.embedding_*` names."""

    def __init__(self, settings: MergeConfig) -> None:
        """Nothing is asked yet."""
        from openai import OpenAI, OpenAIError  # slow to import, and most merges have no such model

        self._settings = settings
        self._failures = (OpenAIError, ValueError, TypeError, AttributeError)
        key = os.environ.get(settings.embedding_api_key_env) or "none"  # local servers check no key
        self._client = OpenAI(api_key=key, base_url=settings.embedding_base_url, max_retries=MAX_RETRIES)

    def __call__(self, conversations: Iterable[Conversation]) -> Iterator[np.ndarray]:
        """[width] float32 for each conversation, in order; reads BATCH conversations ahead.

        Raises:
            GenerationError: the server cannot be asked, or answers something else.
        """
        texts = ("\n".join(user_turns(conversation)) or " " for conversation in conversations)
        while batch := list(islice(texts, BATCH)):
            yield from self._embed(batch)

    def _embed(self, texts: list[str]) -> np.ndarray:
        """[len(texts), width] float32."""
        settings = self._settings
        try:
            answer = self._client.embeddings.create(
                model=settings.embedding_model, input=texts, encoding_format="float"
            )
            by_place = sorted(answer.data, key=lambda item: item.index)
            vectors = np.array([item.embedding for item in by_place], dtype=np.float32)
            if vectors.ndim != 2 or len(vectors) != len(texts):
                raise ValueError(f"{len(texts)} texts became vectors of shape {vectors.shape}")
        except self._failures as error:
            raise GenerationError(
                f"merge.embedding_model={settings.embedding_model!r}: no vectors from "
                f"{settings.embedding_base_url}/embeddings ({error}). Check merge.embedding_base_url and the key in "
                f"{settings.embedding_api_key_env}, or leave merge.embedding_model empty"
            ) from None
        unit: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return unit


class ParaphraseIndex:
    """Kept conversations by what they do: the same request with a call and without is a contrast, no duplicate."""

    def __init__(self, folder: Path, similarity: float) -> None:
        """Take a scratch folder for the vectors, and the cosine from which two conversations are near-duplicates."""
        self._folder, self._similarity = folder, similarity
        self._of: dict[str, EmbeddingIndex] = {}

    def nearest(self, conversation: Conversation, vector: np.ndarray) -> Collision | None:
        """See `EmbeddingIndex.nearest`, among conversations with as many calls in each turn."""
        index = self._of.get(acts(conversation))
        return index.nearest(vector) if index else None

    def keep(self, row: int, conversation: Conversation, vector: np.ndarray) -> None:
        """Add a conversation that stays."""
        path = self._folder / f"vectors-{len(self._of)}"
        self._of.setdefault(acts(conversation), EmbeddingIndex(path, self._similarity)).keep(row, conversation, vector)


class EmbeddingIndex:
    """Vectors of the kept conversations, in a file: memory holds the last ROWS_AT_ONCE of them."""

    def __init__(self, path: Path, similarity: float) -> None:
        """Take the file to make, and the cosine from which two conversations are near-duplicates."""
        self._path, self._similarity = path, similarity
        self._kept: list[tuple[int, str]] = []
        self._written = self._last = np.empty((0, 0), np.float32)

    def nearest(self, vector: np.ndarray) -> Collision | None:
        """The most similar kept conversation, the first of equals; None if none reaches the threshold."""
        best: tuple[float, int] | None = None
        for first, vectors in self._blocks():
            cosines = vectors @ vector
            at = int(cosines.argmax())
            if cosines[at] >= self._similarity and (best is None or cosines[at] > best[0]):
                best = float(cosines[at]), first + at
        if best is None:
            return None
        row, identifier = self._kept[best[1]]
        return Collision(row, identifier, round(best[0], 4))

    def keep(self, row: int, conversation: Conversation, vector: np.ndarray) -> None:
        """Add a conversation that stays."""
        place = len(self._kept) % ROWS_AT_ONCE
        if not self._kept:
            self._last = np.empty((ROWS_AT_ONCE, len(vector)), np.float32)
        self._last[place] = vector
        self._kept.append((row, conversation.id))
        if place == ROWS_AT_ONCE - 1:
            with self._path.open("ab") as file:
                self._last.tofile(file)
            self._written = np.memmap(self._path, np.float32, "r").reshape(len(self._kept), -1)

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first one, [n, width]) of all kept vectors."""
        for first in range(0, len(self._written), ROWS_AT_ONCE):
            yield first, self._written[first : first + ROWS_AT_ONCE]
        if unwritten := len(self._kept) - len(self._written):
            yield len(self._written), self._last[:unwritten]
