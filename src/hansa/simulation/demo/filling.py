"""What is on a server after `hansa demo --fill`, and how it came there: by calls that anybody could make."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import as_file, files
from threading import Event
from time import monotonic
from typing import Any, Final

import numpy as np

from hansa.client.api import Api
from hansa.client.errors import HansaError
from hansa.protocol.models import ModelCreate, ModelCreated
from hansa.protocol.trainings import TrainingCreate
from hansa.rounds.states import TrainingStatus
from hansa.simulation.demo.member import Examples, Member, Temper
from hansa.simulation.demo.shapes import NAMES, SIDE, dealt

MEMBERS: Final = {
    "demo-hamburg": Temper.STEADY,
    "demo-luebeck": Temper.STEADY,
    "demo-bremen": Temper.CLUMSY,
    "demo-riga": Temper.STEADY,
    "demo-visby": Temper.FAILING,
}
EXAMPLES: Final = 240
"""Of each member."""
UNEVEN: Final = 1.5
"""Dirichlet's alpha for each member's shares of the shapes."""
SEED: Final = 1241
ROUNDS: Final = 12
MOST_SECONDS: Final = 120.0
"""For one training: a server that is slower than that has other troubles than this."""
DESCRIPTION: Final = (
    f"Tells drawings of {SIDE} x {SIDE} pixels apart: 0 {NAMES[0]}, 1 {NAMES[1]}, 2 {NAMES[2]}, 3 {NAMES[3]}."
)


class DemoError(HansaError):
    """The server could not be filled."""


@dataclass(frozen=True, slots=True)
class Filled:
    """What there is now."""

    trainings: Sequence[str]
    """Their names."""
    model: str
    """The id of one that is worth asking."""


def fill(api: Api, tell: Callable[[str], None]) -> Filled:
    """Invite five clients, upload a model, and have four trainings come to four different ends.

    What is there already stays: called again, it makes other trainings by the same clients. Raises DemoError, and what
    the server's refusals are.
    """
    members = _members(api)
    steady = [name for name, temper in MEMBERS.items() if temper is not Temper.FAILING]
    uncertain = {"uncertainty": {"method": "mc_dropout", "samples": 20, "softmax": True}}
    failing = {"closing": {"quorum": 3}, "participation": {"exclude_after": 3}}
    calibrated = {"uncertainty": {"calibration": {"temperature": True, "scores": "lac"}}}
    with _working(members) as check:
        tell(f"Invited {', '.join(MEMBERS)}: they learn in this process.")
        first = _uploaded(api, "shapes")
        shapes = _begun(api, first, "shapes", steady, rounds=ROUNDS, **uncertain)
        _until_completed(api, shapes, check)
        tell(f"“shapes”: {ROUNDS} rounds, of which one has refused an update. It can be asked with MC dropout.")
        second = _uploaded(api, "shapes, five sites")
        wider = _begun(api, second, "shapes, five sites", list(MEMBERS), rounds=5, **failing, **calibrated)
        _until_completed(api, wider, check)
        tell("“shapes, five sites”: a client fails there in every round, and is asked no more. It answers at a level.")
    _mean(api, [api.training(shapes).model, api.training(wider).model])
    paused = _begun(api, _uploaded(api, "shapes, at night"), "shapes, at night", steady, rounds=40)
    api.pause(paused)
    _planned(api, _uploaded(api, "shapes, next year"), "shapes, next year", steady, rounds=100)
    tell("“shapes, at night” is paused, “shapes, next year” not begun.")
    names = ("shapes", "shapes, five sites", "shapes, at night", "shapes, next year")
    return Filled(names, api.training(shapes).model)


def _members(api: Api) -> list[Member]:
    rng = np.random.default_rng(SEED)
    members = []
    for name, temper in MEMBERS.items():
        token = api.enroll(api.invite(name).code).token
        examples = Examples(*dealt(EXAMPLES, rng.dirichlet([UNEVEN] * len(NAMES)), rng))
        members.append(Member(name, api.transport.with_token(token), examples, temper))
    return members


@contextmanager
def _working(members: Sequence[Member]) -> Iterator[Callable[[], None]]:
    """Have the members work; what is yielded raises what one of them has raised."""
    stop = Event()
    with ThreadPoolExecutor(len(members), thread_name_prefix="demo") as pool:
        at_work: list[Future[None]] = [pool.submit(member.work, stop) for member in members]

        def check() -> None:
            for ended in wait(at_work, timeout=0, return_when=FIRST_EXCEPTION).done:
                ended.result()

        try:
            yield check
        finally:
            stop.set()


def _uploaded(api: Api, name: str) -> str:
    folder = files(__package__) / "files"
    with as_file(folder / "shapes.pt") as program, as_file(folder / "shapes-preprocessing.pt") as preparing:
        shape = (None, 1, SIDE, SIDE)
        made = api.create_model(program, name=name, description=DESCRIPTION, input_shape=shape, preprocessing=preparing)
    return made.model_id


def _planned(api: Api, model: str, name: str, clients: Sequence[str], **plan: Any) -> str:  # Any: parts of a plan
    plan = {"client": {"epochs": 4, "client_lr": 0.12}, "seed": SEED, **plan}
    wanted = TrainingCreate(model_id=model, name=name, clients=list(clients), plan=plan)
    return api.create_training(wanted).training_id


def _begun(api: Api, model: str, name: str, clients: Sequence[str], **plan: Any) -> str:  # Any: as above
    training = _planned(api, model, name, clients, **plan)
    api.start(training)
    return training


def _until_completed(api: Api, training: str, check: Callable[[], None]) -> None:
    """Follow it to its end, by requests that wait for its next change."""
    latest = monotonic() + MOST_SECONDS
    record = api.training(training)
    while record.status == TrainingStatus.ONGOING:
        check()
        if monotonic() > latest:
            raise DemoError(f"The training {record.name!r} has not ended after {MOST_SECONDS:.0f} s: {record.reason}")
        record = api.training(training, wait=1, revision=record.revision)
    if record.status != TrainingStatus.COMPLETED:
        raise DemoError(f"The training {record.name!r} is {record.status}: {record.reason}")


def _mean(api: Api, models: list[str]) -> None:
    said = ModelCreate(name="shapes, both together", type="MEAN", models=models, description=DESCRIPTION)
    api.transport.call("POST", "/api/models/", body=said, into=ModelCreated)
