"""A training in which what a client sends is refused, and noted; what it sends then is right."""

import hashlib

import numpy as np
from crash_world import CLIENTS, World, encoded, first_params

ONE_ROUND = {"rounds": 1, "evaluation": {"every": 0}}
REFUSED, *OTHERS = CLIENTS
REFUSAL = 422


def refusing(world: World) -> None:
    """Diverged params are refused, however often they are sent; the event log says so, ten times at most."""
    training = world.training(**ONE_ROUND)
    world.start(training)
    client = world.caller(REFUSED)
    task = client.post("tasks/next/?wait=20", {"instance": "refused"})
    diverged = {
        name: np.full_like(array, np.nan) if array.dtype.kind == "f" else array
        for name, array in first_params().items()
    }
    _send(world, task["id"], encoded(diverged), refused=REFUSAL)
    said = world.root.get(f"trainings/{training}/events/?kind=task.refused")["events"]
    assert [event["data"]["code"] for event in said][:1] == ["not_finite"], said
    with world.at_work(OTHERS):
        update = encoded({name: array + array.dtype.type(1) for name, array in first_params().items()})
        digest = _send(world, task["id"], update)
        client.post(f"tasks/{task['id']}/report/", {"num_examples": 100, "digest": digest})
        world.ended(training)


def _send(world: World, task: str, update: bytes, refused: int = 0) -> str:
    digest = hashlib.sha256(update).hexdigest()
    world.caller(REFUSED)("PUT", f"tasks/{task}/update/{digest}/", content=update, refused=refused)
    return digest
