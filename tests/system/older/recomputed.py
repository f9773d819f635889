"""What a version must hold, computed from what the clients have sent: slowly, in order, one array after the other."""

import numpy as np

from support.older_client import OlderClient, Sent, State


def mean_of(updates: "list[tuple[State, int]]") -> State:
    """Σ nᵢ·wᵢ / Σ nᵢ, array by array in the order given, in float64; whole numbers are cut off."""
    total = sum(examples for _, examples in updates)
    mean = {}
    for name, first in updates[0][0].items():
        added = np.zeros(first.shape, np.float64)
        for state, examples in updates:
            added += np.float64(examples) * state[name].astype(np.float64)
        divided = added / total
        mean[name] = (np.trunc(divided) if first.dtype.kind == "i" else divided).astype(first.dtype)
    return mean


def counted(clients: list[OlderClient], number: int) -> "list[tuple[State, int]]":
    """What these clients sent for a round and was accepted, in their order."""
    found: list[tuple[State, int]] = []
    for client in clients:
        accepted: list[Sent] = [sent for sent in client.sent if sent.round == number and sent.status == 201]
        assert accepted, f"{client.username} has sent nothing for round {number}"
        found.append((accepted[0].state, accepted[0].sample_size))
    return found


def assert_same(seen: State, wanted: State) -> None:
    """Name by name, to the last bit."""
    assert seen.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(seen[name], array, err_msg=name)
