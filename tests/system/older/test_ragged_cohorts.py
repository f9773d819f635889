"""Older clients that are slow, late, wrong, gone, or send all twice, and one of ours, in trainings of any kind."""

import numpy as np
import pytest
import torch

from support.older_client import Net, saved
from system.older.pull_trainer import EXAMPLES, moved
from system.older.recomputed import assert_same, counted, mean_of
from system.processes import eventually

ROUNDS = 2
QUORUM = 5


class Cohort:
    """Seven clients in their join order, and the training that they are in."""

    def __init__(self, federation, gone: str, ours: str) -> None:
        self.federation = federation
        self.training = ""  # clients may be told before we know its id
        steady, self.steady = federation.older_client(examples=8)
        slow, self.slow = federation.older_client(examples=13, before_upload=self._wait_for_the_others)
        twice, self.twice = federation.older_client(examples=21, times=2)
        wrong, self.wrong = federation.older_client(
            examples=34, spoilt_first=lambda number: saved(torch.nn.Linear(2, 3))
        )
        late, self.late = federation.older_client(before_upload=self._wait_until_it_is_over)
        self._late_has_begun: set[int] = set()
        self.ids = [steady, gone, slow, ours, twice, late, wrong]
        self.in_time = [steady, slow, ours, twice, wrong]
        self.honest = [self.steady, self.slow, self.twice, self.wrong]
        """Those of the older platform that are in time."""

    def train(self, model: str, **plan: object) -> None:
        """Begin."""
        closing = {"quorum": QUORUM}
        self.training = self.federation.planned_training(model, self.ids, rounds=ROUNDS, closing=closing, **plan)

    def complete(self) -> None:
        """To the good end, of every client too."""
        self.federation.until_completed(self.training)
        for client in self.federation.clients:
            client.join()

    def updates(self, number: int, pulled: "tuple[dict[str, np.ndarray], int]") -> list:
        """What was accepted in a round, in canonical order."""
        first, second, third, fourth = counted(self.honest, number)
        return [first, second, pulled, third, fourth]

    def _wait_for_the_others(self, number: int) -> None:
        eventually(
            lambda: self.training and self.federation.reported(self.training, number + 1) >= QUORUM - 1,
            "all others have reported",
        )
        # With this report the round closes, and a local model that travels is let go: first who is late has to have it.
        eventually(lambda: number in self._late_has_begun, "the late one has its model")

    def _wait_until_it_is_over(self, number: int) -> None:
        self._late_has_begun.add(number)
        eventually(
            lambda: self.training and self.federation.record(self.training)["rounds_done"] > number, "the round is over"
        )


@pytest.fixture
def ragged(federation, tmp_path):
    """Run a training with all of them, and look at what holds for any."""

    def run(content: bytes, kind: str = "GLOBAL", **plan: object) -> "tuple[Cohort, str]":
        model = federation.model(content, kind)
        with federation.doomed_client() as (gone, doomed), federation.pull_client(tmp_path) as ours:
            cohort = Cohort(federation, gone, ours)
            cohort.train(model, **plan)
            assert doomed.stdout.readline() == "training\n"
            doomed.kill()
            cohort.complete()
        for number in range(ROUNDS):
            record = federation.round(cohort.training, number + 1)
            tasks = [task for task in record["tasks"] if task["kind"] == "train"]
            assert [task["client"] for task in tasks] == cohort.ids
            assert [task["client"] for task in tasks if task["state"] == "reported"] == cohort.in_time
        assert [sent.status for sent in cohort.twice.sent] == [201] * 2 * ROUNDS
        assert [sent.status for sent in cohort.late.sent] == [409] * ROUNDS
        assert cohort.late.told("MODEL_TEST_ROUND") == []
        return cohort, model

    return run


def module() -> Net:
    torch.manual_seed(3)
    return Net()


@pytest.mark.parametrize(
    ("made", "plan"),
    [
        pytest.param(module, {}, id="FedAvg, a pickled module"),
        pytest.param(lambda: torch.jit.script(module()), {"client": {"proximal_mu": 0.5}}, id="FedProx, TorchScript"),
        pytest.param(module, {"uncertainty": {"method": "mc_dropout"}}, id="MC dropout, a pickled module"),
    ],
)
def test_every_version_is_the_mean_of_what_was_accepted(federation, ragged, made, plan):
    cohort, model = ragged(saved(made()), **plan)

    for number in range(ROUNDS):
        pulled = moved(federation.version(model, number)), EXAMPLES
        assert_same(federation.version(model, number + 1), mean_of(cohort.updates(number, pulled)))


def test_moments_are_those_of_who_could_tell_them(federation, ragged):
    """Ours cannot, and says so; nobody waits for it, and it stays in the training."""
    cohort, model = ragged(saved(torch.jit.script(module())), "SWAG", uncertainty={"method": "swag"})

    pulled = moved(federation.version(model, 1)), EXAMPLES
    assert_same(federation.version(model, 2), mean_of(cohort.updates(1, pulled)))
    examples = [client.examples for client in cohort.honest]
    for name, index in (("swag_first_moment", 0), ("swag_second_moment", 1)):
        sent = [client.moments[ROUNDS][index].astype(np.float64) for client in cohort.honest]
        wanted = sum(count * moment for count, moment in zip(examples, sent, strict=True)) / sum(examples)
        np.testing.assert_array_equal(federation.moment(model, name), wanted)


def test_a_daisy_chain_goes_on_with_those_who_are_there(federation, ragged):
    cohort, model = ragged(saved(module()), daisy_chain={"period": ROUNDS})

    base = federation.version(model, 0)
    first = [state for state, _ in cohort.updates(0, (moved(base), EXAMPLES))]
    version = federation.version(model, 1)
    # Ours went on from one of the local models of the first round, or from the base if there was none left for it.
    possible = [mean_of(cohort.updates(1, (moved(source), EXAMPLES))) for source in (*first, base)]
    assert any(all(np.array_equal(each[name], array) for name, array in version.items()) for each in possible)
