"""What counts as a difference between DRF's suite on plain DRF and the same over our classes."""

from dataclasses import replace

import pytest

from drf.outcomes import LEAST, Run, complaints

COUNTS = {"views": 9, "viewsets": 3, "requests": 80, "awaited": 40, "handlers": 30}
NAMES = [f"tests/test_a.py::test_{number}" for number in range(LEAST)]


@pytest.fixture
def plain() -> Run:
    return Run("plain", 1.0, dict.fromkeys(NAMES, "passed"), {}, dict.fromkeys(COUNTS, 0))


@pytest.fixture
def awaited(plain: Run) -> Run:
    return replace(plain, mode="async", counts=COUNTS)


def test_a_mode_that_passes_all_that_plain_drf_passes_has_nothing_to_explain(plain: Run, awaited: Run) -> None:
    assert complaints(plain, plain) == []
    assert complaints(awaited, plain) == []


def test_a_test_that_failed_is_named_with_its_reason(plain: Run, awaited: Run) -> None:
    run = replace(awaited, outcomes={**awaited.outcomes, NAMES[3]: "failed"}, reasons={NAMES[3]: "assert 200 == 403"})
    assert complaints(run, plain) == [f"{NAMES[3]}: assert 200 == 403"]


@pytest.mark.parametrize(("outcome", "said"), [("skipped", "was skipped"), (None, "was not run")])
def test_a_test_that_did_not_take_place_is_missing_too(
    outcome: str | None, said: str, plain: Run, awaited: Run
) -> None:
    others = dict.fromkeys(NAMES[1:], "passed")
    run = replace(awaited, outcomes=others if outcome is None else {**others, NAMES[0]: outcome})
    assert complaints(run, plain) == [f"{NAMES[0]}: {said}"]


def test_a_test_that_plain_drf_does_not_pass_either_is_no_difference(plain: Run, awaited: Run) -> None:
    name = "tests/test_postgres.py::test_search"
    with_skipped = replace(plain, outcomes={**plain.outcomes, name: "skipped"})
    assert complaints(replace(awaited, outcomes={**awaited.outcomes, name: "skipped"}), with_skipped) == []


def test_a_failure_on_plain_drf_is_a_fault_of_the_environment(plain: Run) -> None:
    name = "tests/test_b.py::test_b"
    run = replace(plain, outcomes={**plain.outcomes, name: "failed"}, reasons={name: "No module named 'yaml'"})
    assert complaints(run, run) == [f"{name}: No module named 'yaml'"]


def test_a_baseline_that_lost_tests_is_no_baseline(plain: Run) -> None:
    run = replace(plain, outcomes=dict.fromkeys(NAMES[1:], "passed"))
    assert complaints(run, run) == [
        "1,591 tests passed on plain DRF, 1,592 or more should: see tests/drf/requirements.txt"
    ]


def test_a_part_of_the_suite_needs_no_least_number(plain: Run) -> None:
    part = replace(plain, outcomes=dict.fromkeys(NAMES[:3], "passed"))
    assert complaints(part, part, least=0) == []


@pytest.mark.parametrize("name", COUNTS)
def test_an_asynchronous_mode_that_awaited_nothing_proves_nothing(name: str, plain: Run, awaited: Run) -> None:
    run = replace(awaited, counts={**COUNTS, name: 0})
    assert complaints(run, plain) == [f"no {name} were counted, so the mode did not do what it says"]


def test_a_synchronous_mode_need_not_await(plain: Run, awaited: Run) -> None:
    run = replace(awaited, mode="sync/after", counts={**COUNTS, "awaited": 0, "handlers": 0})
    assert complaints(run, plain) == []
