"""The general : function-call ratio is exact, deterministic, and validation never leaks into training."""

from collections import Counter
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcdist.data.mixing import choose_validation, closest_subset, mix
from fcdist.errors import DataError

RATIOS = st.sampled_from([0.5, 1.0, 1.5, 2.0, 3.0, 2.25])


def sides(num_general, num_calls):
    return np.array([True] * num_general + [False] * num_calls)


@settings(max_examples=60, deadline=None)
@given(st.integers(9, 60), st.integers(4, 60), RATIOS, st.booleans(), st.integers(0, 5))
def test_by_examples_the_ratio_is_exact_and_as_large_as_can_be(num_general, num_calls, ratio, repeat, seed):
    general = sides(num_general, num_calls)
    chosen = mix(general, np.ones(len(general)), ratio, repeat=repeat, seed=seed)
    counts = Counter(chosen.rows.tolist())
    exact = Fraction(ratio)
    assert Fraction(chosen.general, chosen.function_call) == exact
    assert chosen.general == sum(n for row, n in counts.items() if general[row])
    if repeat:
        assert set(counts) == set(range(len(general)))  # nothing is left out
        one_less = (chosen.general - exact.numerator, chosen.function_call - exact.denominator)
        assert one_less[0] < num_general or one_less[1] < num_calls
        for side in (range(num_general), range(num_general, len(general))):
            assert max(counts[i] for i in side) - min(counts[i] for i in side) <= 1
    else:
        assert max(counts.values()) == 1
        one_more = (chosen.general + exact.numerator, chosen.function_call + exact.denominator)
        assert one_more[0] > num_general or one_more[1] > num_calls


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(5, 50), min_size=20, max_size=60), st.integers(2, 15), RATIOS, st.booleans())
def test_by_tokens_the_ratio_is_within_one_short_example(lengths, num_calls, ratio, repeat):
    general = sides(len(lengths) - num_calls, num_calls)
    tokens = np.array(lengths)
    try:
        chosen = mix(general, tokens, ratio, "tokens", repeat, seed=3)
    except DataError:
        return
    assert chosen.general == tokens[[r for r in chosen.rows if general[r]]].sum()
    assert chosen.function_call == tokens[[r for r in chosen.rows if not general[r]]].sum()
    if len(chosen.rows) != len(lengths) or repeat:
        assert abs(chosen.general - ratio * chosen.function_call) <= 26 * max(1, ratio) + 1


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=9), st.integers(0, 120))
def test_closest_subset_is_near_the_best(sizes, target):
    chosen = closest_subset(sizes, target)
    assert len(set(chosen)) == len(chosen)
    best = min(
        abs(target - sum(sizes[i] for i in some))
        for n in range(len(sizes) + 1)
        for some in combinations(range(len(sizes)), n)
    )
    error = abs(target - sum(sizes[i] for i in chosen))
    assert best <= error <= max(best, max(sizes) // 2)


def test_the_choice_depends_on_the_seed_alone():
    general, lengths = sides(40, 10), np.ones(50)
    rows = [mix(general, lengths, 1.0, seed=seed).rows.tolist() for seed in (1, 1, 2)]
    assert rows[0] == rows[1] != rows[2]


def test_ratio_zero_keeps_everything():
    chosen = mix(sides(3, 5), np.ones(8), 0.0)
    assert chosen.rows.tolist() == list(range(8)) and chosen.achieved == 3 / 5


def test_a_missing_or_too_small_side_is_an_error():
    with pytest.raises(DataError, match=r"there is no general example.*role: general, or set data\.general_ratio=0"):
        mix(sides(0, 5), np.ones(5), 2.0)
    with pytest.raises(DataError, match=r"needs at least 3 general and 2 function-call examples; there are 9 and 1"):
        mix(sides(9, 1), np.ones(10), 1.5)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 2)), min_size=1, max_size=60),
    st.floats(0.01, 0.9),
    st.lists(st.sampled_from(["auto", "train", "validation"]), min_size=3, max_size=3),
)
def test_validation_shares_no_conversation_with_training(pairs, fraction, uses):
    keys = [str(key) for key, _ in pairs]
    held_out = choose_validation(keys, [source for _, source in pairs], uses, fraction, seed=1)
    validating = {k for k, h in zip(keys, held_out, strict=True) if h}
    assert not validating & {k for k, h in zip(keys, held_out, strict=True) if not h}
    own = {use: {key for key, source in pairs if uses[source] == use} for use in ("train", "validation")}
    assert {str(key) for key in own["validation"]} <= validating
    assert not {str(key) for key in own["train"] - own["validation"]} & validating


AUTO = ("auto", "auto", "auto")


def test_validation_takes_its_share_of_every_source():
    held_out = choose_validation([str(i) for i in range(300)], [i % 3 for i in range(300)], AUTO, 0.1, seed=1)
    assert [int(held_out[source::3].sum()) for source in range(3)] == [10, 10, 10]
    assert not choose_validation(["a", "b"], [0, 0], AUTO, 0.0, seed=1).any()
