"""Trainings in which something is lost: a client, an offer, a whole round, the bytes of an update, a minute."""

import errno
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from threading import Event

import numpy as np
from crash_damage import damage
from crash_world import CLIENTS, LONG_AGO, World, encoded, first_params
from steady_trainer import Trainer

from hansa.client import Config, TrainResult
from support import databases
from support.integrity import path_of
from system.processes import eventually

ONE_ROUND = {"rounds": 1, "evaluation": {"every": 0}}
GONE, *STAY = CLIENTS
TASKS_OF_GONE = "participation_id IN (SELECT id FROM trainings_participation WHERE ordinal = 0)"


def losing_a_lease(world: World) -> None:
    """A client takes its task, gives a sign of life, and is not heard of again."""
    training = world.training(**ONE_ROUND, closing={"min_reports": 2})
    world.start(training)
    gone = world.caller(GONE)
    task = gone.post("tasks/next/?wait=20", {"instance": "gone"})
    gone.post(f"tasks/{task['id']}/heartbeat/", {})

    def time_passes() -> None:
        world.change(
            f"UPDATE trainings_task SET lease_until = ? WHERE state = 'leased' AND {TASKS_OF_GONE}",  # noqa: S608  # ours
            LONG_AGO,
        )
        world.nudge(training)

    with world.at_work(STAY):
        world.ended(training, meanwhile=time_passes)


def dropping_an_offer(world: World) -> None:
    """A client does not come for its task, and the others need not wait for it."""
    training = world.training(**ONE_ROUND, closing={"min_reports": 2})
    world.start(training)

    def time_passes() -> None:
        world.change("UPDATE trainings_task SET leased_at = ? WHERE leased_at IS NOT NULL", LONG_AGO)
        world.change("UPDATE trainings_round SET clock_from = NULL")
        world.nudge(training)

    with world.at_work(STAY):
        world.ended(training, meanwhile=time_passes)


class Broken(Trainer):
    """The user's code fails, whatever is asked of it."""

    def train(self, params: dict[str, np.ndarray], config: Config) -> TrainResult:
        raise ValueError("the data is not there")


def failing(world: World) -> None:
    """Every client fails until the training is given up; it is mended, and resumed."""
    training = world.training(**ONE_ROUND)
    world.start(training)
    with world.at_work(trainer=Broken()):
        world.ended(training, "error")
    world.root.post(f"trainings/{training}/resume/", done=(409,))
    with world.at_work():
        world.ended(training)


def misnamed(world: World) -> None:
    """A row names another update than its client's: what is accepted cannot be averaged, and the round begins anew."""
    training, _ = _with_one_report(world)
    world.change("UPDATE trainings_update SET digest = ?", "f" * 64)
    with world.at_work():
        world.ended(training)


def damaged(world: World) -> None:
    """An update that was acknowledged is not what it was when it is averaged; its client is asked for it again."""
    training, file = _with_one_report(world)
    damage(file)
    with world.at_work():
        world.ended(training)


class Told(Trainer):
    """In round 2 it works until it is told that it may end, or its client is stopped."""

    def __init__(self) -> None:
        self.may_end = Event()

    def train(self, params: dict[str, np.ndarray], config: Config) -> TrainResult:
        while config.round == 2 and not (self.may_end.wait(0.02) or config.cancelled()):
            pass
        return super().train(params, config)


def losing_a_late_update(world: World) -> None:
    """What came late is damaged when the next round has closed with it: the round does without."""
    training = world.training(closing={"quorum": 2, "min_reports": 2}, late={"kind": "fold"}, evaluation={"every": 0})
    world.start(training)
    late = world.caller(GONE)
    task = late.post("tasks/next/?wait=20", {"instance": "late"})
    trainer = Told()
    with world.at_work(STAY, trainer=trainer):
        world.root.until(f"trainings/{training}/", lambda it: it["rounds_done"] == 1, "the first round is done")
        update = encoded({name: array + array.dtype.type(1) for name, array in first_params().items()})
        digest = hashlib.sha256(update).hexdigest()
        late("PUT", f"tasks/{task['id']}/update/{digest}/", content=update)
        late.post(f"tasks/{task['id']}/report/", {"num_examples": 100, "digest": digest})
        damage(path_of(world.home, digest))
        trainer.may_end.set()
        world.ended(training)
    assert world.root.get(f"trainings/{training}/rounds/2/")["folded"] == []


def taking_long(world: World) -> None:
    """An aggregation takes so long that its claim is renewed: a file of it is a pipe that nobody writes to."""
    training, file = _with_one_report(world)
    aside, pipe = file.rename(world.folder / "aside"), world.folder / "pipe"
    os.mkfifo(file)
    with world.at_work():
        eventually(lambda: _claims(world), "the round is claimed")
        (first,) = _claims(world)
        eventually(lambda: world.server.died_at or _claims(world) > [first], "its claim is renewed, or the server dead")
        os.link(file, pipe)
        aside.replace(file)
        with suppress(FileNotFoundError):
            _let_go(pipe)
        world.ended(training, meanwhile=lambda: _let_go(pipe))


def _with_one_report(world: World) -> tuple[str, Path]:
    """A training whose first client has reported and gone, and the file that it sent."""
    training = world.training(**ONE_ROUND)
    world.start(training)
    query = "SELECT digest FROM trainings_update"
    with world.at_work([GONE]):
        eventually(lambda: databases.rows(world.home, query), f"{GONE} has reported")
    ((digest,),) = databases.rows(world.home, query)
    return training, path_of(world.home, digest)


def _claims(world: World) -> list[object]:
    query = "SELECT claimed_until FROM trainings_round WHERE claimed_until IS NOT NULL"
    return [until for (until,) in databases.rows(world.home, query)]


def _let_go(pipe: Path) -> None:
    """Whoever still reads from the pipe comes to its end."""
    try:
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno != errno.ENXIO:  # nobody reads
            raise
