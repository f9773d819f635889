"""A DLR platform's database with one of everything, the odd and the broken included."""

from dataclasses import dataclass

import numpy as np
import torch

from support.older import MakesAFolder, Small, pickled, scripted

PASSWORD = "old-Password-of-1241"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
MOMENTS = (np.full(9, 0.5, np.float32), np.full(9, 1.25, np.float32))
"""Of the nine learned numbers of `Small`: six weights and three biases."""


@dataclass
class Everything:
    """The ids of what `fill` puts into the database."""

    url: str
    users: dict[str, str]
    models: dict[str, str]
    trainings: dict[str, str]


def fill(dlr, trap):
    """One of everything, the odd and the broken included."""
    users = {
        "anna": dlr.user("anna", password=PASSWORD, token=TOKEN, actor=True, is_staff=True, is_superuser=True),
        "Jörg": dlr.user("Jörg", client=True, first_name="Jörg 🐙", message_endpoint="http://client-01:8101/"),
        "jörg": dlr.user("jörg", client=True, is_active=False),
        "mallory": dlr.user("mallory", is_superuser=True, token=""),
        "eve": dlr.user("eve"),
    }
    anna, client, other = users["anna"], users["Jörg"], users["jörg"]
    dlr.group("Kliniken", anna, client)
    dlr.group("empty")
    first, second = (pickled(torch.from_numpy(vector)) for vector in MOMENTS)
    bomb = {"fc.weight": torch.zeros(3, 2), "trap": MakesAFolder(trap)}
    models = {
        "script": dlr.model(
            anna,
            scripted(Small(1.0)),
            "Ziffern ✎",
            behind=2,
            description="zwei\nZeilen",
            input_shape=[None, 2],
            preprocessing=scripted(torch.nn.Flatten()),
        ),
        "module": dlr.model(anna, pickled(Small(2.0)), "module", behind=3, input_shape=[[1, 2], [3, 4]]),
        "free": dlr.model(anna, pickled(Small(3.0)), "free", behind=4, preprocessing=b"rubbish"),
        "swag": dlr.swag_model(anna, pickled(Small(4.0)), first, second, name="swag", behind=1),
        "young": dlr.swag_model(anna, pickled(Small(5.0)), b"", b"", name="young"),
        "rubbish": dlr.model(anna, b"\x00" * 100, "rubbish", behind=1),
        "bomb": dlr.model(client, pickled(bomb), "bomb"),
        "empty": dlr.model(client, b"", "empty"),
        "lost": dlr.base_model(client, pickled(Small())),
    }
    models["mean"] = dlr.mean_model(anna, [models["swag"], models["module"]], name="mean")
    models["broken mean"] = dlr.mean_model(anna, [models["module"], models["rubbish"]], name="broken mean")
    for uploader in (client, other):
        dlr.local_model(uploader, models["script"], scripted(Small(9.0)), 2)
    trainings = {
        "under way": dlr.training(
            models["script"], anna, other, client, state="O", target_num_updates=5, locked=True, options={"note": "✓"}
        ),
        "completed": dlr.training(models["module"], anna, client, aggregation_method="FedProx"),
        "swag round": dlr.training(
            models["swag"], anna, client, state="S", uncertainty_method="SWAG", target_num_updates=2
        ),
        "initial": dlr.training(models["mean"], anna, state="I", uncertainty_method="ENSEMBLE"),
        "rubbish": dlr.training(models["rubbish"], anna, client, state="E"),
        "odd": dlr.training(models["young"], anna, client, aggregation_method="AVG"),
    }
    for step in (1, 2, 3):
        for uploader in (client, other):
            dlr.metric(models["module"], uploader, "loss", 1 / step, step)
    dlr.metric(models["module"], client, "loss", 0.25, 3)  # again: the last value counts
    dlr.metric(models["module"], client, "confusion", "[[1, 0]] é".encode(), 3)
    dlr.metric(models["module"], client, "odd", float("nan"), 3)
    dlr.metric(models["module"], None, "loss", 1.0, 3)
    dlr.metric(models["module"], client, "loss", 1.0, None)
    dlr.metric(models["module"], client, "nothing", None, 3)
    dlr.metric(models["module"], client, "huge", b"x" * 5000, 3)
    for key in ("SWAG First Moment Local", "SWAG Second Moment Local"):
        dlr.metric(models["swag"], client, key, first, 1)
    dlr.metric(models["swag"], client, "SWAG Sample Size Local", 10.0, 1)
    dlr.metric(models["free"], client, "accuracy", 0.5, 2)  # of a training that was deleted
    dlr.metric(models["rubbish"], client, "loss", 0.5, 1)
    return Everything(dlr.url, users, models, trainings)
