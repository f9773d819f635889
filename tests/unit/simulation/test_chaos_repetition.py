"""The trainer that can be repeated, and the slow mean that versions are compared with."""

import io
from pathlib import Path

import numpy as np
import pytest

from hansa.core.mean import weighted_mean
from hansa.core.seeds import client_seed
from hansa.formats import safetensors
from hansa.rounds import plan as plans
from hansa.simulation.chaos.record import Record, Round, Task, Training, Update, Version
from hansa.simulation.chaos.repetition import Repetition, digest, mean
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


SEED = 11
PLAN = plans.to_data(plans.parse({"rounds": 2, "late": {"kind": "fold"}}))
Line = tuple[int, float]
"""Ordinal and weight."""


def sent(base, number: int, ordinal: int):
    return trained(base, seed=client_seed(SEED, number, ordinal))


def recorded(folder: Path, accepted: list[list[Line]], late: list[Line]) -> Record:
    """Two rounds as a server has them that added what is listed as it is listed; `late` are of the first round."""
    file = folder / digest(FIRST)
    with file.open("wb") as opened:
        safetensors.write(opened, FIRST, BUFFERS)
    versions, params, rounds = [Version(0, "model", 0, file.name, None)], [FIRST], []
    tasks, updates = [], []
    for number, listed in enumerate(accepted, start=1):
        base = params[-1]
        own = [(sent(base, number, ordinal), weight) for ordinal, weight in listed]
        folded = [(sent(FIRST, 1, ordinal), weight) for ordinal, weight in (late if number == 2 else [])]
        params.append(mean(own + folded))
        versions.append(Version(number, "model", number, digest(params[-1]), None))
        ordinals = {ordinal for ordinal, _ in [*listed, *(late if number == 1 else [])]}
        for ordinal in sorted(ordinals):
            name = f"{number}-{ordinal}"
            state = "reported" if ordinal in dict(listed) else "closed"
            tasks.append(Task(name, str(number), ordinal, "client", "train", state, 1, False, None))
            updates.append(Update(name, digest(sent(base, number, ordinal)), 1, "2" if state == "closed" else None))
        rounds.append(
            Round(
                id=str(number),
                training="training",
                number=number,
                attempt=1,
                state="done",
                base=number - 1,
                version=number,
                accepted=[[ordinal, digest(sent(base, number, ordinal)), weight] for ordinal, weight in listed],
                folded=[[ordinal, digest(sent(FIRST, 1, ordinal)), weight, 1] for ordinal, weight in late]
                if number == 2
                else [],
                moments_accepted=[],
                claimed=False,
            )
        )
    return Record(
        trainings={"training": Training("training", "it", "completed", "", PLAN, SEED, "model")},
        versions={version.id: version for version in versions},
        rounds={of.id: of for of in rounds},
        tasks={task.id: task for task in tasks},
        updates={update.task: update for update in updates},
        metrics=frozenset(),
        blobs={},
        referenced=frozenset(),
        files={file.name: file},
        leftovers=[],
        damaged=[],
        orphans=[],
    )


def in_time(*ordinals: int) -> list[Line]:
    return [(ordinal, num_examples(ordinal)) for ordinal in ordinals]


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
    (text,) = differences(record)
    assert "cannot be computed again" in text
