"""Records of trainings as a server leaves them, for the verifier of `hansa chaos`: honest ones, to be doctored."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hansa.core.seeds import client_seed
from hansa.formats import safetensors
from hansa.rounds import plan as plans
from hansa.simulation.chaos.record import Blob, Record, Round, Task, Training, Update, Version
from hansa.simulation.chaos.repetition import digest, mean
from hansa.simulation.chaos.trainer import BUFFERS, first_version, num_examples, trained

FIRST = first_version(3, rows=7)
SEED = 11
CLIENTS = 4
Line = tuple[int, float]
"""Ordinal and weight."""


def sent(base, number: int, ordinal: int):
    """The update of a client in a round."""
    return trained(base, seed=client_seed(SEED, number, ordinal))


def in_time(*ordinals: int) -> list[Line]:
    return [(ordinal, num_examples(ordinal)) for ordinal in ordinals]


def carried_through(name: str, number: int, base: int, version: int, listed: Sequence[Line], params) -> Round:
    """A round that went on from `params`, and was done with what is listed."""
    return Round(
        id=name,
        training="training",
        number=number,
        attempt=1,
        state="done",
        base=base,
        version=version,
        accepted=[[ordinal, digest(sent(params, number, ordinal)), weight] for ordinal, weight in listed],
        folded=[],
        moments_accepted=[],
        claimed=False,
    )


def asked(of: Round, params, late: Sequence[int] = ()) -> tuple[list[Task], list[Update]]:
    """A task of each client in a round, and the updates of those that are in its list, or were late for it."""
    in_list = {line[0] for line in of.accepted}
    tasks, updates = [], []
    for ordinal in range(CLIENTS):
        name = f"{of.id}-{ordinal}"
        state = "reported" if ordinal in in_list else "closed"
        tasks.append(Task(name, of.id, ordinal, "client", "train", state, 1, False, None))
        if ordinal in in_list or ordinal in late:
            folded_into = "2" if ordinal in late else None
            updates.append(Update(name, digest(sent(params, of.number, ordinal)), 1, folded_into))
    return tasks, updates


def recorded(folder: Path, accepted: list[list[Line]], late: list[Line]) -> Record:
    """Rounds as a server has them that added what is listed as it is listed; `late` are of the first round."""
    file = folder / digest(FIRST)
    with file.open("wb") as opened:
        safetensors.write(opened, FIRST, BUFFERS)
    plan = plans.to_data(plans.parse({"rounds": len(accepted), "late": {"kind": "fold"}}))
    versions, params, rounds = [Version(0, "model", 0, file.name, None)], [FIRST], []
    tasks: list[Task] = []
    updates: list[Update] = []
    for number, listed in enumerate(accepted, start=1):
        base = params[-1]
        of = carried_through(str(number), number, number - 1, number, listed, base)
        if number == 2:
            lines = [[ordinal, digest(sent(FIRST, 1, ordinal)), weight, 1] for ordinal, weight in late]
            of = replace(of, folded=lines)
        rounds.append(of)
        mine, theirs = asked(of, base, [ordinal for ordinal, _ in late] if number == 1 else [])
        tasks += mine
        updates += theirs
        own = [(sent(base, number, ordinal), weight) for ordinal, weight in listed]
        folded = [(sent(FIRST, 1, ordinal), weight) for ordinal, weight in (late if number == 2 else [])]
        params.append(mean(own + folded))
        versions.append(Version(number, "model", number, digest(params[-1]), None))
    return Record(
        trainings={"training": Training("training", "it", "completed", "", plan, SEED, "model", CLIENTS)},
        versions={version.id: version for version in versions},
        rounds={of.id: of for of in rounds},
        tasks={task.id: task for task in tasks},
        updates={update.task: update for update in updates},
        events=[],
        metrics=frozenset(),
        blobs={file.name: Blob(file.name, file.stat().st_size)},
        referenced=frozenset({file.name}),
        files={file.name: file},
        leftovers=[],
        damaged=[],
        orphans=[],
    )
