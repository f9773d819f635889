"""The mean of an accepted list, as slow and as plain as can be."""

import struct
from collections.abc import Sequence


def mean_of(updates: Sequence[tuple[bytes, float]]) -> bytes:
    """Σ nᵢ·xᵢ / Σ nᵢ of three float32 each, summed in float64 in the order given and rounded once."""
    total = float(sum(weight for _, weight in updates))
    means = []
    for place in range(3):
        acc = None
        for content, weight in updates:
            product = struct.unpack_from("<3f", content)[place] * weight
            acc = product if acc is None else acc + product
        means.append((acc or 0.0) / total)
    return struct.pack("<3f", *means)
