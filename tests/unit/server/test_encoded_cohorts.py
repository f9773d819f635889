"""Cohorts whose updates came in fewer bytes: a rule makes of them what it makes of the whole params they stand for."""

import io
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from hansa.formats import encodings, safetensors
from hansa.formats.chunks import FileSource
from hansa.formats.encodings import Origin
from hansa.protocol.encodings import Encoding
from hansa.rounds import plan as plans
from hansa.rounds.rules import rule_of
from hansa.server.blobs import store
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.store import BlobFile
from hansa.server.trainings import combining, pipeline
from hansa.server.trainings.aggregation import Findings
from hansa.server.trainings.services.aggregation import LateUpdateUnreadableError, StoredUpdate
from support.aggregation import BUFFERS, job_of, params, run, stored_update
from support.rules import SECTIONS

pytestmark = pytest.mark.usefixtures("home")

CLIENTS = 7
WEIGHTS = (10, 30, 20, 10, 40, 10, 20)
HALF = Encoding(dtype="float16")
STEP = Encoding(content="difference", dtype="bfloat16")
PART = Encoding(content="difference", dtype="float16", params=["large", "half"])
by_rule = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section["kind"])


def near(base, client):
    """What a client makes of the base: floats of few digits, so that float16 and the difference hold them exactly."""
    rng = np.random.default_rng(client + 1)
    return {
        name: (array + np.ldexp(rng.integers(-64, 65, array.shape), -6)).astype(array.dtype)
        if array.dtype.kind == "f"
        else array
        for name, array in base.items()
    }


@pytest.fixture
def base():
    """Floats of few digits."""
    return {
        name: np.round(array * 4).clip(-32, 32).astype(array.dtype) / array.dtype.type(4)
        if array.dtype.kind == "f"
        else array
        for name, array in params(0).items()
    }


def placed(content):
    with BlobFile() as file:
        file.write(content)
        digests = file.finish()
    store.place(file.path, digests.sha256)
    return Known(digest=digests.sha256, size=digests.size, checksums=digests.checksums)


def known_base(arrays):
    stream = io.BytesIO()
    safetensors.write(stream, arrays, BUFFERS)
    return placed(stream.getvalue())


def encoded_update(ordinal, arrays, encoding, base, weight):
    stream, path = io.BytesIO(), store.path_of(base.digest)
    with path.open("rb") as file:
        layout = safetensors.read_layout(file, base.size)
    with FileSource(path) as source:
        encodings.write(stream, arrays, layout.spec(), encoding, Origin(base.digest, source, layout))
    known = placed(stream.getvalue())
    return StoredUpdate(ordinal, known.digest, weight, known.size, known.checksums)


def job(updates, arrays, base, section):
    rule = rule_of(plans.parse({"rounds": 1, "aggregator": section}).aggregator)
    return replace(job_of(updates, arrays), base=base, rule=rule)


@pytest.fixture
def mixed(base):
    """Clients that send whole params, beside those that send the same in other forms."""
    known, updates = known_base(base), []
    for client, weight in enumerate(WEIGHTS):
        arrays, form = near(base, client), (None, HALF, STEP)[client % 3]
        if form is None:
            updates.append(stored_update(client, arrays, weight))
        else:
            updates.append(encoded_update(client, arrays, form, known, weight))
    return known, updates


@by_rule
def test_what_is_exact_in_every_form_makes_the_version_that_whole_params_make(base, mixed, section):
    known, updates = mixed
    whole = [stored_update(client, near(base, client), weight) for client, weight in enumerate(WEIGHTS)]

    _, made = run(job(updates, base, known, section))
    found = load_file(made)
    _, expected = run(job(whole, base, known, section))

    for name, array in load_file(expected).items():
        tolerance = 4 * np.finfo(array.dtype).eps if array.dtype.kind == "f" else 0
        np.testing.assert_allclose(found[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


@by_rule
def test_the_same_bits_come_with_any_threads_and_chunks(base, mixed, section, monkeypatch):
    known, updates = mixed
    found = set()
    for threads, size in ((1, 2**22), (4, 2**22), (3, 4096)):
        monkeypatch.setattr(pipeline, "THREADS", threads)
        monkeypatch.setattr(combining, "CHUNK_BYTES", size)
        findings = Findings(CLIENTS)
        digests, _ = run(job(updates, base, known, section), findings=findings)
        found.add((digests.sha256, str(findings.told())))
    assert len({digest for digest, _ in found}) == 1


def test_params_that_nobody_sent_stay_those_of_the_base(base):
    known = known_base(base)
    updates = [encoded_update(client, near(base, client), PART, known, 10) for client in range(2)]

    _, made = run(job(updates, base, known, {"kind": "weighted_mean"}))

    found = load_file(made)
    np.testing.assert_array_equal(found["matrix"], base["matrix"])
    for name in ("large", "mean"):
        mean = np.mean([near(base, client)[name].astype(np.float64) for client in range(2)], axis=0)
        np.testing.assert_allclose(found[name], mean, rtol=1e-6, atol=1e-6)


def test_a_late_difference_is_one_to_the_version_that_it_began_from(base):
    earlier = {name: array + array.dtype.type(1) for name, array in base.items()}
    known, before = known_base(base), known_base(earlier)
    own = encoded_update(0, near(base, 0), STEP, known, 10)
    late = replace(encoded_update(1, near(earlier, 1), STEP, before, 10), late_from=1, base=before)

    _, made = run(job([own, late], base, known, {"kind": "weighted_mean"}))

    mean = (near(base, 0)["matrix"] + near(earlier, 1)["matrix"]) / 2
    np.testing.assert_allclose(load_file(made)["matrix"], mean, atol=1e-12)


def test_a_late_difference_whose_version_is_another_by_now_is_done_without(base):
    known = known_base(base)
    elsewhere = known_base({name: array + array.dtype.type(1) for name, array in base.items()})
    late = replace(encoded_update(1, near(base, 1), STEP, known, 10), late_from=1, base=elsewhere)

    with pytest.raises(LateUpdateUnreadableError, match="not what its round began from any more"):
        run(job([stored_update(0, near(base, 0), 10), late], base, known, {"kind": "weighted_mean"}))
