"""What the comparison of `benchmarks/http.py` says of stacks that were not measured, and of those that were."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def comparison() -> ModuleType:
    sys.path.append(str(BENCHMARKS))  # last, so that nothing there hides anything
    try:
        return importlib.import_module("comparison")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture
def options(comparison):
    return comparison.parse("", ["--seconds", "2"])


def measured(comparison, stack, rate):
    load = comparison.wrk.Load(int(rate * 2), 2_000_000, 40_000, 90_000, 0, 0, 0, 0, 0)
    figures = comparison.figures([comparison.Round(load, rss_mib=100.0, cpu_seconds=2.0)])
    return comparison.Row(stack, "sqlite", "measured", figures=figures)


def test_a_stack_that_did_not_run_has_a_reason_and_no_number(comparison, options):
    row = comparison.Row("django-bolt", "sqlite", "not run", "there is no such package")
    line = comparison.described(options, [row]).splitlines()[-1]
    assert line.split() == ["sqlite", "django-bolt", "not", "run", "there", "is", "no", "such", "package"]


def test_ratios_are_to_the_better_of_the_two_of_drf(comparison):
    rows = [measured(comparison, "hansa", 1000), measured(comparison, "drf-wsgi", 400)]
    rows.append(measured(comparison, "drf-asgi", 100))
    assert [row.figures.ratio for row in comparison.with_ratios(rows)] == [2.5, 1.0, 0.25]


def test_without_drf_in_the_same_run_there_is_no_ratio(comparison, options):
    rows = comparison.with_ratios([measured(comparison, "hansa", 1000)])
    assert rows[0].figures.ratio is None
    assert comparison.described(options, rows).endswith("not run")


def test_the_median_round_counts(comparison):
    loads = [comparison.wrk.Load(count, 1_000_000, 1, 1, 0, 0, 0, 0, 0) for count in (10, 900, 500)]
    found = comparison.figures([comparison.Round(load, rss_mib=1.0, cpu_seconds=1.0) for load in loads])
    assert found.requests_per_second == 500


def test_every_kind_of_error_is_named(comparison):
    load = comparison.wrk.Load(10, 1_000_000, 1, 1, status=3, connect=0, read=0, write=0, timeout=1)
    assert load.errors == "3 status errors, 1 timeout errors"


def test_the_name_of_the_program_hides_nothing_of_the_standard_library():
    program = "import http, http.client; print(http.HTTPStatus.OK.value, http.client.__name__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["200", "http.client"]
