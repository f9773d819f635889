"""The arithmetic of a round on files: the bits of a slow loop, however it is cut, threaded or buffered."""

import uuid
from functools import partial
from itertools import product
from threading import Event

import numpy as np
import pytest
from safetensors.numpy import load, save

from hansa.core.params import spec_of
from hansa.formats import safetensors
from hansa.formats.chunks import chunks
from hansa.formats.errors import NotFiniteError
from hansa.server.blobs import store
from hansa.server.blobs.store import BlobFile, TornBlobError
from hansa.server.trainings import aggregation
from hansa.server.trainings.aggregation import StoppedError, aggregate
from hansa.server.trainings.services.aggregation import Job, StoredUpdate
from support.work import file_of

BUFFERS = frozenset({"mean", "count"})
WEIGHTS = (3, 1_000_003, 77, 5, 12_345)


def params(seed):
    rng = np.random.default_rng(seed)
    return {
        "large": np.ldexp(rng.uniform(-1, 1, 40_000), rng.integers(-20, 21, 40_000)).astype(np.float32),
        "matrix": rng.normal(size=(30, 41)).astype(np.float64),
        "half": rng.normal(size=999).astype(np.float16),
        "mean": rng.normal(size=7).astype(np.float32),
        "count": np.array(rng.integers(-(2**40), 2**40), np.int64),
        "bytes": rng.integers(0, 256, 333).astype(np.uint8),
        "empty": np.zeros((3, 0), np.float32),
    }


def stored_update(ordinal, arrays, weight, foreign=False):
    """An update in the store; `foreign`: laid out as another program writes it."""
    content = save(arrays) if foreign else file_of(arrays, BUFFERS & arrays.keys()).content
    with BlobFile() as file:
        file.write(content)
        digests = file.finish()
    store.place(file.path, digests.sha256)
    return StoredUpdate(ordinal, digests.sha256, weight, digests.size, digests.checksums)


def job_of(updates, arrays):
    return Job(
        round_id=uuid.uuid4(),
        training_id=uuid.uuid4(),
        claim=uuid.uuid4(),
        number=1,
        spec=spec_of(arrays, buffers=BUFFERS & arrays.keys()),
        updates=tuple(updates),
    )


@pytest.fixture
def job(home):
    updates = [stored_update(place, params(place), weight, foreign=place == 2) for place, weight in enumerate(WEIGHTS)]
    return job_of(updates, params(0))


def run(job, stopping=None):
    with BlobFile() as blob:
        digests = aggregate(job, blob, stopping or Event())
    return digests, blob.path


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
    monkeypatch.setattr(aggregation, "THREADS", threads)
    monkeypatch.setattr(aggregation, "IN_FLIGHT", in_flight)
    monkeypatch.setattr(aggregation, "chunks", partial(chunks, max_bytes=max_bytes))

    assert run(job)[0] == usual


def test_the_bits_depend_on_the_order_of_the_list(home):
    arrays = [{"w": np.float64([1e16])}, {"w": np.float64([1.0])}, {"w": np.float64([-1e16])}]
    updates = [stored_update(place, each, 1) for place, each in enumerate(arrays)]

    forwards, _ = run(job_of(updates, arrays[0]))
    otherwise, _ = run(job_of([updates[0], updates[2], updates[1]], arrays[0]))

    assert forwards.sha256 != otherwise.sha256


def test_integers_of_late_updates_are_the_exact_mean_however_they_are_cut(home, monkeypatch):
    monkeypatch.setattr(aggregation, "EXACT_ELEMENTS", 50)
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
