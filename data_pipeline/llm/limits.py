"""Requests and tokens per minute: how long to wait so that a server's limits are kept."""

import asyncio
import time
from collections.abc import Awaitable, Callable

BURST_S = 3.0
"""Seconds' worth of a limit that may be used at once after a rest."""


class Bucket:
    """A token bucket that books in advance: it fills at the allowed rate, and may go below empty.

    Unlike a lock it never blocks: `book` says how long to wait, so that bookings are served in their order and an
    amount above the bucket's size only waits longer. What turned out smaller than booked is given back.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Args: per_minute: the allowed rate, above 0. clock: seconds, never going back."""
        self._rate = per_minute / 60
        self._clock = clock
        self._size = max(1.0, self._rate * BURST_S)
        self._level = self._size
        self._at = clock()

    def book(self, amount: float) -> float:
        """Take `amount`; returns the seconds to wait before it may be used."""
        self._fill()
        self._level -= amount
        return max(0.0, -self._level / self._rate)

    def give_back(self, amount: float) -> None:
        """Return what was booked too much; a negative amount books what was booked too little."""
        self._fill()
        self._level = min(self._size, self._level + amount)

    def _fill(self) -> None:
        now = self._clock()
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now


class Limits:
    """The limits of one server, and the pauses that it asks for."""

    def __init__(
        self,
        requests_per_minute: float,
        tokens_per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Args: 0 is no limit. clock: seconds. sleep: for some of them."""
        self._requests = Bucket(requests_per_minute, clock) if requests_per_minute else None
        self._tokens = Bucket(tokens_per_minute, clock) if tokens_per_minute else None
        self._clock, self._sleep = clock, sleep
        self._closed_until = clock()

    async def wait(self, tokens: float) -> None:
        """Return when a request of about `tokens` tokens may be sent."""
        waits = [0.0]
        if self._requests:
            waits.append(self._requests.book(1))
        if self._tokens:
            waits.append(self._tokens.book(tokens))
        await self._sleep(max(waits))
        while (left := self._closed_until - self._clock()) > 0:
            await self._sleep(left)

    def correct(self, booked: float, used: float) -> None:
        """A request for which `booked` tokens were booked has used `used`."""
        if self._tokens:
            self._tokens.give_back(booked - used)

    def close(self, seconds: float) -> None:
        """The server wants no request for this long."""
        self._closed_until = max(self._closed_until, self._clock() + seconds)
