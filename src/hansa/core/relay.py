"""Which local model goes to whom next: daisy chaining's permutation (Kamp et al. 2023, arXiv:2110.03469, alg. 1)."""

from collections.abc import Sequence

import numpy as np


def deal(
    models: Sequence[int], clients: Sequence[int], others: Sequence[int], rng: np.random.Generator
) -> dict[int, int]:
    """For each client the model that it goes on from; both are known by ordinals, and come in canonical order.

    - No client gets two models, and no model goes to two clients.
    - With as many clients as models, or more, every model goes to a client; the clients that are left without one
      begin from the base version. With fewer, the models that are left wait for nobody: their way ends.
    - Every assignment is as likely as any other, a model's going to the client that trained it last included, as in
      the paper. Whose the models were plays no part: that of a client which is gone goes to another.
    - `others`, who are invited and not waited for, get what is left when each of `clients` has one.
    - The same sequences and the same generator give the same assignment: an attempt that is begun anew deals as before.

    Only `rng.random` is used, as in `sampling.select`.

    >>> deal([0, 1, 2], [0, 1, 2], [], np.random.default_rng(0))
    {2: 0, 1: 1, 0: 2}
    """
    receivers = [*_shuffled(clients, rng), *_shuffled(others, rng)]
    return dict(zip(receivers, _shuffled(models, rng), strict=False))


def _shuffled(ordinals: Sequence[int], rng: np.random.Generator) -> list[int]:
    return [ordinals[int(place)] for place in np.argsort(rng.random(len(ordinals)), kind="stable")]
