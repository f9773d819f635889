"""Bytes that are damaged while nobody looks, and found when the server comes again: what needed them is mended."""

from pathlib import Path
from threading import Event

import numpy as np
from crash_world import World
from steady_trainer import Trainer

from hansa.client import Config, TrainResult
from support import databases
from support.integrity import path_of
from system.processes import eventually

NOTED = "SELECT checksums FROM blobs_blob"
VERSION = "SELECT blob_id FROM registry_modelversion WHERE number = ?"


def misremembered(world: World) -> None:
    """The checksums that were noted of a file are damaged, and not the file."""
    world.model()
    right = databases.rows(world.home, NOTED)
    world.change("UPDATE blobs_blob SET checksums = ?", bytes(len(right[0][0])))
    world.server.kill()
    eventually(lambda: databases.rows(world.home, NOTED) == right, "they are mended")


def beginning_damaged(world: World) -> None:
    """The version that a training begins from is lost: it stops, until the file is put back."""
    training = world.training(rounds=1, evaluation={"every": 0})
    world.start(training)
    file = _file_of_version(world, 0)
    whole = file.read_bytes()
    damage(file)
    world.server.kill()
    world.ended(training, "error")
    file.write_bytes(whole)
    world.root.post(f"trainings/{training}/resume/", done=(409,))
    with world.at_work():
        world.ended(training)


class Held(Trainer):
    """In round 2 it waits until its client is stopped."""

    def train(self, params: dict[str, np.ndarray], config: Config) -> TrainResult:
        while config.round == 2 and not config.cancelled():  # a thread's
            Event().wait(0.02)
        return super().train(params, config)


def newest_damaged(world: World) -> None:
    """The newest version is lost, and the updates that it was made of are gone: its round is begun anew."""
    training = world.training(evaluation={"every": 0}, keep_updates=0)
    world.start(training)
    with world.at_work(trainer=Held()):
        world.root.until(f"trainings/{training}/", lambda it: it["rounds_done"] == 1, "the first round is done")
    damage(_file_of_version(world, 1))
    world.server.kill()
    with world.at_work():
        world.ended(training)


def damage(file: Path) -> None:
    """One byte of it is another."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def _file_of_version(world: World, number: int) -> Path:
    ((digest,),) = databases.rows(world.home, VERSION, [number])
    return path_of(world.home, digest)
