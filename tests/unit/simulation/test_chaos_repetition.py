"""The trainer that can be repeated, and the slow mean that versions are compared with."""

import io

import numpy as np

from hansa.core.mean import weighted_mean
from hansa.formats import safetensors
from hansa.simulation.chaos.repetition import digest, mean
from hansa.simulation.chaos.trainer import BUFFERS, first_version, gathered, num_examples, trained

FIRST = first_version(3, rows=7)


def bits(params):
    return {name: (array.dtype.name, array.tobytes()) for name, array in params.items()}


def updates(count=5):
    return [(trained(FIRST, seed=seed), num_examples(seed)) for seed in range(count)]


def test_an_update_is_a_function_of_the_base_and_the_seed():
    assert bits(trained(FIRST, seed=1)) == bits(trained(FIRST, seed=1))
    assert bits(trained(FIRST, seed=1)) != bits(trained(FIRST, seed=2))
    assert bits(trained(FIRST, seed=1)) != bits(trained(first_version(4, rows=7), seed=1))


def test_an_update_has_the_names_shapes_and_types_of_its_base():
    for name, array in trained(FIRST, seed=1).items():
        assert (array.dtype, array.shape) == (FIRST[name].dtype, FIRST[name].shape)


def test_params_stay_finite_over_many_rounds():
    params = FIRST
    for seed in range(200):
        params = trained(params, seed=seed)
    assert all(np.isfinite(array).all() for array in params.values())


def test_another_order_of_summation_gives_other_bits():
    assert bits(mean(updates())) != bits(mean(updates()[::-1]))


def test_the_slow_mean_has_the_bits_of_the_servers_arithmetic():
    for name, array in mean(updates()).items():
        fast = np.empty(array.shape, array.dtype)
        weighted_mean([params[name] for params, _ in updates()], [weight for _, weight in updates()], fast)
        assert fast.tobytes() == array.tobytes(), name


def test_a_digest_is_that_of_the_canonical_file():
    file = io.BytesIO()
    layout = safetensors.write(file, FIRST, BUFFERS)
    assert layout.size == len(file.getvalue())
    assert digest(FIRST) == digest(dict(reversed(FIRST.items()))) != digest(FIRST, frozenset())


def test_moments_are_those_of_some_iterates():
    first, second = gathered(FIRST, seed=1)
    assert first.keys() == second.keys() == FIRST.keys() - BUFFERS
    assert all((second[name] >= np.square(first[name])).all() for name in first)
