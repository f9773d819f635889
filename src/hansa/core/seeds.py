"""Randomness that can be repeated: every seed is a function of the training's own.

SHA-256 of the purpose and the numbers, so that no two uses share a stream. These values are stored in no row: an
old training is repeated by computing them again, and so they never change.
"""

import hashlib

import numpy as np


def client_seed(training_seed: int, round_number: int, ordinal: int) -> int:
    """With what one client seeds its generators in one round; 0 <= seed < 2^63.

    A new attempt at a round has the same seed: a client that trains again from the same version gets the same update.

    >>> client_seed(1, 1, 0)
    8498520293427021278
    """
    return int.from_bytes(_digest("client", training_seed, round_number, ordinal)[:8], "big") >> 1


def selection_rng(training_seed: int, round_number: int, attempt: int) -> np.random.Generator:
    """The generator that selects the cohort of one attempt at a round."""
    return _rng("selection", training_seed, round_number, attempt)


def relay_rng(training_seed: int, round_number: int) -> np.random.Generator:
    """The generator that deals local models to the clients of a round, the same in every attempt at it."""
    return _rng("relay", training_seed, round_number)


def _rng(purpose: str, *numbers: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(int.from_bytes(_digest(purpose, *numbers), "big")))


def _digest(purpose: str, *numbers: int) -> bytes:
    return hashlib.sha256(" ".join(["hansa", purpose, *map(str, numbers)]).encode()).digest()
