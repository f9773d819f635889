from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hansa.core.norms import BLOCK, DifferenceNorm

SIZE = 2 * BLOCK + 123


def norm_of_pieces(client: np.ndarray, base: np.ndarray, bounds: list[int]) -> float:
    norm = DifferenceNorm()
    for start, stop in pairwise(bounds):
        norm.add(client[start:stop], base[start:stop])
    return norm.value()


@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, SIZE), max_size=6))
def test_the_norm_has_the_same_bits_however_the_model_was_cut(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    client = np.ldexp(rng.random(SIZE) - 0.5, rng.integers(-20, 21, SIZE)).astype(np.float32)
    base = np.ldexp(rng.random(SIZE) - 0.5, rng.integers(-20, 21, SIZE)).astype(np.float32)
    whole = norm_of_pieces(client, base, [0, SIZE])
    assert norm_of_pieces(client, base, [0, *sorted(cuts), SIZE]).hex() == whole.hex()
