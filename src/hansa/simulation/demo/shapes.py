"""Data that is made here: small drawings of rings, squares, crosses and triangles, each somewhere, of some size."""

import numpy as np
import numpy.typing as npt

from hansa.core.params import Array

Floats = npt.NDArray[np.float64]

NAMES = ("ring", "square", "cross", "triangle")
SIDE = 12
"""Pixels."""
NOISE = 0.22
STROKE = 0.75
"""Half the width of a line, in pixels."""


def drawn(kinds: Array, rng: np.random.Generator) -> Array:
    """A drawing of each of these kinds: float32 (n, 1, SIDE, SIDE) within [0, 1], light on dark, with some noise."""
    images = np.stack([_drawing(int(kind), rng) for kind in kinds])
    noisy = images + rng.normal(0, NOISE, images.shape)
    return noisy.clip(0, 1).astype(np.float32)[:, np.newaxis]


def dealt(count: int, shares: Floats, rng: np.random.Generator) -> tuple[Array, Array]:
    """`count` drawings whose kinds come by these shares, and their kinds."""
    kinds = rng.choice(len(NAMES), size=count, p=shares)
    return drawn(kinds, rng), kinds


def _drawing(kind: int, rng: np.random.Generator) -> Floats:
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float64)
    radius = rng.uniform(2.6, 4.6)
    x -= SIDE / 2 - 0.5 + rng.uniform(-1.8, 1.8)
    y -= SIDE / 2 - 0.5 + rng.uniform(-1.8, 1.8)
    distance = (_ring, _square, _cross, _triangle)[kind](x, y, radius)
    return np.asarray((1.5 * STROKE - distance).clip(0, 1), np.float64)


def _ring(x: Floats, y: Floats, radius: float) -> Floats:
    return abs(np.hypot(x, y) - radius)


def _square(x: Floats, y: Floats, radius: float) -> Floats:
    return abs(np.maximum(abs(x), abs(y)) - 0.85 * radius)


def _cross(x: Floats, y: Floats, radius: float) -> Floats:
    arms = np.minimum(abs(x - y), abs(x + y)) / np.sqrt(2)
    inside: Floats = np.maximum(arms, np.maximum(abs(x), abs(y)) - radius)
    return inside


def _triangle(x: Floats, y: Floats, radius: float) -> Floats:
    sides = [(0.0, 1.0), (np.sqrt(3) / 2, -0.5), (-np.sqrt(3) / 2, -0.5)]
    height: Floats = np.maximum.reduce([x * across + y * down for across, down in sides])
    edge: Floats = abs(height - 0.55 * radius)
    return edge
