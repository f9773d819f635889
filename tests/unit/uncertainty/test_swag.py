"""Draws against the distribution they are of, and against a model whose predictive variance is known."""

import numpy as np
import pytest

from hansa.core.moments import MomentsError, RunningMoments, flatten, unflatten
from hansa.core.params import spec_of
from hansa.uncertainty.decomposition import mixture
from hansa.uncertainty.swag import BLOCK, gaussian, params_of

SEED = 20262


def test_draws_have_the_mean_and_the_standard_deviation_of_the_moments() -> None:
    mean, std = np.array([5.0, -1.0, 0.0]), np.array([0.1, 2.0, 0.0])
    found = gaussian(mean, np.square(mean) + np.square(std))
    rng = np.random.default_rng(SEED)
    draws = np.stack([found.draw(rng) for _ in range(20_000)])
    assert draws.mean(axis=0) == pytest.approx(mean, abs=5 * 2.0 / np.sqrt(20_000)), f"seed {SEED}"
    assert draws.std(axis=0) == pytest.approx(std, rel=5 / np.sqrt(2 * 20_000), abs=1e-12), f"seed {SEED}"


def test_moments_of_stored_iterates_are_their_mean_and_deviation() -> None:
    iterates = np.random.default_rng(SEED).normal(3, 0.5, (40, 6))
    running = RunningMoments()
    for iterate in iterates:
        running.add({"w": iterate})
    found = gaussian(running.first()["w"], running.second()["w"])
    assert found.mean == pytest.approx(iterates.mean(axis=0))
    assert found.std == pytest.approx(iterates.std(axis=0))


def test_a_linear_gaussian_model_gets_its_known_predictive_variance() -> None:
    """With y = w·x + e, w ~ N(m, diag(s²)) and e ~ N(0, q²): the predictive variance is Σ (s x)² + q²."""
    rng = np.random.default_rng(SEED)
    mean, std, noise = rng.normal(size=8), rng.uniform(0.2, 1, 8), 0.7
    inputs = rng.normal(size=(5, 8))
    posterior = gaussian(mean, np.square(mean) + np.square(std))
    passes = 20_000
    predictions = np.stack([inputs @ posterior.draw(rng) for _ in range(passes)])[..., np.newaxis]
    found = mixture(predictions, np.full_like(predictions, noise**2))
    known = np.square(inputs) @ np.square(std)
    error = 5 * known * np.sqrt(2 / passes)
    assert (np.abs(found.epistemic[:, 0] - known) < error).all(), f"seed {SEED}"
    assert (np.abs(found.total[:, 0] - known - noise**2) < error).all(), f"seed {SEED}"
    assert found.mean[:, 0] == pytest.approx(inputs @ mean, abs=5 * np.sqrt(known.max() / passes)), f"seed {SEED}"


def test_a_second_draw_is_another_and_the_same_seed_gives_the_same() -> None:
    found = gaussian(np.zeros(BLOCK + 3), np.ones(BLOCK + 3))
    rng = np.random.default_rng(1)
    first, second = found.draw(rng), found.draw(rng)
    assert (first != second).all()
    assert (found.draw(np.random.default_rng(1)) == first).all()


def test_draws_of_scale_0_are_the_mean() -> None:
    found = gaussian(np.array([1.0, 2.0]), np.array([9.0, 9.0]))
    assert found.draw(np.random.default_rng(1), scale=0).tolist() == [1.0, 2.0]


def test_a_variance_that_rounding_made_negative_is_0_and_one_that_is_wrong_is_refused() -> None:
    assert gaussian(np.array([1.0]), np.array([1.0 - 1e-9])).std.tolist() == [0.0]
    with pytest.raises(MomentsError, match=r"at least the square of the mean"):
        gaussian(np.array([1.0]), np.array([0.5]))


def test_moments_of_two_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="equally long"):
        gaussian(np.zeros(2), np.zeros(3))


def test_vectors_become_params_in_the_recorded_order_with_shapes_dtypes_and_ties() -> None:
    params = {
        "encoder": np.arange(4, dtype=np.float32).reshape(2, 2),
        "decoder": np.arange(4, dtype=np.float32).reshape(2, 2),
        "bias": np.float16([7, 8]),
        "steps": np.int64([9]),
        "running": np.zeros(3, np.float32),
    }
    spec = spec_of(params, buffers=frozenset({"running"}))
    order, ties = ("steps", "encoder", "bias"), [("decoder", "encoder")]
    vector = flatten(params, order)
    back = params_of(vector + 0.25, spec, order, ties)
    assert back.keys() == {"encoder", "decoder", "bias", "steps"}
    assert back["decoder"].tolist() == [[0.25, 1.25], [2.25, 3.25]]
    assert {name: array.dtype.name for name, array in back.items()} == {
        "encoder": "float32", "decoder": "float32", "bias": "float16", "steps": "int64",
    }  # fmt: skip
    assert back["steps"].tolist() == [9]
    assert unflatten(vector, spec, order).keys() == set(order)
