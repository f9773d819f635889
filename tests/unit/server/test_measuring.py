"""What is known of a cohort before its rule tells shares takes memory that is stated, however large the cohort."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Event

import numpy as np
import pytest

from hansa.core.aggregators import gram
from hansa.core.aggregators.shares import Needs
from hansa.core.params import spec_of
from hansa.server.blobs.inspection import Known
from hansa.server.trainings import measuring, pipeline
from hansa.server.trainings.cohort import Cohort, opened_base
from support.aggregation import BUFFERS, params, stored_update

pytestmark = pytest.mark.usefixtures("home")
COHORT = 300
MATRIX = 8 * COHORT**2


def some(seed):
    """Params of two dtypes and a buffer."""
    whole = params(seed)
    return {"large": whole["large"][:14_000], "half": whole["half"], "mean": whole["mean"]}


@pytest.fixture
def measure(monkeypatch):
    """Eight panels of a cohort whose updates are one file; the matrix, and the most bytes held meanwhile."""
    monkeypatch.setattr(gram, "BLOCK", 1024)
    base, update = stored_update(0, some(0), 1), stored_update(0, some(1), 1)
    cohort, spec = Cohort([update] * COHORT), spec_of(some(0), buffers=BUFFERS & some(0).keys())

    def measured(needs=Needs.PRODUCTS):
        with ThreadPoolExecutor(pipeline.THREADS) as pool, ExitStack() as opened:
            origin = opened_base(Known(base.digest, base.size, base.checksums), opened)
            tracemalloc.start()
            try:
                found = measuring.measured(cohort, origin, spec=spec, needs=needs, pool=pool, stopping=Event())
                return found, tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()

    return measured


def test_a_large_cohort_has_three_matrices_at_a_time_and_a_smaller_one_some_more(measure, monkeypatch):
    """The sum, one panel's, and that of the block it is at. Norms alone tell what reading takes beside them."""
    monkeypatch.setattr(measuring, "PART_BYTES", 1)
    (plenty, peak_of_plenty), reading_plenty = measure(), measure(Needs.NORMS)[1]
    monkeypatch.setattr(measuring, "MATRIX_BYTES", 0)
    (found, peak), reading = measure(), measure(Needs.NORMS)[1]

    assert peak - reading < 3.5 * MATRIX
    assert peak_of_plenty > peak + MATRIX
    assert peak_of_plenty - reading_plenty < (2.5 + pipeline.IN_FLIGHT + pipeline.THREADS) * MATRIX
    assert found.tobytes() == plenty.tobytes()


@pytest.mark.parametrize("needs", [Needs.NORMS, Needs.PRODUCTS])
def test_a_panel_is_read_in_as_many_parts_as_there_is_room_for_and_has_the_same_bits(measure, monkeypatch, needs):
    whole, peak_of_whole = measure(needs)
    for room, most in ((1, 1), (4 * COHORT * 700, 2)):
        monkeypatch.setattr(measuring, "PART_BYTES", room)
        found, peak = measure(needs)

        assert found.tobytes() == whole.tobytes()
        assert peak < peak_of_whole - (gram.PANEL - 1 - most) * COHORT * gram.block_elements(COHORT) * 4


@pytest.mark.parametrize(("clients", "ahead"), [(100, 4), (1000, 4), (2048, 4), (gram.MOST, 0), (50_000, 0)])
def test_as_many_panels_are_computed_ahead_as_their_matrices_have_room(clients, ahead):
    matrices = 1 + (ahead + 1) + min(pipeline.THREADS, ahead + 1)

    assert measuring._in_flight(8 * clients**2) == ahead
    assert matrices * 8 * clients**2 <= measuring.MATRIX_BYTES or ahead == 0


def test_products_are_those_of_the_differences(measure):
    """In plain numpy, of all elements at once."""
    learned = [name for name, array in some(0).items() if array.dtype.kind == "f" and name not in BUFFERS]
    norm = sum(np.square(np.float64(some(1)[name]) - np.float64(some(0)[name])).sum() for name in learned)

    np.testing.assert_allclose(measure()[0], norm, rtol=1e-12)
    np.testing.assert_allclose(measure(Needs.NORMS)[0], norm, rtol=1e-12)
