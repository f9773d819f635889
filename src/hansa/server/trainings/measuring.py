"""What a rule that looks at updates as vectors has to know of them: one pass over the cohort, panel after panel.

An update is here the difference of a client's params to the version that the round began from: norms and distances of
whole params would be those of the model, beside which what a client has learned is small. Buffers and integers are no
part of it.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from threading import Event, local

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # it has none

from hansa.core.aggregators.gram import add_products, block_elements, nothing, panel_elements
from hansa.core.aggregators.shares import Needs
from hansa.core.params import ParamSpec
from hansa.formats.chunks import Chunk
from hansa.server.trainings import pipeline
from hansa.server.trainings.cohort import Base, Cohort, Room
from hansa.server.trainings.pieces import panels, parts, size_of

PART_BYTES = 2**27
"""What the updates' values of some blocks of a panel take, on each thread, and beside it a block in float64."""
MATRIX_BYTES = 2**28
"""What the matrices of panels take that are computed ahead. One is always computed, however large the cohort."""

Matrix = NDArray[np.float64]


class _Rooms(local):
    """One thread's working memory, kept from part to part."""

    def __init__(self, cohort: int) -> None:
        self.block = np.empty(cohort * block_elements(cohort))
        self.part = Room()


def measured(
    cohort: Cohort, base: Base, *, spec: ParamSpec, needs: Needs, pool: ThreadPoolExecutor, stopping: Event
) -> Matrix:
    """What the rule needs to know of the cohort's updates: squares of norms, or the Gram matrix. The same
    bits however many threads take part.

    Raises what reading raises, and StoppedError once `stopping` is set.
    """
    many = len(cohort.updates)
    keep_blas_on_one_thread()
    found, rooms = nothing(many, needs), _Rooms(many)
    measure, whole = partial(_measured, cohort, base, needs, rooms), panels(spec, panel_elements(many))
    for panel in pipeline.in_order(pool, stopping, measure, whole, _in_flight(found.nbytes)):
        found += panel
        del panel  # or it were there until the next one is
    return found


def _in_flight(nbytes: int) -> int:
    """How many results of that size are computed ahead: each thread has a second one, of the block it is at."""
    return max(0, min(pipeline.IN_FLIGHT, MATRIX_BYTES // nbytes - pipeline.THREADS - 2))


def _measured(cohort: Cohort, base: Base, needs: Needs, rooms: _Rooms, panel: Chunk) -> Matrix:
    """One panel, in parts of as many blocks as there is room for."""
    many, dtype = len(cohort.updates), cohort.dtype_of(np.dtype(panel[0].dtype))
    found, block = nothing(many, needs), block_elements(many)
    for part in parts(panel, block * max(1, PART_BYTES // (many * block * dtype.itemsize))):
        buffer = bytearray(sum(segment.nbytes for segment in part))
        origin = base.chunk(part, buffer).astype(np.float64)
        rows = rooms.part.array(many, size_of(part), dtype)
        for place, values in enumerate(cohort.chunk_of_each(part, buffer)):
            rows[place] = values
        add_products(found, rows, origin, rooms.block)
    return found


@cache
def keep_blas_on_one_thread() -> None:
    """For good, in this process: how its sums are cut depends on its threads, and here the panels have threads."""
    ThreadpoolController().limit(limits=1, user_api="blas")
