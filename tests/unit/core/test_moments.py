"""Moments against a slow loop over the iterates, and what cannot be moments of anything."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hansa.core.moments import (
    MomentsError,
    RunningMoments,
    flatten,
    moments_spec,
    num_elements,
    param_order,
    unflatten,
    variance,
)
from hansa.core.params import spec_of

PARAMS = {
    "net.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "net.0.bias": np.float64([7, 8]),
    "scale": np.float16(9).reshape(()),
    "norm.mean": np.zeros(4, np.float32),
}
SPEC = spec_of(PARAMS, buffers=frozenset({"norm.mean"}))
ORDER = ("net.0.weight", "net.0.bias", "scale")

vectors = arrays(np.float64, 5, elements=st.floats(-1e6, 1e6))


@given(st.lists(vectors, min_size=1, max_size=8))
def test_moments_are_those_of_a_slow_loop(iterates: list[np.ndarray]) -> None:
    running = RunningMoments()
    for iterate in iterates:
        running.add({"w": iterate})
    for place in range(5):
        values = [float(iterate[place]) for iterate in iterates]
        assert running.first()["w"][place] == pytest.approx(sum(values) / len(values), rel=1e-12, abs=1e-12)
        squares = [value * value for value in values]
        assert running.second()["w"][place] == pytest.approx(sum(squares) / len(squares), rel=1e-12, abs=1e-12)


@given(st.lists(vectors, min_size=1, max_size=8))
def test_moments_of_any_iterates_are_moments(iterates: list[np.ndarray]) -> None:
    running = RunningMoments()
    for iterate in iterates:
        running.add({"w": iterate})
    spread = variance(running.first()["w"], running.second()["w"])
    scale = 1e-9 * (1 + np.square(iterates).max())
    assert spread == pytest.approx(np.var(iterates, axis=0), rel=1e-6, abs=scale)


@given(st.lists(vectors, min_size=1, max_size=8), st.lists(vectors, min_size=1, max_size=8))
def test_weighted_by_their_iterates_moments_of_two_clients_are_those_of_all(
    ours: list[np.ndarray], theirs: list[np.ndarray]
) -> None:
    first, second, both = RunningMoments(), RunningMoments(), RunningMoments()
    for iterate in ours:
        first.add({"w": iterate})
    for iterate in theirs:
        second.add({"w": iterate})
    for iterate in ours + theirs:
        both.add({"w": iterate})
    for moment in ("first", "second"):
        parts = [len(ours) * getattr(first, moment)()["w"], len(theirs) * getattr(second, moment)()["w"]]
        mean = sum(parts) / both.count
        assert mean == pytest.approx(getattr(both, moment)()["w"], rel=1e-9, abs=1e-3)


def test_small_variances_of_float32_weights_are_kept() -> None:
    """In float32 the mean of the squares could not tell 1.0001 from 1: the spread would be lost."""
    running = RunningMoments()
    for value in (0.9999, 1.0001):
        running.add({"w": np.float32([value])})
    assert variance(running.first()["w"], running.second()["w"])[0] == pytest.approx(1e-8, rel=1e-3)
    in_float32 = np.float32([1]) - np.square(np.float32([1]))
    assert in_float32[0] == 0


def test_nothing_has_no_moments() -> None:
    with pytest.raises(ValueError, match="at least one"):
        RunningMoments().first()


@pytest.mark.parametrize(
    ("params", "reason"), [({"v": np.zeros(2)}, r"have had \['w'\]"), ({"w": np.zeros(3)}, r"shape \(2,\); now")]
)
def test_iterates_of_another_model_are_refused(params: dict[str, np.ndarray], reason: str) -> None:
    running = RunningMoments()
    running.add({"w": np.zeros(2)})
    with pytest.raises(ValueError, match=reason):
        running.add(params)


# Order


def test_the_order_is_the_models_own_and_buffers_have_no_place_in_it() -> None:
    assert param_order(SPEC, names=["net.0.weight", "net.0.bias", "norm.mean", "scale"]) == ORDER


def test_without_one_it_is_that_of_the_names() -> None:
    assert param_order(SPEC) == ("net.0.bias", "net.0.weight", "scale")


def test_an_array_of_several_names_has_the_place_of_the_first() -> None:
    spec = spec_of({name: np.zeros(2) for name in ("decoder", "encoder", "other")})
    ties = [["decoder", "encoder"]]
    assert param_order(spec, ties, ["encoder", "other", "decoder"]) == ("encoder", "other")
    assert param_order(spec, ties) == ("decoder", "other")
    assert num_elements(spec, param_order(spec, ties)) == 4


def test_flat_vectors_hold_the_params_in_order_and_lead_back() -> None:
    vector = flatten(PARAMS, ORDER)
    assert vector.dtype == np.float64
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 7, 8, 9]
    back = unflatten(vector, SPEC, ORDER)
    assert {name: array.shape for name, array in back.items()} == {name: PARAMS[name].shape for name in ORDER}
    assert all((back[name] == PARAMS[name]).all() for name in ORDER)


def test_a_vector_of_another_length_leads_nowhere() -> None:
    with pytest.raises(ValueError, match=r"shape \(8,\); the params in this order have \(9,\)"):
        unflatten(np.zeros(8), SPEC, ORDER)


def test_a_model_without_params_has_empty_moments() -> None:
    assert flatten({}, ()).shape == (0,)
    assert unflatten(np.empty(0), SPEC, ()) == {}


def test_files_of_moments_hold_two_vectors() -> None:
    assert [(each.name, each.dtype, each.shape) for each in moments_spec(9)] == [
        ("first_moment", "float64", (9,)),
        ("second_moment", "float64", (9,)),
    ]


# What cannot be


@pytest.mark.parametrize(
    ("first", "second", "index"), [([0, 0, 0], [1, -1e-12, 0], 1), ([2, 3, 4], [4, 9, 15.9], 2), ([1e-3], [0], 0)]
)
def test_what_no_weights_can_have_is_refused_at_its_place(first: list[float], second: list[float], index: int) -> None:
    with pytest.raises(MomentsError) as caught:
        variance(np.array(first, np.float64), np.array(second, np.float64))
    assert caught.value.index == index


def test_what_float32_rounds_away_is_no_fault() -> None:
    rng = np.random.default_rng(3)
    weights = np.ldexp(rng.uniform(-1, 1, 2000), rng.integers(-80, 60, 2000)).astype(np.float32)
    first, second = np.zeros_like(weights), np.zeros_like(weights)
    for step in range(500):  # one value again and again, by the running mean that SWAG's own code uses
        first = (first * np.float32(step) + weights) / np.float32(step + 1)
        second = (second * np.float32(step) + np.square(weights)) / np.float32(step + 1)
    spread = variance(first.astype(np.float64), second.astype(np.float64))
    assert (spread >= 0).all()
