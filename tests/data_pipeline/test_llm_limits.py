"""Limits per minute and the budget, without a server."""

import asyncio
import multiprocessing
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_pipeline.llm.ledger import Balance, Ledger
from data_pipeline.llm.limits import BURST_S, Bucket, Limits
from data_pipeline.llm.wire import LlmSettings, Request, cost_bound, money, prompt_bound
from data_pipeline.teachers import Usage
from fcdist.config.types import BudgetConfig, GenerateConfig, JudgeConfig, PriceConfig
from fcdist.errors import ConfigError, GenerationError


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@given(
    per_minute=st.floats(1, 10_000),
    steps=st.lists(st.tuples(st.floats(0, 20), st.floats(0.1, 500)), min_size=1, max_size=40),
)
def test_no_window_gets_more_than_the_rate_and_one_burst(per_minute, steps):
    clock = Clock()
    bucket = Bucket(per_minute, clock)
    used = []
    for pause, amount in steps:
        clock.now += pause
        used.append((clock.now + bucket.book(amount), amount))
    rate, burst = per_minute / 60, max(1.0, per_minute / 60 * BURST_S)
    assert [at for at, _ in used] == sorted(at for at, _ in used)  # served in the order of booking
    for i, (start, first) in enumerate(used):
        for end, last in used[i:]:
            inside = sum(amount for at, amount in used if start <= at <= end)
            # An amount larger than the bucket waits until the bucket is full and takes the rest in advance.
            assert inside <= burst + rate * (end - start) + max(first, last) + 1e-6


def test_full_speed_is_the_rate_exactly():
    clock = Clock()
    bucket = Bucket(600, clock)  # ten a second, thirty at once
    waits = [bucket.book(1) for _ in range(130)]
    assert waits[:30] == [0] * 30 and waits[-1] == pytest.approx(10.0)


def test_what_was_booked_too_much_is_given_back():
    clock = Clock()
    bucket = Bucket(600, clock)
    assert bucket.book(1030) == pytest.approx(100)
    bucket.give_back(1000)
    assert bucket.book(1) == pytest.approx(0.1)
    bucket.give_back(-50)
    assert bucket.book(1) == pytest.approx(5.2)


def test_all_requests_keep_the_pause_that_one_was_told():
    clock, sent = Clock(), []
    limits = Limits(0, 0, clock, lambda seconds: advance(clock, seconds))

    async def send():
        await limits.wait(1)
        sent.append(clock.now)

    asyncio.run(send())
    limits.close(7.0)
    limits.close(3.0)  # another request is told less
    asyncio.run(send())
    limits.close(0.0)
    asyncio.run(send())
    assert sent == [0.0, 7.0, 7.0]


async def advance(clock, seconds):
    clock.now += seconds


def bound(tokens, cost=0.0):
    return Usage(1, tokens, 0, 0, cost)


@settings(deadline=None, max_examples=40)
@given(
    limit=st.integers(50, 500),
    steps=st.lists(
        st.tuples(st.sampled_from(["settle", "lose", "release", "leave"]), st.integers(1, 90), st.floats(0, 1)),
        max_size=25,
    ),
)
def test_budget_holds_whatever_becomes_of_the_requests(tmp_path_factory, limit, steps):
    book = Ledger(tmp_path_factory.mktemp("book") / "costs", BudgetConfig(tokens=limit))
    paid = lost = held = 0
    for number, (end, tokens, share) in enumerate(steps):
        name = str(number)
        expected = book.fits(bound(tokens))
        allowed = book.reserve(name, bound(tokens), 60)
        assert allowed == expected == (paid + lost + held + tokens <= limit)
        if not allowed:
            continue
        if end == "settle":
            paid += int(share * tokens)
            book.settle(name, Usage(1, int(share * tokens)))
        elif end == "lose":
            lost += tokens
            book.lose(name)
        elif end == "release":
            book.release(name)
        else:
            held += tokens
    assert book.paid().tokens == paid and book.lost().tokens == lost
    assert paid + lost + held <= limit and book.has_pending() == bool(held)


def test_money_and_tokens_bind_alike_and_zero_is_no_limit(tmp_path):
    rich = Ledger(tmp_path / "a", BudgetConfig())
    assert rich.reserve("x", bound(10**12, 10.0**9), 60)
    poor = Ledger(tmp_path / "b", BudgetConfig(money=1.0, tokens=1000))
    assert poor.reserve("x", bound(10, 0.9), 60)
    assert not poor.reserve("y", bound(10, 0.2), 60) and not poor.reserve("y", bound(995, 0.0), 60)
    assert poor.reserve("y", bound(990, 0.05), 60)


def test_a_reservation_replaces_one_of_its_name(tmp_path):
    book = Ledger(tmp_path / "book", BudgetConfig(tokens=100))
    assert book.reserve("x", bound(80), 60) and book.reserve("x", bound(90), 60)
    assert not book.reserve("y", bound(20), 60) and book.reserve("y", bound(10), 60)


