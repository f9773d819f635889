"""Every rule on files: what the rule says of the same numbers in memory, and the same bits however they are cut.

A new rule is asked all this as soon as `support.rules` names it.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load

from hansa.core.aggregators import ByElement
from hansa.core.aggregators.gram import gram
from hansa.core.aggregators.shares import Needs
from hansa.core.params import spec_of
from hansa.rounds.plan import parse
from hansa.rounds.rules import rule_of
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.store import TornBlobError
from hansa.server.trainings import combining, pipeline
from hansa.server.trainings.aggregation import Findings
from support.aggregation import BUFFERS, job_of, params, run, stored_update
from support.rules import SECTIONS

WEIGHTS = (3, 1_000_003, 77, 5, 12_345, 600, 81)
BYZANTINE = 4
"""Whose params are far from those of the others."""
RULES = [rule_of(parse({"rounds": 1, "aggregator": section}).aggregator) for section in SECTIONS]
SHARING = [rule for rule in RULES if not isinstance(rule, ByElement)]

by_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
clipped_or_not = pytest.mark.parametrize("clip", [None, 1e-3, 2.5, 1e9], ids=lambda clip: f"clip={clip}")


def near(place):
    """The update of a round: a step of its own from the same version."""
    began, steps = params(99), params(place)
    far = 40.0 if place == BYZANTINE else 0.01
    learned = {name: array for name, array in began.items() if array.dtype.kind == "f"}
    stepped = {name: (array + far * steps[name]).astype(array.dtype) for name, array in learned.items()}
    return {**began, **stepped, "count": steps["count"]}


@pytest.fixture
def job(home):
    base = stored_update(9, params(99), 1)
    updates = [stored_update(place, near(place), weight) for place, weight in enumerate(WEIGHTS)]
    return replace(job_of(updates, params(0)), base=Known(base.digest, base.size, base.checksums))


def flat(arrays):
    """The learned numbers in data order, and the names they come from."""
    spec = spec_of(params(0), buffers=BUFFERS)
    names = [each.name for each in spec.in_data_order if each.name not in BUFFERS and each.dtype.startswith("float")]
    return np.concatenate([np.float64(arrays[name]).ravel() for name in names]), names


def in_memory(rule, clip):
    """The learned numbers of the version, by the rule on arrays."""
    origin, names = flat(params(99))
    updates = np.array([flat(near(place))[0] for place in range(len(WEIGHTS))]) - origin
    if clip is not None:
        norms = np.linalg.norm(updates, axis=1)
        updates *= np.minimum(1, clip / norms)[:, None]
    weights = np.float64(WEIGHTS)
    if isinstance(rule, ByElement):
        return origin + rule.combine(updates.copy(), weights), names
    products = gram(updates)
    measured = products if rule.needs is Needs.PRODUCTS else np.diagonal(products)
    return origin + rule.shares(measured, weights).factors() @ updates, names


@by_rule
@clipped_or_not
def test_the_version_is_what_the_rule_makes_of_the_same_numbers_in_memory(job, rule, clip):
    _, path = run(replace(job, rule=rule, clip=clip))

    version = load(path.read_bytes())
    wanted, names = in_memory(rule, clip)
    start = 0
    for name in names:
        array = version[name]
        here = wanted[start : start + array.size].reshape(array.shape)
        eps = np.finfo(array.dtype).eps
        np.testing.assert_allclose(np.float64(array), here, rtol=2 * max(eps, 1e-9), atol=1e-9 + 10 * eps, err_msg=name)
        start += array.size


@by_rule
def test_buffers_and_integers_take_the_mean_whatever_the_rule(job, rule):
    _, path = run(replace(job, rule=rule, clip=2.5))
    _, of_mean = run(job)

    version, mean = load(path.read_bytes()), load(of_mean.read_bytes())
    for name in ("mean", "count", "bytes"):
        assert version[name].tobytes() == mean[name].tobytes(), name


@by_rule
@pytest.mark.parametrize("clip", [None, 2.5], ids=lambda clip: f"clip={clip}")
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    threads=st.integers(1, 5),
    in_flight=st.integers(0, 6),
    chunk=st.integers(3000, 2**17),
    together=st.integers(2**15, 2**21),
)
def test_the_bits_do_not_depend_on_threads_or_on_how_the_model_is_cut(
    job, rule, clip, threads, in_flight, chunk, together
):
    asked = replace(job, rule=rule, clip=clip)
    usual = run(asked)[0]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline, "THREADS", threads)
        patched.setattr(pipeline, "IN_FLIGHT", in_flight)
        patched.setattr(combining, "CHUNK_BYTES", chunk)
        patched.setattr(combining, "COHORT_BYTES", together)
        patched.setattr(combining, "LEAST_BYTES", 3000)

        assert run(asked)[0] == usual


@by_rule
def test_a_bound_that_nobody_exceeds_changes_no_bit(job, rule):
    assert run(replace(job, rule=rule, clip=1e9))[0] == run(replace(job, rule=rule))[0]


def test_krum_gives_the_params_of_the_client_that_it_keeps_bit_for_bit(job):
    krum = next(rule for rule in RULES if type(rule).__name__ == "Krum")
    findings = Findings(len(WEIGHTS))

    _, path = run(replace(job, rule=krum), findings=findings)

    version, kept = load(path.read_bytes()), near(findings.factors.index(1.0))
    assert all(version[name].tobytes() == kept[name].tobytes() for name in ("large", "matrix", "half"))


@by_rule
@pytest.mark.parametrize("clip", [None, 2.5], ids=lambda clip: f"clip={clip}")
def test_it_is_told_how_much_of_each_update_is_in_the_version_and_how_alike_they_are(job, rule, clip):
    findings = Findings(len(WEIGHTS))

    run(replace(job, rule=rule, clip=clip), findings=findings)

    origin, _ = flat(params(99))
    updates = np.array([flat(near(place))[0] for place in range(len(WEIGHTS))]) - origin
    came = in_memory(rule, clip)[0] - origin
    if isinstance(rule, ByElement):
        assert findings.factors == [None] * len(WEIGHTS)
    else:
        np.testing.assert_allclose(np.array(findings.factors) @ updates, came, rtol=1e-6, atol=1e-6)
    wanted = updates @ came / np.linalg.norm(updates, axis=1) / np.linalg.norm(came)
    np.testing.assert_allclose(np.float64(findings.likeness.cosines()), wanted, atol=2e-3)


@pytest.mark.parametrize("rule", [rule for rule in SHARING if type(rule).__name__ != "Mean"], ids=repr)
def test_a_rule_that_acts_on_differences_needs_the_version_that_the_round_began_from(job, rule):
    with pytest.raises(TornBlobError, match="0" * 64):
        run(replace(job, rule=rule, base=Known("0" * 64, 100, b"")))


@by_rule
def test_fewer_updates_than_the_rule_needs_are_told_and_nothing_is_written(job, rule):
    few = replace(job, rule=rule, updates=job.updates[: rule.least - 1])
    with pytest.raises(ValueError, match=r"too few|there are no values"):
        run(few)
