"""Server steps on files: what the step says of the same numbers in memory, and the same bits however they are cut.

A new step is asked all this as soon as `support.steps` names it.
"""

from dataclasses import replace
from threading import Event

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from hansa.core.aggregators.median import Median
from hansa.formats.errors import NotFiniteError
from hansa.rounds.plan import parse
from hansa.rounds.steps import step_of
from hansa.server.blobs import store
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.store import TornBlobError
from hansa.server.trainings import combining, pipeline, stepping
from support.aggregation import BUFFERS, job_of, params, run, stored_update
from support.damage import flip_a_bit
from support.steps import SECTIONS

WEIGHTS = (3, 1_000_003, 77)
STEPS = [step_of(parse({"rounds": 1, "server_step": section}).server_step) for section in SECTIONS]
by_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)


def known(stored):
    return Known(stored.digest, stored.size, stored.checksums)


def near(place):
    """The update of a round: a step of its own from the same version."""
    began, steps = params(99), params(place)
    return {
        name: (array + 0.01 * steps[name]).astype(array.dtype) if array.dtype.kind == "f" else array
        for name, array in began.items()
    }


@pytest.fixture
def job(home):
    updates = [stored_update(place, near(place), weight) for place, weight in enumerate(WEIGHTS)]
    return replace(job_of(updates, params(0)), base=known(stored_update(9, params(99), 1)))


def made(job):
    """The version and the memory of the job, placed in the store."""
    with stepping.files_for(job) as files:
        made = stepping.compute(job, files, Event())
        for digest, path in files.by_digest(made).items():
            store.place(path, digest)
    remembered = made.memory and Known(made.memory.sha256, made.memory.size, made.memory.checksums)
    return store.path_of(made.version.sha256).read_bytes(), remembered


def learned(arrays):
    return {name: array for name, array in arrays.items() if array.dtype.kind == "f" and name not in BUFFERS}


@by_step
def test_two_rounds_are_what_the_step_makes_of_the_same_numbers_in_memory(job, step):
    mean = load(run(job)[1].read_bytes())
    base, states = params(99), {}
    remembered = None
    for _ in range(2):  # the same round, with what is remembered of the one before
        content, remembered = made(replace(job, step=step, memory=remembered))
        version = load(content)
        for name, array in learned(base).items():
            began = {key: np.full(array.shape, value) for key, value in step.initial().items()}
            update = np.float64(mean[name]) - np.float64(array)
            moved, states[name] = step.step(update, states.get(name, began))
            eps = np.finfo(array.dtype).eps
            np.testing.assert_allclose(
                np.float64(version[name]),
                array + moved,
                rtol=0.05 if eps > 1e-4 else 1e-4,
                atol=1e3 * eps,
                err_msg=name,
            )


@by_step
def test_buffers_and_integers_are_what_the_aggregator_gives(job, step):
    version, mean = load(made(replace(job, step=step))[0]), load(run(job)[1].read_bytes())
    for name in set(mean) - set(learned(params(99))):
        assert version[name].tobytes() == mean[name].tobytes(), name


@by_step
def test_what_is_remembered_is_whole_vectors_in_data_order(job, step):
    _, remembered = made(replace(job, step=step))
    if not step.initial():
        assert remembered is None
        return
    vectors = load(store.path_of(remembered.digest).read_bytes())
    size = sum(array.size for array in learned(params(99)).values())
    assert {name: (array.dtype, array.shape) for name, array in vectors.items()} == dict.fromkeys(
        step.initial(), (np.float64, (size,))
    )


@by_step
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(threads=st.integers(1, 5), in_flight=st.integers(0, 6), chunk=st.integers(3000, 2**17))
def test_the_bits_do_not_depend_on_threads_or_on_how_the_model_is_cut(job, step, threads, in_flight, chunk):
    first = made(replace(job, step=step))
    wanted = made(replace(job, step=step, memory=first[1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "THREADS", threads)
        patch.setattr(pipeline, "IN_FLIGHT", in_flight)
        patch.setattr(combining, "CHUNK_BYTES", chunk)
        assert made(replace(job, step=step)) == first
        assert made(replace(job, step=step, memory=first[1])) == wanted


def test_a_step_goes_from_whatever_the_rule_gives(job):
    (adam,) = [step for step in STEPS if type(step).__name__ == "Adam"]
    of_median, of_mean = made(replace(job, step=adam, rule=Median())), made(replace(job, step=adam))
    assert of_median != of_mean


def test_a_damaged_memory_is_told_and_nothing_is_left(job):
    (momentum,) = [step for step in STEPS if type(step).__name__ == "Momentum"]
    _, remembered = made(replace(job, step=momentum))
    flip_a_bit(remembered.digest)

    with pytest.raises(TornBlobError) as torn:
        made(replace(job, step=momentum, memory=remembered))

    assert torn.value.digest == remembered.digest
    assert not list((store.home() / "tmp").iterdir())


def test_what_cannot_be_remembered_is_refused_though_the_version_is_finite(job):
    (adagrad,) = [step for step in STEPS if type(step).__name__ == "Adagrad"]
    far = {**near(0), "matrix": np.full((30, 41), 1e200)}

    with pytest.raises(NotFiniteError, match="what the server step remembers as 'v' is not finite in 'matrix'"):
        made(replace(job, updates=(stored_update(0, far, 1),), step=adagrad))


def test_a_model_without_params_of_a_float_dtype_has_nothing_to_step(home):
    arrays = {"count": np.array([1, 2], np.int64)}
    stored = stored_update(0, arrays, 1)
    job = replace(job_of([stored], arrays), base=known(stored))

    version, remembered = made(replace(job, step=STEPS[-1]))

    assert load(version)["count"].tolist() == [1, 2]
    assert made(replace(job, step=STEPS[-1], memory=remembered)) == (version, remembered)
