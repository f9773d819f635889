"""The promise on real images: `benchmarks/conformal.py` over 100 splits of the digits, under label-skewed clients."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    sys.path.append(str(BENCHMARKS))  # last, so that nothing there hides anything
    try:
        return importlib.import_module("conformal")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.mark.slow
def test_sets_of_digits_cover_what_was_asked_and_the_temperature_helps(benchmark: ModuleType) -> None:
    report = benchmark.measured(100, 0.1, 1)
    print(benchmark.told(report))
    for rule in ("least ambiguous", "adaptive, with dice"):
        assert report.rules[rule].coverage == pytest.approx(0.90, abs=0.01)
        assert report.rules[rule].empty > 0, "some of the digits suit no class well enough, and are told"
    assert report.rules["adaptive"].coverage >= report.rules["adaptive"].accuracy > 0.9
    assert report.rules["adaptive"].empty == 0
    assert report.calibrated.error_after < report.calibrated.error_before
