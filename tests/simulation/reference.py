"""The mean of an accepted list, as slow and as plain as can be."""

import struct
from collections.abc import Sequence


def mean_of(updates: Sequence[tuple[bytes, float]], layout: str) -> bytes:
    """Σ nᵢ·xᵢ / Σ nᵢ, number by number, summed in float64 in the order given and rounded once."""
    total = float(sum(weight for _, weight in updates))
    means = []
    for numbers in zip(*(struct.unpack(layout, content) for content, _ in updates), strict=True):
        acc = None
        for number, (_, weight) in zip(numbers, updates, strict=True):
            acc = number * weight if acc is None else acc + number * weight
        means.append((acc or 0.0) / total)
    return struct.pack(layout, *means)
