"""The trainer that can be repeated, and the slow mean that versions are compared with."""

import io

import numpy as np
import pytest

from hansa.core.mean import weighted_mean
from hansa.formats import safetensors
from hansa.simulation.chaos.record import Record
from hansa.simulation.chaos.repetition import Repetition, digest, mean
from hansa.simulation.chaos.trainer import BUFFERS, first_version, gathered, num_examples, trained
from support.chaos_records import FIRST, in_time, recorded


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


def test_the_slow_mean_of_equal_integers_is_what_they_are_though_a_weight_has_a_fraction():
    counted = {"count": np.array([5, -5])}
    assert mean([(counted, 30), (counted, 33), (counted, 2.1213203435596424)])["count"].tolist() == [5, -5]


def test_a_digest_is_that_of_the_canonical_file():
    file = io.BytesIO()
    layout = safetensors.write(file, FIRST, BUFFERS)
    assert layout.size == len(file.getvalue())
    assert digest(FIRST) == digest(dict(reversed(FIRST.items()))) != digest(FIRST, frozenset())


def test_moments_are_those_of_some_iterates():
    first, second = gathered(FIRST, seed=1)
    assert first.keys() == second.keys() == FIRST.keys() - BUFFERS
    assert all((second[name] >= np.square(first[name])).all() for name in first)


HALF_LATE = [(2, num_examples(2) / np.sqrt(2)), (3, num_examples(3) / np.sqrt(2))]


def differences(record: Record) -> list[str]:
    return list(Repetition(record, record.trainings["training"]).differences())


def test_a_training_that_kept_to_the_rules_is_repeated_bit_by_bit(tmp_path):
    assert differences(recorded(tmp_path, [in_time(0, 1), in_time(0, 1, 2)], HALF_LATE)) == []


@pytest.mark.parametrize(
    ("accepted", "late", "told"),
    [
        ([in_time(1, 0), in_time(0, 1)], HALF_LATE, "the order of joining"),
        ([in_time(0, 1), in_time(0, 1)], HALF_LATE[::-1], "the order of rounds and of joining"),
        ([[(0, 1), (1, 1)], in_time(0, 1)], HALF_LATE, "weighs 1 instead of 100"),
        ([in_time(0, 1), in_time(0, 1)], in_time(2), "weighs 248 instead of 175.36"),
    ],
    ids=["in the order of arrival", "late ones in that order", "as if all were equal", "late as if in time"],
)
def test_a_server_that_adds_otherwise_is_found_out_though_its_bits_are_those_of_its_list(
    tmp_path, accepted, late, told
):
    found = differences(recorded(tmp_path, accepted, late))
    assert found
    assert all(told in text for text in found[:1])
    assert not any("computed again" in text for text in found)


def test_a_record_that_lacks_rows_is_told_not_guessed(tmp_path):
    record = recorded(tmp_path, [in_time(0, 1), in_time(0, 1)], [])
    object.__setattr__(record, "tasks", {})
    text, *skipped = differences(record)
    assert "cannot be computed again" in text
    assert [text[:9] for text in skipped] == ["version 1", "version 2"]
