"""Trainings that go well, by clients of the SDK: averaged, with moments, in a daisy chain; and their actor's steering.

A flow comes to its end whatever process dies on the way, by repeating what was not answered.
"""

from crash_world import CLIENTS, World
from steady_trainer import ScoringTrainer, SwagTrainer


def averaging(world: World) -> None:
    """FedAvg: three clients, two rounds, each evaluated."""
    training = world.training()
    assert len(world.root.get("trainings/")) == len(world.root.get("models/")) == 1, "asked for again, made once"
    world.start(training)
    with world.at_work():
        world.ended(training)


def gathering_moments(world: World) -> None:
    """A round whose clients send the moments of their weights around the version."""
    training = world.training(rounds=1, uncertainty={"method": "swag"}, evaluation={"every": 0})
    world.start(training)
    with world.at_work(trainer=SwagTrainer()):
        world.ended(training)


def calibrating(world: World) -> None:
    """A round whose clients tell their losses with the evaluation, and then their scores."""
    wanted = {"calibration": {"temperature": True, "scores": "aps"}}
    training = world.training(rounds=1, uncertainty=wanted)
    world.start(training)
    with world.at_work(trainer=ScoringTrainer()):
        world.ended(training)


def going_without_moments(world: World) -> None:
    """Nobody can gather moments: every client gives that task back."""
    training = world.training(rounds=1, uncertainty={"method": "swag"}, evaluation={"every": 0})
    world.start(training)
    with world.at_work():
        world.ended(training)


def waiting_for_clients(world: World) -> None:
    """Nobody is there when the training is started: it pauses by itself, and goes on by itself."""
    training = world.training(rounds=1, evaluation={"every": 0}, participation={"min_to_start": 3})
    world.start(training)
    world.root.until(f"trainings/{training}/", lambda it: it["status"] == "paused", "it pauses")
    with world.at_work():
        world.ended(training)


def travelling(world: World) -> None:
    """A daisy chain: the models of the first round go from client to client."""
    training = world.training(daisy_chain={"period": 2}, evaluation={"every": 0})
    world.start(training)
    with world.at_work():
        world.ended(training)


def stepping(world: World) -> None:
    """A server step that remembers: what came of the first rounds is in the last version only through that."""
    training = world.training(rounds=3, server_step={"kind": "adam", "server_lr": 0.5}, evaluation={"every": 0})
    world.start(training)
    with world.at_work():
        world.ended(training)


def steering(world: World) -> None:
    """A training that is changed, halted, and ended by its actor at every step where it may be."""
    training = world.training(CLIENTS[:2], closing={"min_reports": 2})
    world.root("PUT", f"trainings/{training}/clients/", json={"clients": [CLIENTS[2]]})
    world.start(training)
    world.root.post(f"trainings/{training}/pause/", done=(409,))
    world.root.post(f"trainings/{training}/resume/", done=(409,))
    world.root("DELETE", f"trainings/{training}/clients/", json={"clients": [CLIENTS[2]]})
    with world.at_work(CLIENTS[:2]):
        world.ended(training)
    for end in ("cancel", "delete"):
        other = world.training()
        world.start(other)
        if end == "cancel":
            world.caller(CLIENTS[2]).post(f"trainings/{other}/leave/", done=(404, 409))
            world.root.post(f"trainings/{other}/cancel/", done=(409,))
            world.ended(other, "cancelled")
        world.root("DELETE", f"trainings/{other}/", done=(404,))
