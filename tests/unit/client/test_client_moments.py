"""A client that is asked for SWAG moments, and one whose task begins from another client's model."""

import numpy as np
import pytest
from running import AddOne
from scripted_server import TOKEN, updates

from hansa.client import BadAnswer, Client, MomentsResult, ResultError, UsageError
from hansa.client.events import Dropped, Reported
from hansa.client.results import checked_moments
from hansa.core.params import spec_of
from hansa.formats.safetensors import read
from hansa.protocol import PROTOCOL_VERSION
from hansa.protocol.tasks import TaskKind

PARAMS = {"b": np.zeros((1, 2), np.float32), "a": np.zeros(3, np.float16), "seen": np.int64(0).reshape(())}
SPEC = spec_of(PARAMS, buffers=frozenset({"seen"}))


class Spread(AddOne):
    """Its weights have been one less and one more, half of the time each."""

    gathered = 0

    def moments(self, params, config):
        self.gathered += 1
        first = {name: array.astype(np.float64) for name, array in params.items()}
        return MomentsResult(first, {name: mean**2 + 1 for name, mean in first.items()}, num_examples=12)


def offer(server, **more):
    return server.offer(kind=TaskKind.SWAG, order=["w"], protocol=2, **more)


def test_moments_are_gathered_uploaded_and_reported(server, start, tmp_path):
    trainer = Spread()
    offer(server)
    start(trainer).until(Reported)

    (report,) = server.reports
    assert (report["num_examples"], report["metrics"]) == (12, {})
    (tmp_path / "sent").write_bytes(server.partial[report["digest"]])
    sent = read(tmp_path / "sent")
    assert {name: array.tolist() for name, array in sent.items()} == {
        "first_moment": [0, 1, 2, 3],
        "second_moment": [1, 2, 5, 10],
    }
    assert all(array.dtype == np.float64 for array in sent.values())
    assert (trainer.trained, trainer.gathered) == (0, 1)


def test_a_trainer_without_moments_gives_the_task_back_before_anything_is_fetched(server, start):
    offer(server)
    client = start(AddOne())
    dropped = client.until(Dropped)

    assert dropped.failed
    assert "AddOne gathers no SWAG moments: it has no method 'moments'" in dropped.reason
    assert not [request for request in server.requests if "/params/" in request]
    server.offer(number=2)
    client.until(Reported)
    assert server.releases == [{"task": "swag-1", "reason": dropped.reason, "failed": True}]


def test_the_model_that_was_evaluated_is_not_fetched_again_for_moments(server, start):
    server.offer(kind=TaskKind.EVALUATE)
    client = start(Spread())
    client.until(Reported)
    offer(server)
    client.until(Reported, times=2)
    assert len([request for request in server.requests if "/params/" in request]) == 1


def test_an_order_that_names_what_is_no_param_is_refused_here(server, start):
    server.offer(kind=TaskKind.SWAG, order=["w", "seen"])
    assert "the moments of 'seen', which are no params" in start(Spread()).until(Dropped).reason
    assert not updates(server)


# A model to begin from that is no version


def test_a_task_begins_from_where_it_says(server, start, tmp_path):
    server.offer(params="/api/tasks/train-1/base/", protocol=2)
    start().until(Reported)

    assert "GET /api/tasks/train-1/base/" in server.requests
    assert not [request for request in server.requests if "/versions/" in request]
    (tmp_path / "sent").write_bytes(server.partial[server.reports[0]["digest"]])
    assert read(tmp_path / "sent")["w"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("place", ["http://elsewhere.example/api/", "//elsewhere.example/api/", "tasks/1/base/"])
def test_credentials_go_nowhere_else(server, start, place):
    server.offer(params=place)
    assert "which is no path of the server's API" in start().until(Dropped).reason


# A server of another time


def test_a_kind_of_task_that_only_newer_clients_know_ends_the_run_with_what_to_do(server, start):
    server.tasks.append({"id": "1", "kind": "distil", "protocol": PROTOCOL_VERSION + 1, "teacher": [1]})
    client = start().join()
    assert isinstance(client.error, UsageError)
    assert str(client.error) == (
        f"the server has a task of kind 'distil' that needs version {PROTOCOL_VERSION + 1} of the protocol; this "
        f"client speaks {PROTOCOL_VERSION}. Install a newer hansa."
    )


def test_a_kind_of_task_that_nobody_should_know_is_told_without_a_traceback(server, tmp_path):
    server.tasks.append({"id": "1", "kind": "distil", "protocol": 1})
    with pytest.raises(BadAnswer, match=r"does not understand .*'distil'.*as new as the server"):
        Client(server.url, TOKEN, state=tmp_path / "state", reporter=lambda event: None).run(AddOne())


# What may be returned


def moments(first, second, examples=5):
    return MomentsResult(first, second, examples)


ZEROS = {"b": np.zeros((1, 2)), "a": np.zeros(3)}
ONES = {"b": np.ones((1, 2)), "a": np.ones(3)}


def test_good_moments_come_through_in_float64_and_without_buffers():
    checked = checked_moments(moments({**ZEROS, "seen": np.ones(())}, {**ONES, "a": np.ones(3, np.float16)}), SPEC)
    assert checked.first.keys() == checked.second.keys() == {"a", "b"}
    assert all(array.dtype == np.float64 for array in checked.second.values())


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (None, "moments returned None; wanted is hansa.client.MomentsResult"),
        (moments([], ONES), "first is of type list; wanted is a dict"),
        (moments(ZEROS, {"b": ONES["b"]}), "second lacks 'a'; return the moments of every param"),
        (moments({**ZEROS, "a": np.zeros(2)}, ONES), "first['a'] has shape (2,) and dtype float64; wanted are numbers"),
        (moments({**ZEROS, "a": ["x", "y", "z"]}, ONES), "first['a'] has shape (3,) and dtype <U1"),
        (moments(ZEROS, {**ONES, "a": np.array([1, np.nan, 1])}), "second['a'] holds nan: the iterates diverged"),
        (moments(ONES, ZEROS), "the moments of 'a' cannot be those of any weights, at [0]"),
        (moments(ZEROS, {**ONES, "b": np.array([[1, -1]])}), "at [0, 1]: the second moment is -1; a mean of squares"),
        (moments(ZEROS, ONES, 0), "num_examples is 0; wanted is at least 1"),
    ],
)
def test_what_are_no_moments_is_told_before_it_is_sent(result, told):
    with pytest.raises(ResultError) as caught:
        checked_moments(result, SPEC)
    assert told in str(caught.value)
