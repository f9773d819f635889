"""Scikit-learn's bundled digits: 1,797 grey images of 8 x 8 pixels, dealt unevenly to clients that never share them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CLASSES = 10


@dataclass(frozen=True)
class Digits:
    """Images, float32 of shape (n, 1, 8, 8) from 0 to 1, and their labels, int64 of shape (n,)."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64]) -> "Digits":
        return Digits(self.images[index], self.labels[index])


def load_all() -> Digits:
    """Every image. Scikit-learn brings them along: nothing is downloaded."""
    from sklearn.datasets import load_digits  # takes a second, and only the demo itself needs it: not its clients

    bunch = load_digits()
    images = (bunch.images / 16.0).astype(np.float32)[:, np.newaxis]
    return Digits(images, bunch.target.astype(np.int64))


def hold_out(digits: Digits, *, share: float, rng: np.random.Generator) -> tuple[Digits, Digits]:
    """Two parts, the second with `share` of every class (rounded): a stratified split."""
    held = np.zeros(len(digits), dtype=bool)
    for label in range(CLASSES):
        index = rng.permutation(np.flatnonzero(digits.labels == label))
        held[index[: round(share * len(index))]] = True
    return digits.take(np.flatnonzero(~held)), digits.take(np.flatnonzero(held))


def deal(
    digits: Digits, *, clients: int, alpha: float, rng: np.random.Generator, at_least: int = 40
) -> tuple[Digits, ...]:
    """Every image to exactly one client, with label skew: the smaller `alpha`, the more uneven.

    For each class the shares of the clients are drawn from Dirichlet(alpha) (Yurochkin et al. 2019,
    arXiv:1905.12022, section 4). Drawn again as a whole until every client holds at least so many images, as a
    client with a handful of them shows nothing.
    """
    while True:
        owner = np.empty(len(digits), dtype=np.int64)
        for label in range(CLASSES):
            index = rng.permutation(np.flatnonzero(digits.labels == label))
            shares = rng.dirichlet(np.full(clients, alpha))
            cuts = np.round(np.cumsum(shares)[:-1] * len(index)).astype(np.int64)
            for client, part in enumerate(np.split(index, cuts)):
                owner[part] = client
        if np.bincount(owner, minlength=clients).min() >= at_least:
            return tuple(digits.take(np.flatnonzero(owner == client)) for client in range(clients))


def save(digits: Digits, path: Path) -> None:
    np.savez(path, images=digits.images, labels=digits.labels)


def load(path: Path) -> Digits:
    with np.load(path) as arrays:
        return Digits(arrays["images"], arrays["labels"])
