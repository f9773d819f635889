"""Inner products of the updates of a cohort, the same bits however the model is cut, and whoever computes them.

The updates, one vector each, are cut into blocks, and eight blocks are a panel: numbers that the cohort's size alone
decides. The products of each block are BLAS's; the blocks of a panel are added in order, and then the panels. So who
computes them sees to two things: that panels begin where they should, and that BLAS runs on one thread; then the bits
are those of one machine.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hansa.core.aggregators.shares import Needs

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Block = NDArray[np.floating]

BLOCK: Final = 65_536
"""Elements of each update whose products are added together before they join the sum. Part of the result."""
COHORT: Final = 128
"""So many clients, and all smaller cohorts, have blocks of that size, 64 MiB; those of larger ones are shorter."""
PANEL: Final = 8
"""Blocks whose products are added before they join the sum of all: of a large cohort a matrix is megabytes."""
MOST: Final = 4096
"""So many clients have a matrix of 128 MiB, and a rule that is told by it takes the memory of some eight of them."""


def block_elements(cohort: int) -> int:
    """How many elements of each update make a block.

    >>> [block_elements(cohort) for cohort in (2, 128, 129, 1000)]
    [65536, 65536, 32768, 8192]
    """
    return max(64, BLOCK >> ((cohort - 1) // COHORT).bit_length())


def panel_elements(cohort: int) -> int:
    """How many elements of each update make a panel."""
    return PANEL * block_elements(cohort)


def nothing(cohort: int, needs: Needs) -> Matrix:
    """Of no elements: zeros, (cohort, cohort) for `Needs.PRODUCTS`, (cohort,) for `Needs.NORMS`."""
    return np.zeros((cohort, cohort) if needs is Needs.PRODUCTS else cohort)


def add_products(found: Matrix, panel: Block, origin: Vector, room: Vector) -> None:
    """Add to `found` ⟨uᵢ, uⱼ⟩ over a panel or whole blocks of it, (cohort, n), of uᵢ = xᵢ - `origin`; where it is a
    vector, ⟨uᵢ, uᵢ⟩ alone. `room` has as many elements as a block and is overwritten.

    >>> found, panel, room = np.zeros((2, 2)), np.array([[2.0, 4.0], [3.0, 5.0]]), np.empty(4)
    >>> add_products(found, panel, np.array([1.0, 1.0]), room)
    >>> found
    array([[10., 14.],
           [14., 20.]])
    """
    cohort, size = panel.shape
    step = block_elements(cohort)
    for start in range(0, size, step):
        part = panel[:, start : start + step]
        updates = room[: part.size].reshape(part.shape)
        np.subtract(part, origin[start : start + step], out=updates)
        with np.errstate(over="ignore", invalid="ignore"):
            if found.ndim == 2:
                found += updates @ updates.T
            else:
                found += np.einsum("ij,ij->i", updates, updates)


def gram(updates: Matrix) -> Matrix:
    """⟨uᵢ, uⱼ⟩ of updates that are all in memory: (cohort, n) → (cohort, cohort)."""
    cohort, size = updates.shape
    step, found = panel_elements(cohort), np.zeros((cohort, cohort))
    room = np.empty(cohort * block_elements(cohort))
    for start in range(0, size, step):
        panel, of_panel = updates[:, start : start + step], nothing(cohort, Needs.PRODUCTS)
        add_products(of_panel, panel, np.zeros(panel.shape[1]), room)
        found += of_panel
    return found


def squared_distances(gram: Matrix) -> Matrix:
    """‖uᵢ - uⱼ‖² = ⟨uᵢ, uᵢ⟩ + ⟨uⱼ, uⱼ⟩ - 2⟨uᵢ, uⱼ⟩, never less than 0 for a rounding. What float64 does not hold is ∞.

    >>> squared_distances(np.array([[9.0, 3.0], [3.0, 1.0]]))
    array([[0., 4.],
           [4., 0.]])
    """
    squares = np.diagonal(gram)
    with np.errstate(invalid="ignore"):
        found = np.maximum(squares[:, None] + squares[None, :] - 2 * gram, 0.0)
    return np.asarray(np.where(np.isnan(found), np.inf, found))
