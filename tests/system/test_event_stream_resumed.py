"""A server that is killed in the middle of an event stream: who comes again gets each event once, in order."""

import json
from itertools import islice

import pytest

from support.serving import PASSWORD, furnish, serving
from support.work import file_of, small_params

SEEN_BEFORE = 7
HALTS = 10


@pytest.fixture
def home(tmp_path):
    return furnish(tmp_path / "home")


def signed_in(server):
    client = server.client()
    client.auth = ("root", PASSWORD)
    return client


def started(http):
    form = {"data": {"name": "m", "description": ""}, "files": {"model_file": ("m", file_of(small_params()).content)}}
    model = http.post("/api/models/", **form).json()["model_id"]
    http.post("/api/users/", json={"username": "anna", "password": PASSWORD, "client": True})
    body = {"model_id": model, "plan": {"rounds": 9}, "clients": ["anna"]}
    training = http.post("/api/trainings/", json=body).json()["training_id"]
    assert http.post(f"/api/trainings/{training}/start/").status_code == 202
    return training


def halt_and_go_on(http, training, times):
    for _ in range(times):
        for act in ("pause", "resume"):
            assert http.post(f"/api/trainings/{training}/{act}/").status_code == 202


def sent(response):
    """The numbers and kinds of events, as they come."""
    number = None
    for line in response.iter_lines():
        if line.startswith("id: "):
            number = int(line.removeprefix("id: "))
        elif line.startswith("data: "):
            yield number, json.loads(line.removeprefix("data: "))["kind"]


def test_each_event_comes_once_though_the_server_is_killed_in_between(home):
    wants = {"Accept": "text/event-stream"}
    seen = []
    with serving(home) as server, signed_in(server) as http:
        training = started(http)
        url = f"/api/trainings/{training}/events/"
        halt_and_go_on(http, training, HALTS)
        with http.stream("GET", url, headers=wants) as response:
            seen.extend(islice(sent(response), SEEN_BEFORE))
            halt_and_go_on(http, training, 1)
            server.kill()  # what was on its way is lost: the reader has not seen it

    with serving(home) as server, signed_in(server) as http:
        last = str(seen[-1][0])
        with http.stream("GET", url, headers={**wants, "Last-Event-ID": last}) as response:
            events = sent(response)
            while seen[-1][1] != "training.cancelled":
                seen.append(next(events))
                if len(seen) == 2 * SEEN_BEFORE:
                    halt_and_go_on(http, training, HALTS)
                    assert http.post(f"/api/trainings/{training}/cancel/").status_code == 202
        whole = http.get(f"{url}?limit=1000").json()["events"]

    assert seen == [(event["id"], event["kind"]) for event in whole][: len(seen)]
    assert [kind for _, kind in seen].count("training.paused") == 2 * HALTS + 1
