"""The two grids, what a sketch of them holds, and sketches that no scores have."""

import msgspec
import numpy as np
import pytest

from hansa.uncertainty.reports import ReportError
from hansa.uncertainty.sketches import Grid, Sketch, edges, merged, num_cells, quantile, rounded_up, sketch_of

SEED = 20265


def test_edges_ascend_and_are_the_same_numbers_on_every_machine() -> None:
    for grid, cells in ((Grid.UNIT, 1923), (Grid.POSITIVE, 4099)):
        found = edges(grid)
        assert num_cells(grid) == len(found) == cells
        assert (np.diff(found) > 0).all()
        finite = found[np.isfinite(found)]
        assert (np.ldexp(finite, 38) % 1 == 0).all(), "an edge is a multiple of 2^-38, which no rounding makes"
    assert (edges(Grid.UNIT)[0], edges(Grid.UNIT)[-1]) == (0.0, 1.0)
    assert (edges(Grid.POSITIVE)[0], edges(Grid.POSITIVE)[-1]) == (0.0, np.inf)


def test_cells_of_the_unit_grid_are_narrow_and_narrower_towards_both_ends() -> None:
    found = edges(Grid.UNIT)
    assert np.diff(found).max() == 1 / 128 / 2
    assert (found == 1 - found[::-1]).all()
    small = rounded_up(np.array([1e-3, 1e-4]), Grid.UNIT)
    assert (small / [1e-3, 1e-4] - 1 < 1 / 64).all()


def test_residuals_in_any_unit_are_rounded_up_by_less_than_2_percent() -> None:
    residuals = np.geomspace(1e-9, 4e9, 5000)
    ratio = rounded_up(residuals, Grid.POSITIVE) / residuals
    assert 1 <= ratio.min() <= ratio.max() < 1 + 1 / 64


def test_scores_on_an_edge_stand_for_themselves() -> None:
    for grid in Grid:
        assert (rounded_up(edges(grid), grid) == edges(grid)).all()


def test_residuals_larger_than_the_grid_have_an_infinite_quantile() -> None:
    sketch = sketch_of([1.0, 1e12], Grid.POSITIVE)
    assert quantile(sketch, 1).value == 1.0
    assert quantile(sketch, 2).value == np.inf


def test_a_report_is_a_few_kilobytes_however_many_examples() -> None:
    rng = np.random.default_rng(SEED)
    for grid, scores in ((Grid.UNIT, rng.beta(0.3, 2, 200_000)), (Grid.POSITIVE, np.abs(rng.normal(0, 7, 200_000)))):
        sketch = sketch_of(scores, grid)
        assert sketch.count == 200_000
        assert len(msgspec.json.encode(sketch)) < 20_000


def test_sketches_travel_as_json_and_are_checked_when_they_arrive() -> None:
    sketch = sketch_of([0.1, 0.1, 0.7], Grid.UNIT)
    text = msgspec.json.encode(sketch)
    assert msgspec.json.decode(text, type=Sketch) == sketch
    with pytest.raises(msgspec.ValidationError, match="cells without scores are left out"):
        msgspec.json.decode(b'{"grid": "unit-64", "cells": [1], "counts": [0]}', type=Sketch)


def test_a_sketch_of_nothing_is_one() -> None:
    nothing = sketch_of([], Grid.UNIT)
    some = sketch_of([0.5], Grid.UNIT)
    assert (nothing.count, nothing.rank_error) == (0, 0)
    assert merged([nothing, some]) == some


@pytest.mark.parametrize("sketches", [[], [sketch_of([0.5], Grid.UNIT), sketch_of([0.5], Grid.POSITIVE)]])
def test_only_sketches_of_one_grid_are_merged(sketches: list[Sketch]) -> None:
    with pytest.raises(ValueError, match="sketches of one grid, at least one"):
        merged(sketches)


@pytest.mark.parametrize("rank", [0, 3])
def test_only_ranks_that_there_are_have_a_quantile(rank: int) -> None:
    with pytest.raises(ValueError, match=f"the rank is {rank}; the sketch holds the ranks 1 to 2"):
        quantile(sketch_of([0.1, 0.2], Grid.UNIT), rank)


@pytest.mark.parametrize(
    ("cells", "counts", "field"),
    [
        ((1, 2), (1,), "counts"),
        ((2, 1), (1, 1), r"cells\[1\]"),
        ((1, 1), (1, 1), r"cells\[1\]"),
        ((1923,), (1,), r"cells\[0\]"),
        ((-1,), (1,), r"cells\[0\]"),
        ((1.0,), (1,), r"cells\[0\]"),
        ((1,), (-1,), r"counts\[0\]"),
        ((1,), (0,), r"counts\[0\]"),
        ((1,), (float("nan"),), r"counts\[0\]"),
        ((1, 2), (2**56, 2**56), "the sum of counts"),
    ],
)
def test_sketches_that_no_scores_have_are_refused_by_field(
    cells: tuple[int, ...], counts: tuple[int, ...], field: str
) -> None:
    with pytest.raises(ReportError, match=rf"^{field}: ") as caught:
        Sketch(Grid.UNIT, cells, counts)
    assert caught.value.field == field.replace("\\", "")


def test_another_grid_is_refused() -> None:
    with pytest.raises(ReportError, match=r"^grid: is 'unit-32'; the grids are unit-64, positive-64"):
        Sketch("unit-32", (), ())  # type: ignore[arg-type]  # what a client could send


@pytest.mark.parametrize(
    ("scores", "grid", "reason"),
    [
        ([-0.1], Grid.UNIT, "a score is -0.1; the grid unit-64 is for scores from 0 to 1"),
        ([1.5], Grid.UNIT, "a score is 1.5"),
        ([-1.0], Grid.POSITIVE, "from 0 to inf"),
        ([np.nan], Grid.POSITIVE, "NaN or infinity"),
        ([[0.5]], Grid.UNIT, "1 axes"),
    ],
)
def test_scores_outside_of_the_grid_are_refused(scores: list[float], grid: Grid, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        sketch_of(scores, grid)
