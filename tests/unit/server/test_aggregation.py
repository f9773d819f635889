"""The arithmetic of a round on files: the bits of a slow loop, however it is cut, threaded or buffered."""

from dataclasses import replace
from itertools import product
from threading import Event

import numpy as np
import pytest
from safetensors.numpy import load

from hansa.formats import safetensors
from hansa.formats.errors import NotFiniteError
from hansa.server.blobs import store
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.store import TornBlobError
from hansa.server.trainings import combining, pipeline
from hansa.server.trainings.aggregation import Findings
from hansa.server.trainings.pipeline import StoppedError
from support.aggregation import BUFFERS, job_of, params, run, stored_update

WEIGHTS = (3, 1_000_003, 77, 5, 12_345)


@pytest.fixture
def job(home):
    updates = [stored_update(place, params(place), weight, foreign=place == 2) for place, weight in enumerate(WEIGHTS)]
    return job_of(updates, params(0))


def slow_mean(arrays, weights):
    acc = np.zeros(arrays[0].shape, np.float64)
    for array, weight in zip(arrays, weights, strict=True):
        acc = acc + array.astype(np.float64) * float(weight)
    mean = acc / float(sum(weights))
    return (np.trunc(mean) if arrays[0].dtype.kind in "iu" else mean).astype(arrays[0].dtype)


def test_the_version_is_that_of_a_slow_loop(job):
    _, path = run(job)

    version, updates = load(path.read_bytes()), [params(place) for place in range(len(WEIGHTS))]
    assert version.keys() == updates[0].keys()
    for name, array in version.items():
        expected = slow_mean([update[name] for update in updates], WEIGHTS)
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape)
        assert array.tobytes() == expected.tobytes(), name


def test_it_is_told_on_the_way_how_alike_each_update_is_to_the_version_and_the_version_is_the_same(job):
    base = stored_update(9, params(99), 1)
    findings = Findings(len(WEIGHTS))

    with_base = replace(job, base=Known(base.digest, base.size, base.checksums))
    digests, path = run(with_base, findings=findings)

    assert digests == run(job)[0]
    version, began = load(path.read_bytes()), params(99)
    learned = sorted(began.keys() - BUFFERS)

    def step(arrays):
        return np.concatenate([np.float64(arrays[name]).ravel() - np.float64(began[name]).ravel() for name in learned])

    steps, came = [step(params(place)) for place in range(len(WEIGHTS))], step(version)
    wanted = [float(each @ came / np.linalg.norm(each) / np.linalg.norm(came)) for each in steps]
    assert findings.likeness.cosines() == pytest.approx(wanted, abs=1e-6)


def test_a_base_that_cannot_be_read_keeps_no_version_from_being_made(job):
    findings = Findings(len(WEIGHTS))

    digests, _ = run(replace(job, base=Known("0" * 64, 100, b"")), findings=findings)

    assert digests == run(job)[0]
    assert findings.likeness.cosines() == [None] * len(WEIGHTS)


class HalfWay:
    """A stage that goes half of the way, and notes what it was asked for."""

    def __init__(self):
        self.kept = []

    def after(self, stretch, combined, base):
        assert combined.dtype == base.dtype == np.float64
        return base + (combined - base) / 2, [(segment.name, segment.start, segment.stop) for segment in stretch]

    def keep(self, stretch, kept):
        assert kept == [(segment.name, segment.start, segment.stop) for segment in stretch]
        self.kept += stretch


@pytest.mark.parametrize("max_bytes", [4 * 2**20, 4096])
def test_a_stage_makes_the_version_of_the_aggregate_of_float_params_and_keeps_what_it_wants_in_order(
    job, monkeypatch, max_bytes
):
    monkeypatch.setattr(combining, "CHUNK_BYTES", max_bytes)
    base, stage = stored_update(9, params(99), 1), HalfWay()

    _, path = run(replace(job, base=Known(base.digest, base.size, base.checksums)), stage=stage)

    version, began, updates = load(path.read_bytes()), params(99), [params(place) for place in range(len(WEIGHTS))]
    for name, array in version.items():
        mean = slow_mean([update[name].astype(np.float64) for update in updates], WEIGHTS)
        moved = name not in BUFFERS and array.dtype.kind == "f"
        wanted = began[name] + (mean - began[name]) / 2 if moved else np.trunc(mean) if name == "bytes" else mean
        assert array.tobytes() == wanted.astype(array.dtype).tobytes(), name
    place = {array.name: index for index, array in enumerate(job.spec.in_data_order)}
    asked = [(place[segment.name], segment.start) for segment in stage.kept]
    assert asked == sorted(asked)
    assert sum(segment.size for segment in stage.kept) == 40_000 + 30 * 41 + 999


