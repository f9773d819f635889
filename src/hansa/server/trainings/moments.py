"""SWAG moments as files: which they have to be for a model, and whether they can be the moments of any weights."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hansa.core.moments import FIRST, SECOND, MomentsError, moments_spec, num_elements, param_order, variance
from hansa.core.params import Kind, ParamSpec
from hansa.formats import chunks, safetensors
from hansa.formats.chunks import Segment
from hansa.formats.errors import BadModelFileError
from hansa.formats.layout import check_fits
from hansa.server.registry.models import Model

PIECE = 65_536
"""Elements checked at a time. Part of the result, the norm: never change it."""


def order_of(model: Model) -> tuple[str, ...]:
    """In which order the model's params stand in its moments: that of `parameters()`, sorted where none is known."""
    return param_order(model.param_spec, model.ties, model.param_order)


def spec_of(model: Model) -> ParamSpec:
    """The two vectors that moments of the model are."""
    return moments_spec(num_elements(model.param_spec, order_of(model)))


def check(path: Path, size: int, spec: ParamSpec) -> float:
    """How far the iterates were from their mean, typically: the root of the summed variances.

    Raises ModelFileError unless the file holds the two vectors of `spec`, finite, the second at least the square of
    the first.
    """
    with path.open("rb") as file:
        layout = safetensors.read_layout(file, size)
    check_fits(layout, spec)
    total = 0.0
    buffer = bytearray(2 * 8 * PIECE)
    with chunks.FileSource(path) as source:
        for chunk in _pieces(spec):
            arrays = chunks.read_chunk(source, layout, chunk, buffer)
            chunks.check_finite(arrays, chunk)
            first, second = (array.astype(np.float64, copy=False) for array in arrays)
            try:
                total += float(np.add.reduce(variance(first, second)))
            except MomentsError as error:
                raise BadModelFileError(
                    f"these are no moments: at index {chunk[0].start + error.index}, {error}. Send the mean of the "
                    "weights and the mean of their squares, of the same iterates, in this order."
                ) from error
    return float(np.sqrt(total))


def _pieces(spec: ParamSpec) -> Iterator[tuple[Segment, Segment]]:
    """The same stretch of both vectors, from their beginning to their end."""
    length = max(array.size for array in spec)
    for start in range(0, length, PIECE):
        stop = min(start + PIECE, length)
        yield (
            Segment(FIRST, "float64", Kind.PARAM, start, stop),
            Segment(SECOND, "float64", Kind.PARAM, start, stop),
        )
