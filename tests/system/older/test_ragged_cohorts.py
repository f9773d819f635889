"""Older clients that are slow, late, wrong, gone, or send everything twice, and one of ours, in one training."""

import torch

from support.older_client import Net, saved
from system.older.pull_trainer import EXAMPLES, moved
from system.older.recomputed import assert_same, counted, mean_of
from system.processes import eventually

ROUNDS = 2
QUORUM = 5


def test_a_ragged_cohort_completes_and_every_version_is_the_mean_of_what_was_accepted(federation, tmp_path):
    begun = {}  # the training, once it is: clients may be told before we know its id

    def wait_for_the_others(number):
        def reported():
            return begun and federation.reported(begun["training"], number + 1) >= QUORUM - 1

        eventually(reported, "all others have reported")

    def wait_until_it_is_over(number):
        eventually(lambda: begun and federation.record(begun["training"])["rounds_done"] > number, "the round is over")

    def of_another_shape(number):
        return saved(torch.nn.Linear(2, 3))

    steady, steady_client = federation.older_client(examples=8)
    slow, slow_client = federation.older_client(examples=13, before_upload=wait_for_the_others)
    twice, twice_client = federation.older_client(examples=21, times=2)
    wrong, wrong_client = federation.older_client(examples=34, spoilt_first=of_another_shape)
    late, late_client = federation.older_client(before_upload=wait_until_it_is_over)
    model = federation.model(saved(Net()))
    with federation.doomed_client() as (gone, doomed), federation.pull_client(tmp_path) as ours:
        cohort = [steady, gone, slow, ours, twice, late, wrong]
        begun["training"] = federation.planned_training(model, cohort, rounds=ROUNDS, closing={"quorum": QUORUM})
        assert doomed.stdout.readline() == "training\n"
        doomed.kill()
        federation.until_completed(begun["training"])
        for client in federation.clients:
            client.join()

    for number in range(ROUNDS):
        tasks = [task for task in federation.round(begun["training"], number + 1)["tasks"] if task["kind"] == "train"]
        assert [task["client"] for task in tasks] == cohort
        assert [task["client"] for task in tasks if task["state"] == "reported"] == [steady, slow, ours, twice, wrong]
        first, second, third, fourth = counted([steady_client, slow_client, twice_client, wrong_client], number)
        pulled = moved(federation.version(model, number)), EXAMPLES
        assert_same(federation.version(model, number + 1), mean_of([first, second, pulled, third, fourth]))
    assert [sent.status for sent in twice_client.sent] == [201] * 2 * ROUNDS
    assert [sent.status for sent in late_client.sent] == [409] * ROUNDS
    assert late_client.told("MODEL_TEST_ROUND") == []
