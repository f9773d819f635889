"""A push client of the older platform: told of its tasks, it sends torch's files in forms, and repeats them."""

import torch
from crash_supervision import Caller
from crash_world import World

from support.older_client import Net, loaded, saved
from support.receiver import Receiver, listening_in_a_thread
from support.serving import PASSWORD
from system.processes import eventually

NAME = "dora"


def pushing(world: World) -> None:
    """One round, told, trained, told to be evaluated, evaluated, told to be over."""
    with listening_in_a_thread() as receiver:
        account = {"username": NAME, "password": PASSWORD, "client": True, "message_endpoint": receiver.url}
        world.root.post("users/", account, done=(400,))
        client = Caller(world.server, basic=(NAME, PASSWORD))
        torch.manual_seed(1)
        created = world.root("POST", "models/", data={"name": "net"}, files={"model_file": ("net.pt", saved(Net()))})
        model = str(created.json()["model_id"])
        training = world.training([NAME], model=model, rounds=1, closing={"min_reports": 1})
        world.start(training)
        _train(client, _told(receiver, "UPDATE_ROUND_START"))
        _test(client, _told(receiver, "MODEL_TEST_ROUND"))
        world.ended(training)
        _told(receiver, "TRAINING_FINISHED")
        client.post(f"models/{model}/metrics/", {"metric_names": ["afterwards"], "metric_values": [0.5]})
    again = len(receiver.told) - len({told.id for told in receiver.told})
    assert again <= len(world.server.died_at), f"a death repeats one message at most; told were {receiver.kinds}"


def _told(receiver: Receiver, kind: str) -> dict[str, object]:
    eventually(lambda: kind in receiver.kinds, f"{kind} is told")
    body: dict[str, object] = next(told for told in receiver.told if told.kind == kind).message["body"]
    return body


def _train(client: Caller, told: dict[str, object]) -> None:
    """As that client's script does it: every parameter a little larger."""
    path = f"models/{told['global_model_uuid']}/"
    module = loaded(client("GET", path).content)
    for param in module.parameters():
        param.data.add_(1.0)
    data = {"round": str(told["round"]), "sample_size": "10", "metric_names": ["loss"], "metric_values": ["0.5"]}
    client("POST", path, data=data, files={"model_file": ("net.pt", saved(module))})


def _test(client: Caller, told: dict[str, object]) -> None:
    path = f"models/{told['global_model_uuid']}/"
    loaded(client("GET", path).content)
    client.post(f"{path}metrics/", {"metric_names": ["accuracy"], "metric_values": [0.75]})