def test_what_a_dead_process_had_reserved_stays_charged(tmp_path):
    book = Ledger(tmp_path / "book", BudgetConfig(tokens=100))
    assert book.reserve("x", bound(60), 0.05)
    assert book.has_pending()
    time.sleep(0.1)
    assert not book.has_pending() and book.lost() == Balance(1, 60, 0.0)
    assert not book.reserve("y", bound(50), 60) and book.reserve("y", bound(40), 60)


def spend(path, times):
    book = Ledger(path, BudgetConfig(tokens=300))
    for i in range(times):
        name = f"{multiprocessing.current_process().name}-{i}"
        if book.reserve(name, bound(10), 60):
            book.settle(name, Usage(1, 7, 0, 0, 0.001))


def test_processes_share_one_book(tmp_path):
    context = multiprocessing.get_context("spawn")
    spenders = [context.Process(target=spend, args=(tmp_path / "book", 30)) for _ in range(2)]
    for process in spenders:
        process.start()
    for process in spenders:
        process.join()
    paid = Ledger(tmp_path / "book", BudgetConfig()).paid()
    assert paid.tokens == 7 * paid.count and paid.money == pytest.approx(0.001 * paid.count)
    assert 290 < paid.tokens <= 300  # 60 attempts at 7 tokens would be 420


def test_unmetered_share_of_a_batch_stays_charged(tmp_path):
    book = Ledger(tmp_path / "book", BudgetConfig())
    book.reserve("batch", Usage(4, 300, 100, 0, 2.0), 60)
    book.settle("batch", Usage(3, 200, 50, 0, 1.0), unmetered=0.25)
    assert book.paid() == Balance(3, 250, 1.0) and book.lost() == Balance(1, 100, 0.5)


def test_nothing_is_charged_twice(tmp_path):
    book = Ledger(tmp_path / "book", BudgetConfig())
    for end in (lambda: book.settle("x", Usage(1, 7)), lambda: book.lose("x"), lambda: book.release("x")):
        book.reserve("x", bound(10), 60)
        end()
        book.settle("x", Usage(1, 7))
        book.lose("x")
    assert (book.paid().tokens, book.lost().tokens) == (7, 10)


def test_torn_book_is_an_error_with_a_way_out(tmp_path):
    (tmp_path / "book").write_bytes(b"not a data base, but long enough to be taken for the header of one" * 40)
    with pytest.raises(GenerationError, match=r"book: the book of what .* delete it"):
        Ledger(tmp_path / "book", BudgetConfig())


def test_exhausted_budget_says_what_was_spent_and_what_is_left(tmp_path):
    book = Ledger(tmp_path / "book", BudgetConfig(money=2.0))
    book.reserve("x", bound(700, 1.5), 60)
    book.settle("x", Usage(3, 500, 100, 0, 1.25))
    text = str(book.exhausted(bound(4000, 0.9), "7 requests are left"))
    for part in ("generate.budget.money=2 allows", "up to 0.9000 and 4,000", "3 answers cost 1.2500", "600", "7 req"):
        assert part in text


@given(st.text(max_size=300), st.integers(1, 500))
def test_no_prompt_has_more_tokens_than_its_bound(text, max_tokens):
    request = Request(({"role": "user", "content": text},), {}, "v")
    prices = PriceConfig(input=1.0, output=3.0)
    found = cost_bound(request, LlmSettings("", "", "m", 0.5, max_tokens, prices=prices))
    assert prompt_bound(request) >= len(text.encode()) + len("user")
    assert found.tokens == prompt_bound(request) + max_tokens
    assert found.cost == pytest.approx((prompt_bound(request) + 3 * max_tokens) / 1e6)


def test_price_of_cached_tokens():
    assert money(1000, 100, 400, PriceConfig(input=2, cached_input=0.5, output=8)) == pytest.approx(2.2e-3)
    assert money(1000, 100, 400, PriceConfig(input=2, output=8)) == pytest.approx(2.8e-3)
    assert money(1000, 100, 1000, PriceConfig(input=2, cached_input=0.0, output=0)) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": BudgetConfig(money=1)}, r"generate.budget.money=1 needs generate.prices"),
        (
            {"budget": BudgetConfig(money=1), "prices": PriceConfig(input=1), "judge": JudgeConfig(llm="j")},
            r"needs generate.judge.prices",
        ),
        ({"requests_per_minute": -1}, r"generate.requests_per_minute=-1 must not be negative"),
        ({"max_tokens": 0}, r"generate.max_tokens=0 must be positive"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(ConfigError, match=message):
        GenerateConfig(**changes)


def test_votes_are_odd_and_differ():
    with pytest.raises(ConfigError, match=r"generate.judge.votes=2 must be an odd number"):
        JudgeConfig(votes=2, temperature=1.0)
    with pytest.raises(ConfigError, match=r"all votes would be one"):
        JudgeConfig(votes=3)
