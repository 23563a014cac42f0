"""Known values and laws of the intervals and the paired test."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcdist.errors import EvaluationError
from fcdist.evaluation.statistics import balanced_accuracy, mcnemar, paired_test, right_by_item, wilson


@pytest.mark.parametrize(
    ("right", "of", "low", "high"),
    [(8, 10, 0.4901625, 0.9433178), (0, 10, 0.0, 0.2775328), (10, 10, 0.7224672, 1.0), (263, 540, 0.4450, 0.5292)],
)
def test_wilson_gives_published_values(right, of, low, high):
    rate = wilson(right, of)
    assert (rate.low, rate.high) == pytest.approx((low, high), abs=2e-4)
    assert rate.value == right / of


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(counts):
    right, of = counts
    rate, mirror = wilson(right, of), wilson(of - right, of)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1
    assert (rate.low, rate.high) == pytest.approx((1 - mirror.high, 1 - mirror.low), abs=1e-12)


def test_nothing_measured_says_so():
    rate = wilson(0, 0)
    assert math.isnan(rate.value) and (rate.low, rate.high) == (0.0, 1.0)
    assert math.isnan(balanced_accuracy(3, 4, 0, 0).value)


@pytest.mark.parametrize(("right", "of"), [(3, 2), (-1, 2)])
def test_impossible_counts_are_refused(right, of):
    with pytest.raises(EvaluationError, match=f"right={right} of={of}"):
        wilson(right, of)


def test_always_calling_is_half_right():
    rate = balanced_accuracy(90, 90, 0, 10)
    assert rate.value == 0.5
    assert rate.low < 0.5 < rate.high


@given(st.integers(1, 50), st.integers(1, 50), st.data())
def test_balanced_accuracy_is_the_mean_inside_its_interval(n, m, data):
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    rate = balanced_accuracy(a, n, b, m)
    assert rate.value == pytest.approx((a / n + b / m) / 2)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1


@pytest.mark.parametrize(
    ("gained", "lost", "p"), [(0, 0, 1.0), (5, 0, 0.0625), (10, 2, 0.03857421875), (3, 3, 1.0), (1, 8, 0.0390625)]
)
def test_mcnemar_is_the_exact_binomial(gained, lost, p):
    assert mcnemar(gained, lost) == pytest.approx(p, rel=1e-12)
    assert mcnemar(lost, gained) == mcnemar(gained, lost)


def test_mcnemar_does_not_underflow():
    p = mcnemar(1200, 900)
    # normal approximation of the same test: z = 300 / sqrt(2100)
    assert p == pytest.approx(math.erfc(299 / math.sqrt(2100) / math.sqrt(2)), rel=0.1)


def test_only_shared_items_are_compared():
    first = right_by_item([{"id": "1", "set": "a", "right": True}, {"id": "2", "set": "a", "right": False}])
    second = right_by_item([{"id": "2", "set": "a", "right": True}, {"id": "1", "set": "b", "right": True}])
    test = paired_test(first, second)
    assert (test.gained, test.lost, test.num_items, test.p_value) == (1, 0, 1, 1.0)
