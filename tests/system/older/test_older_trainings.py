"""Clients of the older platform complete trainings of a real server: every method, TorchScript and pickled modules.

What each version holds is computed again here from what the clients say they have sent, slowly and in order.
"""

import numpy as np
import pytest
import torch

from support.older_client import Net, saved, state_of
from system.older.recomputed import assert_same, counted, mean_of

ROUNDS = 2


def net(kind: str) -> "tuple[bytes, dict[str, np.ndarray]]":
    """A model's file, and its state."""
    torch.manual_seed(3)
    module = Net()
    return saved(torch.jit.script(module) if kind == "TorchScript" else module), state_of(module)


@pytest.fixture(params=["TorchScript", "pickled module"])
def kind(request):
    return request.param


@pytest.fixture
def three(federation):
    """Three clients with unequal data: their ids, and themselves."""
    pairs = [federation.older_client(examples=examples) for examples in (8, 13, 21)]
    return [user for user, _ in pairs], [client for _, client in pairs]


@pytest.mark.parametrize(
    ("method", "uncertainty", "mu"),
    [("FedAvg", "NONE", 0.0), ("FedProx", "NONE", 0.5), ("FedAvg", "MC_DROPOUT", 0.0), ("FedDC", "NONE", 0.0)],
)
def test_every_version_is_the_mean_of_what_was_sent(federation, three, kind, method, uncertainty, mu):
    ids, clients = three
    for client in clients:
        client.habits.mu = mu
    model = federation.model(net(kind)[0])
    training = federation.training(
        model, ids, target_num_updates=ROUNDS, aggregation_method=method, uncertainty_method=uncertainty
    )

    record = federation.until_completed(training)

    assert (record["aggregation_method"], record["uncertainty_method"]) == (method, uncertainty)
    for number in range(ROUNDS):
        assert_same(federation.version(model, number + 1), mean_of(counted(clients, number)))
    for client in clients:
        assert client.told("UPDATE_ROUND_START") == [0, 1]
        assert client.told("MODEL_TEST_ROUND") == [1, 2]
        assert client.notifications[0]["notification_type"] == "TRAINING_START"
    assert measured(federation, model, "accuracy") == {1: 3, 2: 3}


def measured(federation, model: str, key: str) -> dict[int, int]:
    """How many clients have reported a metric, by step."""
    rows = federation.alice.get(f"/api/models/{model}/metrics/").json()
    steps = [row["step"] for row in rows if row["key"] == key]
    return {step: steps.count(step) for step in sorted(set(steps))}


def test_swag_moments_are_asked_for_after_every_aggregation_and_combined(federation, three, kind):
    ids, clients = three
    content, _ = net(kind)
    model = federation.model(content, "SWAG")
    training = federation.training(
        model, ids, target_num_updates=ROUNDS, aggregation_method="FedAvg", uncertainty_method="SWAG"
    )

    federation.until_completed(training)

    for client in clients:
        kinds = [each["notification_type"] for each in client.notifications]
        turn = ["UPDATE_ROUND_START", "SWAG_ROUND_START", "MODEL_TEST_ROUND"]
        assert kinds[:7] == ["TRAINING_START", *turn, *turn]
    total = sum(client.examples for client in clients)
    for name, index in (("swag_first_moment", 0), ("swag_second_moment", 1)):
        wanted = sum(client.examples * client.moments[ROUNDS][index].astype(np.float64) for client in clients) / total
        np.testing.assert_array_equal(federation.moment(model, name), wanted)
    keys = {row["key"] for row in federation.alice.get(f"/api/models/{model}/metrics/").json()}
    assert keys == {"loss", "accuracy", "note"}, "moments are no metrics"


def test_daisy_chained_models_travel_and_every_period_is_aggregated(federation, three, kind):
    ids, clients = three
    period = 2
    content, _ = net(kind)
    model = federation.model(content)
    training = federation.training(
        model, ids, target_num_updates=2, aggregation_method="FedDC", options={"daisy_chain_period": period}
    )

    record = federation.until_completed(training)

    assert record["target_num_updates"] == 2 * period
    for client in clients:
        assert client.told("UPDATE_ROUND_START") == [0, 1, 2, 3]
        assert client.told("MODEL_TEST_ROUND") == [2, 4]
        assert [sent.to == model for sent in client.sent] == [True, False, True, False]
    for number in (1, 3):
        sent_to = {sent.to for client in clients for sent in client.sent if sent.round == number}
        assert len(sent_to) == len(clients), "each local model goes to one client"
    assert_same(federation.version(model, 1), mean_of(counted(clients, 1)))
    assert_same(federation.version(model, 2), mean_of(counted(clients, 3)))
