"""The actor: enrols clients, keeps several trainings going, and sees each of them to its end.

Every call is made until it is answered. One whose answer was lost is not simply made again: what it may have made is
looked for first, by name.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

from hansa.client.api import Api
from hansa.client.errors import ApiError, BadAnswer, Unreachable
from hansa.client.transport import Transport
from hansa.formats import safetensors
from hansa.protocol.trainings import TrainingCreate
from hansa.rounds.states import TrainingStatus
from hansa.simulation.chaos.trainer import BUFFERS, first_version
from hansa.simulation.chaos.witness import Witness, bare

T = TypeVar("T")

AT_ONCE: Final = 3
"""Trainings that go on side by side, with the same clients."""
SMALL, LARGE = 300, 12_000
"""Rows of their models: 62 kB and 2.5 MB."""
LARGE_SHARE: Final = 0.2
NOT_FOUND: Final = 404
PAUSE_SECONDS: Final = 0.02
PATIENCE_SECONDS: Final = 60.0
"""A call that is not answered for so long, though its server is started again at once, ends the run."""
STANDSTILL_SECONDS: Final = 180.0
"""After the last kill: a training that has not moved for so long is stuck."""

PLANS: Final[tuple[dict[str, Any], ...]] = (  # Any: plans are JSON
    {"rounds": 2, "uncertainty": {"method": "swag"}},
    {"rounds": 4, "daisy_chain": {"period": 2}},
    {"rounds": 5, "closing": {"quorum": 2}, "late": {"kind": "fold", "max_staleness": 2}, "evaluation": {"every": 0}},
    {"rounds": 4},
    {"rounds": 4, "closing": {"quorum": 3}, "evaluation": {"every": 2}},
    {"rounds": 4, "cohort": {"size": 2, "over_selection": 0.5, "selection": "by_examples"}, "evaluation": {"every": 0}},
    {"rounds": 3, "participation": {"min_to_start": 3, "min_to_go_on": 2}, "evaluation": {"every": 0}},
)
"""Every kind of work that a round may be, in turn; what is rarest first, for a storm that is soon over."""
MOVING: Final = (TrainingStatus.INITIAL.value, TrainingStatus.ONGOING.value, TrainingStatus.PAUSED.value)


class Federation:
    """Trainings of one actor on one server. `mind` is called while something is waited for."""

    def __init__(
        self,
        api: Api,
        *,
        clients: Sequence[str],
        seed: int,
        folder: Path,
        mind: Callable[[], None],
        witness: Witness,
    ) -> None:
        self._api = api
        self._clients = clients
        self._rng = Random(seed)  # noqa: S311  # to be repeated, not to be secret
        self._folder = folder
        self._mind = mind
        self._witness = witness
        self._live: dict[str, int] = {}
        """Trainings that have not ended, and the revision in which each was last seen."""
        self._paused: set[str] = set()
        self.begun = 0

    def keep_going(self) -> None:
        """Replace the trainings that have ended by new ones."""
        self._look()
        while len(self._live) < AT_ONCE:
            self._begin()

    def finish(self) -> None:
        """Begin nothing new, and wait for the others until they have ended, or stand still."""
        moved = time.monotonic()
        while self._live and time.monotonic() - moved < STANDSTILL_SECONDS:
            if self._look():
                moved = time.monotonic()
            self._mind()
            time.sleep(PAUSE_SECONDS)

    def _look(self) -> bool:
        """Forget the trainings that have ended; whether anything has moved."""
        before = dict(self._live)
        for training in before:
            try:
                seen = self._insist(partial(self._api.training, training))
            except ApiError as error:
                if error.status != NOT_FOUND:
                    raise
                self._witness.denied.add(bare(training))
                del self._live[training]
                continue
            self._note_pause(training, paused=seen.status == TrainingStatus.PAUSED.value)
            if seen.status in MOVING:
                self._live[training] = seen.revision
            else:
                del self._live[training]
        return self._live != before

    def _note_pause(self, training: str, *, paused: bool) -> None:
        if paused and training not in self._paused:
            self._witness.pauses += 1
        (self._paused.add if paused else self._paused.discard)(training)

    def _begin(self) -> None:
        asked_for = PLANS[self.begun % len(PLANS)]
        self.begun += 1
        name = f"chaos-{self.begun}"
        seed = self._rng.getrandbits(62)
        rows = LARGE if self._rng.random() < LARGE_SHARE else SMALL
        file = self._folder / "first.safetensors"
        with file.open("wb") as opened:
            safetensors.write(opened, first_version(seed, rows=rows), BUFFERS)
        model = self._made(
            lambda: self._api.create_model(file, name=name, buffers=sorted(BUFFERS)).model_id,
            lambda: [model.id for model in self._api.models() if model.name == name],
        )
        self._witness.models.add(bare(model))
        asked = TrainingCreate(model_id=model, plan={**asked_for, "seed": seed}, clients=list(self._clients), name=name)
        training = self._made(
            lambda: self._api.create_training(asked).training_id,
            lambda: [training.id for training in self._api.trainings() if training.name == name],
        )
        self._witness.trainings.add(bare(training))
        self._insist(lambda: self._start(training))
        self._live[training] = 0

    def _made(self, make: Callable[[], str], find: Callable[[], list[str]]) -> str:
        """Make something once, also where the answer that it was made did not arrive."""
        try:
            return make()
        except (Unreachable, BadAnswer, ApiError) as error:
            self._wait_out(error)
        return self._insist(lambda: next(iter(find()), None) or make())

    def _start(self, training: str) -> None:
        if self._api.training(training).status == TrainingStatus.INITIAL.value:
            self._api.start(training)

    def _insist(self, call: Callable[[], T]) -> T:
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return call()
            except (Unreachable, BadAnswer, ApiError) as error:
                if time.monotonic() > end:
                    raise
                self._wait_out(error)

    def _wait_out(self, error: Unreachable | BadAnswer | ApiError) -> None:
        """A server that dies answers nothing, or half of something. What it refuses does not pass."""
        if isinstance(error, ApiError) and error.status < 500:
            raise error
        self._mind()
        time.sleep(PAUSE_SECONDS)


def enrol(api: Api, names: Sequence[str], folder: Path) -> None:
    """A client account for each name, its token in a folder of that name."""
    for name in names:
        token = api.enroll(api.invite(name, 3600.0).code).token
        place = folder / name
        place.mkdir(parents=True)
        file = place / "token"
        file.touch(mode=0o600)
        file.write_text(token)


def actor(url: str, username: str, password: str) -> Api:
    """The API as an actor sees it, who signs in with a token."""
    with Transport(url, basic=(username, password)) as transport:
        token = Api(transport).create_token("chaos", None).token
    return Api(Transport(url, token))
