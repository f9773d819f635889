"""Scores of a client's examples as counts on a fixed grid: bounded in size, and added up in any order to the same bits.

A cell holds the scores in (lower edge, upper edge]; a score stands for the upper edge of its cell. Grids are fixed, not
fitted to the data as a t-digest or a randomised KLL sketch is, for three reasons: the sum of two sketches is exactly
the sketch of both, no matter how they are grouped; nothing is random; and "rounded up to the grid" is a conformal score
like any other, so that thresholds keep their coverage with no correction for the sketch (see `conformal`). What a
grid costs is told with each quantile: `excess`, the error in rank, is below the count of one cell.

Edges are binary numbers with few digits, the same on every machine. Cells get narrower towards both ends of UNIT, where
scores of good and of overconfident models gather; on POSITIVE the width is in proportion, as in DDSketch (Masson et al.
2019, arXiv:1908.10693), because residuals come in every unit of measurement.

    UNIT        [0, 1]     cells 1/256 wide in the middle, towards 0 and 1 1.6 % of the distance or 2^-16; 1,923 cells
    POSITIVE    [0, ∞)     upper edge at most 1.6 % above the score from 2^-32 to 2^32; 4,099 cells

What a sketch reveals: for some of these cells how many examples have a score there; no inputs, no labels, at most a
few KB. A cell with a count of 1 tells one example's score, to 1.6 %.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from hansa.uncertainty.probabilities import Floats, floats
from hansa.uncertainty.reports import ReportError, check_whole

SUBDIVISIONS = 64
"""Cells for a factor of 2."""


class Grid(StrEnum):
    """Which edges the cells have. The number says the subdivisions: another grid would have another name."""

    UNIT = "unit-64"
    POSITIVE = "positive-64"


@dataclass(frozen=True, slots=True)
class Sketch:
    """How many scores lie in which cells: `cells` ascending, `counts` at least 1.

    Raises ReportError when impossible.
    """

    grid: Grid
    cells: tuple[int, ...]
    counts: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.grid, Grid):
            raise ReportError("grid", f"is {self.grid!r:.40}; the grids are {', '.join(Grid)}")
        if len(self.cells) != len(self.counts):
            raise ReportError(
                "counts", f"has {len(self.counts)} numbers for {len(self.cells)} cells; one each is wanted"
            )
        last, before = num_cells(self.grid) - 1, -1
        for place, (cell, count) in enumerate(zip(self.cells, self.counts, strict=True)):
            check_whole(f"cells[{place}]", cell, most=last)
            if cell <= before:
                raise ReportError(f"cells[{place}]", f"is {cell} after {before}; cells ascend, each named once")
            if check_whole(f"counts[{place}]", count) == 0:
                raise ReportError(f"counts[{place}]", "is 0; cells without scores are left out")
            before = cell
        check_whole("the sum of counts", self.count)

    @property
    def count(self) -> int:
        """The number of scores."""
        return sum(self.counts)

    @property
    def rank_error(self) -> int:
        """By how many ranks any quantile may lie above the exact one: the largest count, less 1."""
        return max(self.counts, default=1) - 1


@dataclass(frozen=True, slots=True)
class Quantile:
    """An upper bound of the score of some rank: `excess` scores of a higher rank lie at or below it too."""

    value: float
    excess: int


@cache
def edges(grid: Grid) -> Floats:
    """The upper edge of each cell, ascending, not to be changed; the last of POSITIVE is infinite.

    >>> edges(Grid.UNIT)[:2], edges(Grid.POSITIVE)[-2:]
    (array([0.00000000e+00, 1.52587891e-05]), array([4.2949673e+09,           inf]))
    """
    if grid is Grid.UNIT:
        lower = _octaves(-16, -1)
        ascending = np.concatenate(([0.0], lower, 1.0 - lower[-2::-1], [1.0]))
    else:
        ascending = np.concatenate(([0.0], _octaves(-32, 32), [np.inf]))
    ascending.setflags(write=False)
    return ascending


def num_cells(grid: Grid) -> int:
    """How many cells a grid has."""
    return len(edges(grid))


def rounded_up(scores: Floats, grid: Grid) -> Floats:
    """Each score as its sketch has it: the upper edge of its cell."""
    return edges(grid)[np.searchsorted(edges(grid), scores, side="left")]


def sketch_of(scores: ArrayLike, grid: Grid) -> Sketch:
    """The sketch of one client's scores, shape (n,). Raises ValueError for scores outside of the grid, or not finite.

    >>> sketch_of([0.5, 0.5, 1.0], Grid.UNIT)
    Sketch(grid=<Grid.UNIT: 'unit-64'>, cells=(961, 1922), counts=(2, 1))
    """
    values = floats("scores", scores, 1)
    most = 1.0 if grid is Grid.UNIT else np.inf
    if values.size and (values.min() < 0 or values.max() > most):
        seen = values.min() if values.min() < 0 else values.max()
        raise ValueError(f"a score is {seen:g}; the grid {grid} is for scores from 0 to {most:g}")
    cells, counts = np.unique(np.searchsorted(edges(grid), values, side="left"), return_counts=True)
    return Sketch(grid, tuple(cells.tolist()), tuple(counts.tolist()))


def merged(parts: Iterable[Sketch]) -> Sketch:
    """The sketch of the scores of all, whatever the order. Raises ValueError for none of them, and for two grids."""
    listed = list(parts)
    grids = sorted({part.grid for part in listed})
    if len(grids) != 1:
        raise ValueError(f"the sketches are on the grids {grids}; sketches of one grid, at least one, can be merged")
    total: Counter[int] = Counter()
    for part in listed:
        total.update(dict(zip(part.cells, part.counts, strict=True)))
    cells = tuple(sorted(total))
    return Sketch(grids[0], cells, tuple(total[cell] for cell in cells))


def quantile(sketch: Sketch, rank: int) -> Quantile:
    """An upper bound of the score of a rank, 1 for the smallest: the upper edge of its cell.

    The exact score lies above the edge before. Raises ValueError unless 1 <= rank <= count.

    >>> quantile(sketch_of([0.25, 0.5, 0.5], Grid.UNIT), rank=2)
    Quantile(value=0.5, excess=1)
    """
    if not 1 <= rank <= sketch.count:
        raise ValueError(f"the rank is {rank}; the sketch holds the ranks 1 to {sketch.count}")
    seen = np.cumsum(sketch.counts, dtype=np.int64)
    place = int(np.searchsorted(seen, rank, side="left"))
    return Quantile(float(edges(sketch.grid)[sketch.cells[place]]), int(seen[place]) - rank)


def _octaves(first: int, last: int) -> Floats:
    """2^e · (1 + j / 64) for first <= e < last and 0 <= j < 64, and 2^last: exact in float64."""
    fractions = 1.0 + np.arange(SUBDIVISIONS) / SUBDIVISIONS
    powers = np.ldexp(1.0, np.arange(first, last))
    return np.append(np.outer(powers, fractions).reshape(-1), np.ldexp(1.0, last))