def test_a_stage_needs_the_version_that_the_round_began_from(job):
    with pytest.raises(TornBlobError, match="0" * 64):
        run(replace(job, base=Known("0" * 64, 100, b"")), stage=HalfWay())


def test_the_version_is_written_canonically(job):
    _, path = run(job)

    with path.open("rb") as file:
        layout = safetensors.read_layout(file, path.stat().st_size)
    assert layout == safetensors.canonical(job.spec)[1]
    assert layout.spec() == job.spec, "buffers are known as such"


@pytest.mark.parametrize(
    ("threads", "in_flight", "max_bytes"),
    [*product([1, 2, 7], [0, 1, 16], [4 * 2**20, 64 * 2**10, 4096]), (7, 16, 64)],
)
def test_the_bits_do_not_depend_on_threads_buffers_or_chunks(job, monkeypatch, threads, in_flight, max_bytes):
    usual, _ = run(job)
    monkeypatch.setattr(pipeline, "THREADS", threads)
    monkeypatch.setattr(pipeline, "IN_FLIGHT", in_flight)
    monkeypatch.setattr(combining, "CHUNK_BYTES", max_bytes)

    assert run(job)[0] == usual


def test_the_bits_depend_on_the_order_of_the_list(home):
    arrays = [{"w": np.float64([1e16])}, {"w": np.float64([1.0])}, {"w": np.float64([-1e16])}]
    updates = [stored_update(place, each, 1) for place, each in enumerate(arrays)]

    forwards, _ = run(job_of(updates, arrays[0]))
    otherwise, _ = run(job_of([updates[0], updates[2], updates[1]], arrays[0]))

    assert forwards.sha256 != otherwise.sha256


def test_integers_of_late_updates_are_the_exact_mean_however_they_are_cut(home, monkeypatch):
    monkeypatch.setattr(combining, "EXACT_ELEMENTS", 50)
    weights = (30, 33, 2.1213203435596424)
    like = {"counts": np.full(333, 5, np.uint8), "more": np.arange(7, dtype=np.uint8), "step": np.array(5, np.int64)}
    updates = [stored_update(place, like, weight) for place, weight in enumerate(weights)]

    digests, _ = run(job_of(updates, like))

    assert digests.sha256 == updates[0].digest


def test_a_single_update_comes_back_bit_for_bit(home):
    arrays = {name: array for name, array in params(5).items() if array.dtype != np.float64}
    only = stored_update(0, arrays, 41)

    digests, _ = run(job_of([only], arrays))

    assert digests.sha256 == only.digest


def test_a_damaged_update_is_found_whichever_it_is(job):
    path = store.path_of(job.updates[3].digest)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)

    with pytest.raises(TornBlobError, match=job.updates[3].digest):
        run(job)


def test_an_update_that_is_gone_is_told(job):
    store.remove(job.updates[1].digest)

    with pytest.raises(TornBlobError, match=job.updates[1].digest):
        run(job)


def test_values_too_large_to_be_added_are_told(home):
    huge = {"w": np.float64([1.0, 1e308])}
    updates = [stored_update(place, huge, 2**40) for place in range(2)]

    with pytest.raises(NotFiniteError, match=r"'w'.*too large to be added"):
        run(job_of(updates, huge))


def test_a_server_that_ends_stops_in_the_middle_and_leaves_nothing(job, home):
    stopping = Event()
    stopping.set()

    with pytest.raises(StoppedError):
        run(job, stopping)

    assert list((home / "tmp").iterdir()) == []
