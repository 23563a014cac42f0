"""Which prompts run side by side, what they share, and how far along they are."""

import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

MIN_SHARED_TOKENS = 48
"""A common start shorter than this is recomputed: an extra forward costs more than it saves."""


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of leading tokens the two have in common."""
    for place, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return place
    return min(len(first), len(second))


def shared_prefixes(sequences: Sequence[list[int]]) -> tuple[list[list[int]], list[int]]:
    """Group sequences that start alike.

    Returns:
        The distinct starts and, for each sequence, the place of its start. A sequence keeps at least its last token
        out of a shared start, because the next token is read off the row's own last token. Nothing shared: the starts
        are the sequences themselves.
    """
    order = sorted(range(len(sequences)), key=lambda i: sequences[i])
    prefixes: list[list[int]] = []
    cluster = [0] * len(sequences)
    sizes: list[int] = []
    for i in order:
        common = common_length(prefixes[-1], sequences[i][:-1]) if prefixes else 0
        # Joining shortens the start of the whole group; worth it only while most of it stays shared.
        if prefixes and common >= max(MIN_SHARED_TOKENS, 0.7 * len(prefixes[-1])):
            prefixes[-1] = prefixes[-1][:common]
            sizes[-1] += 1
        else:
            prefixes.append(list(sequences[i][:-1]))
            sizes.append(1)
        cluster[i] = len(prefixes) - 1
    if len(prefixes) > 0.75 * len(sequences):
        return [list(s) for s in sequences], list(range(len(sequences)))
    return prefixes, cluster


def plan_batches(sequences: Sequence[list[int]], batch_size: int, max_tokens: int) -> list[list[int]]:
    """Batches of prompts with shared starts and similar lengths, longest first (a lack of memory shows at once).

    Returns:
        Places in `sequences`; each once.
    """
    if not sequences:
        return []
    _, cluster = shared_prefixes(sequences)
    longest: dict[int, int] = {}
    for i, c in enumerate(cluster):
        longest[c] = max(longest.get(c, 0), len(sequences[i]))
    order = sorted(range(len(sequences)), key=lambda i: (-longest[cluster[i]], cluster[i], -len(sequences[i]), i))
    batches: list[list[int]] = []
    width = 0
    for i in order:
        width = max(width, len(sequences[i]))
        if batches and len(batches[-1]) < batch_size and width * (len(batches[-1]) + 1) <= max_tokens:
            batches[-1].append(i)
        else:
            batches.append([i])
            width = len(sequences[i])
    return batches


def even_parts(lengths: Sequence[int], max_waste: float = 0.1, enough: int = 512) -> list[list[int]]:
    """Cut rows into parts of similar length.

    Args:
        lengths: tokens per row.
        max_waste: a row shorter than its part's longest by more than this share starts a new part,
        enough: once the part has this many tokens (below that, a forward of its own costs more than the padding).

    Returns:
        Places in `lengths`, longest first; each once.
    """
    parts: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        width = lengths[parts[-1][0]] if parts else 0
        if parts and (lengths[i] >= (1 - max_waste) * width or width * len(parts[-1]) < enough):
            parts[-1].append(i)
        else:
            parts.append([i])
    return parts


class ProgressBar:
    """`with ProgressBar(label, total) as advance`: a bar with the time left, or nothing without a label.

    Where no terminal shows it (a job's log), a plain line now and then instead.
    """

    LINE_EVERY_S = 30.0

    def __init__(self, label: str, total: int) -> None:
        self._bar: Progress | None = None
        self._label, self._total, self._done = label, total, 0
        self._begun = self._said = time.monotonic()

    def __enter__(self) -> Callable[[int], None]:
        if not self._label:
            return lambda count: None
        columns: tuple[Any, ...] = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        bar = Progress(TextColumn("{task.description}"), *columns)
        if not bar.console.is_terminal:
            return self._line
        self._bar = bar
        task = bar.add_task(self._label, total=self._total)
        bar.start()
        return lambda count: bar.advance(task, count)

    def _line(self, count: int) -> None:
        self._done += count
        now = time.monotonic()
        if count and now - self._said > self.LINE_EVERY_S:
            self._said = now
            left = (now - self._begun) * (self._total - self._done) / self._done
            print(f"{self._label} {self._done}/{self._total}, {left:.0f} s left", flush=True)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
