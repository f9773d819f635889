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

from hansa.core.aggregators.gram import block_elements, panel_elements, products
from hansa.core.aggregators.shares import Needs
from hansa.core.params import ParamSpec
from hansa.formats.chunks import Chunk
from hansa.server.trainings import pipeline
from hansa.server.trainings.cohort import Base, Cohort, Room
from hansa.server.trainings.pieces import panels, size_of

Matrix = NDArray[np.float64]


class _Rooms(local):
    """One thread's working memory, kept from panel to panel."""

    def __init__(self, cohort: int) -> None:
        self.block = np.empty(cohort * block_elements(cohort))
        self.panel = Room()


def measured(
    cohort: Cohort, base: Base, *, spec: ParamSpec, needs: Needs, pool: ThreadPoolExecutor, stopping: Event
) -> Matrix:
    """What the rule needs to know of the cohort's updates: squares of norms, or the Gram matrix. The same
    bits however many threads take part.

    Raises what reading raises, and StoppedError once `stopping` is set.
    """
    many = len(cohort.updates)
    keep_blas_on_one_thread()
    found, rooms = np.zeros((many, many) if needs is Needs.PRODUCTS else many), _Rooms(many)
    measure = partial(_measured, cohort, base, needs, rooms)
    for panel in pipeline.in_order(pool, stopping, measure, panels(spec, panel_elements(many))):
        found += panel
    return found


def _measured(cohort: Cohort, base: Base, needs: Needs, rooms: _Rooms, panel: Chunk) -> Matrix:
    size, many = size_of(panel), len(cohort.updates)
    buffer = bytearray(sum(segment.nbytes for segment in panel))
    origin = base.chunk(panel, buffer).astype(np.float64)
    rows = rooms.panel.array(many, size, cohort.dtype_of(np.dtype(panel[0].dtype)))
    for place, values in enumerate(cohort.chunk_of_each(panel, buffer)):
        rows[place] = values
    return products(rows, origin, needs, rooms.block)


@cache
def keep_blas_on_one_thread() -> None:
    """For good, in this process: how its sums are cut depends on its threads, and here the panels have threads."""
    ThreadpoolController().limit(limits=1, user_api="blas")
