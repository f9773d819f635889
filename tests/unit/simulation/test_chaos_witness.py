"""What the actor sees while the storm goes on, and what it is held against."""

import pytest

from hansa.client.api import Api
from hansa.client.errors import ApiError, Unreachable
from hansa.client.transport import Transport
from hansa.rounds.states import TrainingStatus
from hansa.simulation.chaos import federation
from hansa.simulation.chaos.federation import Federation
from hansa.simulation.chaos.findings import Fault
from hansa.simulation.chaos.verification import verify
from hansa.simulation.chaos.witness import Witness
from support.chaos_records import in_time, recorded

TRAINING = "ca761232-ed42-11ce-bacd-00aa0057b223"


class Seen:
    """As much of a training as the actor looks at."""

    def __init__(self, status: TrainingStatus, revision: int) -> None:
        self.status, self.revision = status.value, revision


class Scripted(Api):
    """A server that gives one answer after the other about its one training."""

    def __init__(self, *answers: "TrainingStatus | Exception") -> None:
        super().__init__(Transport("http://127.0.0.1:1"))
        self.answers = list(enumerate(answers))

    def training(self, training_id: str) -> Seen:  # type: ignore[override]  # as much of it as is looked at
        revision, answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Seen(answer, revision)


def finished(tmp_path, *answers: "TrainingStatus | Exception") -> Witness:
    """What an actor has seen who waited for its one training to end."""
    witness, minded = Witness(), []
    actor = Federation(
        Scripted(*answers),
        clients=[],
        seed=1,
        folder=tmp_path,
        mind=lambda: minded.append(1),
        witness=witness,
    )
    actor._live[TRAINING] = 0
    actor.finish()
    assert minded, "while it waits, the processes are looked after"
    return witness


def test_a_training_that_the_server_knows_no_more_is_noted_and_the_run_goes_on(tmp_path):
    witness = finished(tmp_path, TrainingStatus.ONGOING, ApiError(404, "not_found", "There is no such training."))
    assert witness.denied == {TRAINING.replace("-", "")}


def test_a_pause_counts_once_for_as_long_as_it_lasts(tmp_path):
    paused, ongoing = TrainingStatus.PAUSED, TrainingStatus.ONGOING
    assert finished(tmp_path, paused, paused, ongoing, paused, TrainingStatus.COMPLETED).pauses == 2


def test_a_server_that_does_not_answer_for_too_long_ends_the_waiting(tmp_path, monkeypatch):
    monkeypatch.setattr(federation, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(Unreachable):
        finished(tmp_path, Unreachable("no answer"), Unreachable("no answer"))


@pytest.mark.parametrize(
    ("witness", "told"),
    [
        (Witness(trainings={"gone"}), "training gone was acknowledged, and there is no such training"),
        (Witness(models={"gone"}), "model gone was acknowledged, and its first version is not there"),
        (Witness(denied={"training"}), "training training is there, and the server has answered that it is not"),
    ],
)
def test_what_the_actor_was_told_and_no_row_has_is_found_as_lost(tmp_path, witness, told):
    record = recorded(tmp_path, [in_time(0, 1)], [])
    assert [(finding.fault, finding.text) for finding in verify(record, [], witness)] == [(Fault.LOST, told)]


def test_what_the_actor_was_told_and_rows_have_is_no_fault(tmp_path):
    assert not verify(recorded(tmp_path, [in_time(0, 1)], []), [], Witness(models={"model"}, trainings={"training"}))
