"""Models made, given a preprocessing, averaged, refused, deleted, and what is left of them collected."""

from uuid import uuid4

import torch
from crash_world import LONG_AGO, World

from support import databases
from support.torchmodels import saved, scripted
from system.processes import eventually


def keeping_models(world: World) -> None:
    """Two models and a mean of them; one with a preprocessing, and one that is refused with its file in the store."""
    members = [world.model("one"), world.model("two")]
    files = {"model_preprocessing_file": ("pre.pt", saved(torch.nn.Flatten()))}
    world.root.post("models/", {"name": "mean", "type": "MEAN", "models": members})
    stranger = {"name": "mean", "type": "MEAN", "models": [str(uuid4())]}
    world.root("POST", "models/", data=stranger, files=files, refused=404)
    world.root("POST", f"models/{members[0]}/preprocessing/", files=files)
    for name in ("mean", "two"):
        for model in world.root.get("models/"):
            if model["name"] == name:
                world.root("DELETE", f"models/{model['id']}/", done=(404,))
    assert {model["name"] for model in world.root.get("models/")} == {"one"}


def asking(world: World) -> None:
    """A model answers, and with an answer its statistics are told: by a later one, where the first died with them."""
    files = {"model_file": ("net.pt", scripted(torch.nn.Linear(4, 2)))}
    shape = {"name": "asked", "input_shape": ["None", "4"]}
    model = world.root("POST", "models/", data=shape, files=files).json()["model_id"]
    question = {"model_id": model, "model_input": [[1.0, 2.0, 3.0, 4.0]]}

    def told() -> bool:
        answer = world.root.post("inference/", question)
        assert answer["inference"], answer
        return world.root.get(f"models/{model}/metadata/")["stats"]["total_mult_adds"] is not None

    eventually(told, "the model's statistics are told")


def making_a_dummy(world: World) -> None:
    """The training that is made for who works on a page."""
    made = world.root.get("dummy/")
    assert world.root.get(f"trainings/{made['training_uuid']}/")["status"] == "completed"


def collecting(world: World) -> None:
    """What a deleted model leaves is collected, at the latest when the server starts again."""
    model = world.model()
    world.root("DELETE", f"models/{model}/", done=(404,))
    world.change("UPDATE blobs_blob SET seen_at = ?", LONG_AGO)
    world.server.kill()
    # Of a death between row and file the file is left; those are looked for once an hour, and must be a day old.
    eventually(lambda: not databases.rows(world.home, "SELECT sha256 FROM blobs_blob"), "no row of a blob is left")
