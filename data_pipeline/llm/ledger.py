"""What the language models of a run folder have cost, and a budget that holds whatever happens.

Every request reserves what it may cost at most before it is sent, and is settled with what the server billed. The book
is one file for all processes and reruns of a folder. A reservation whose process died or whose answer got lost on the
way stays charged, because the server may have billed it.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.teachers import BudgetError, Usage
from fcdist.config.types import BudgetConfig
from fcdist.errors import GenerationError

_TABLES = """
CREATE TABLE IF NOT EXISTS reserved (id TEXT PRIMARY KEY, tokens INTEGER, money REAL, until REAL);
CREATE TABLE IF NOT EXISTS totals (kind TEXT PRIMARY KEY, count INTEGER, tokens INTEGER, money REAL);
INSERT OR IGNORE INTO totals VALUES ('paid', 0, 0, 0), ('lost', 0, 0, 0);
"""
_LOCK_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Balance:
    """One side of the book."""

    count: int
    """Requests."""
    tokens: int
    money: float


class Ledger:
    """The book of a run folder."""

    def __init__(self, path: Path, budget: BudgetConfig) -> None:
        """Open or begin the book. Raises GenerationError: the file is not one, or cannot be locked."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._budget = budget
        with self._open() as book:
            book.executescript(_TABLES)

    def reserve(self, name: str, bound: Usage, seconds: float) -> bool:
        """Set `bound` aside under `name`, replacing an earlier reservation of that name.

        Args:
            name: unique to the request.
            bound: what it may cost at most.
            seconds: after which the request cannot be alive any more.

        Returns:
            False where the budget does not allow it now; see `has_pending`.
        """
        with self._open() as book:
            self._take(book, name)
            if not self._fits(book, bound):
                return False
            row = (name, bound.tokens, bound.cost, time.time() + seconds)
            book.execute("INSERT INTO reserved VALUES (?, ?, ?, ?)", row)
        return True

    def settle(self, name: str, usage: Usage, unmetered: float = 0.0) -> None:
        """The answers have come and cost `usage`; of the share `unmetered` of them the server did not say what.

        Once settled or charged as lost, `name` is charged no more.
        """
        with self._open() as book:
            if (reserved := self._take(book, name)) is None:
                return
            self._charge(book, "paid", usage.answers, usage.tokens, usage.cost)
            if unmetered:
                self._charge(book, "lost", 1, round(unmetered * reserved[0]), unmetered * reserved[1])

    def release(self, name: str) -> None:
        """The request was not served, so it cost nothing."""
        with self._open() as book:
            self._take(book, name)

    def lose(self, name: str) -> None:
        """The answer will not come, but may have been billed: what was reserved stays charged."""
        with self._open() as book:
            if reserved := self._take(book, name):
                self._charge(book, "lost", 1, *reserved)

    def has_pending(self) -> bool:
        """Whether a living request may still turn out cheaper than what is reserved for it."""
        with self._open() as book:
            self._expire(book)
            return book.execute("SELECT 1 FROM reserved LIMIT 1").fetchone() is not None

    def fits(self, bound: Usage) -> bool:
        """Whether `bound` could be reserved now."""
        with self._open() as book:
            return self._fits(book, bound)

    def paid(self) -> Balance:
        """Requests that were answered, as the server counted them."""
        return self._balance("paid")

    def lost(self) -> Balance:
        """Requests that may have been billed without an answer, at what was reserved for them."""
        return self._balance("lost")

    def exhausted(self, bound: Usage, left: str) -> BudgetError:
        """The error of a request that does not fit; `left`: what remains to be done."""
        paid, lost, limits = self.paid(), self.lost(), []
        if self._budget.money:
            limits.append(f"generate.budget.money={self._budget.money:g}")
        if self._budget.tokens:
            limits.append(f"generate.budget.tokens={self._budget.tokens}")
        spent = f"{paid.count:,} answers cost {paid.money:.4f} and {paid.tokens:,} tokens"
        if lost.count:
            spent += f", {lost.count:,} without an answer up to {lost.money:.4f} and {lost.tokens:,} tokens"
        return BudgetError(
            f"{' and '.join(limits)} allows no further request, which may take up to {bound.cost:.4f} and "
            f"{bound.tokens:,} tokens: {spent}. {left}; raise the budget and run again: answers so far are cached"
        )

    def _take(self, book: sqlite3.Connection, name: str) -> tuple[int, float] | None:
        """End a reservation; returns its tokens and money, None where there is none."""
        row: tuple[int, float] | None = book.execute(
            "DELETE FROM reserved WHERE id = ? RETURNING tokens, money", (name,)
        ).fetchone()
        return row

    def _fits(self, book: sqlite3.Connection, bound: Usage) -> bool:
        self._expire(book)
        tokens, money = book.execute(
            "SELECT SUM(tokens), SUM(money) FROM (SELECT tokens, money FROM totals UNION ALL"
            " SELECT tokens, money FROM reserved)"
        ).fetchone()
        if self._budget.tokens and tokens + bound.tokens > self._budget.tokens:
            return False
        return not self._budget.money or money + bound.cost <= self._budget.money

    def _expire(self, book: sqlite3.Connection) -> None:
        now = time.time()
        count, tokens, money = book.execute(
            "SELECT COUNT(*), TOTAL(tokens), TOTAL(money) FROM reserved WHERE until < ?", (now,)
        ).fetchone()
        if count:
            book.execute("DELETE FROM reserved WHERE until < ?", (now,))
            self._charge(book, "lost", count, int(tokens), money)

    def _charge(self, book: sqlite3.Connection, kind: str, count: int, tokens: int, money: float) -> None:
        book.execute(
            "UPDATE totals SET count = count + ?, tokens = tokens + ?, money = money + ? WHERE kind = ?",
            (count, tokens, money, kind),
        )

    def _balance(self, kind: str) -> Balance:
        with self._open() as book:
            return Balance(*book.execute("SELECT count, tokens, money FROM totals WHERE kind = ?", (kind,)).fetchone())

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A transaction that other processes wait for; undone if its block raises."""
        try:
            book = sqlite3.connect(self._path, timeout=_LOCK_WAIT_S, isolation_level=None)
            try:
                book.execute("PRAGMA synchronous = OFF")  # a killed process loses nothing; only a power cut could
                book.execute("BEGIN IMMEDIATE")
                yield book
                if book.in_transaction:
                    book.execute("COMMIT")
            finally:
                book.close()
        except sqlite3.Error as error:
            raise GenerationError(
                f"{self._path}: the book of what language models cost cannot be used ({error}); if it is torn, delete "
                "it (what was spent is then counted anew; cached answers are kept)"
            ) from None
