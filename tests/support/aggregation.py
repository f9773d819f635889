"""Updates in the store, the job of a round, and what its aggregation makes of them, without a database."""

import uuid
from threading import Event

import numpy as np
from safetensors.numpy import save

from hansa.core.params import spec_of
from hansa.server.blobs import store
from hansa.server.blobs.store import BlobFile
from hansa.server.trainings.aggregation import aggregate
from hansa.server.trainings.services.aggregation import Job, StoredUpdate
from support.work import file_of

BUFFERS = frozenset({"mean", "count"})


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


def run(job, stopping=None, findings=None, stage=None):
    with BlobFile() as blob:
        digests = aggregate(job, blob, stopping or Event(), findings, stage)
    return digests, blob.path
