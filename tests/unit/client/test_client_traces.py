"""Every request is a step of a trace: all that comes of one task of the same one, whatever happens meanwhile."""

import threading

from running import AddOne
from scripted_server import TOKEN, ScriptedServer, status

from hansa.client import Transport
from hansa.client.events import Reported
from hansa.client.journal import Journal
from hansa.protocol.tasks import TaskKind


def traces(server: ScriptedServer) -> dict[str, set[str]]:
    """Path → the traces of its requests."""
    found: dict[str, set[str]] = {}
    for request, span in zip(server.requests, server.spans, strict=True):
        assert span is not None, request
        found.setdefault(request.split("/")[-2] if "/update/" not in request else "update", set()).add(span.trace_id)
    return found


def test_what_a_client_does_for_a_task_is_one_trace_and_each_request_a_step(server, start):
    server.fail_once("POST", "/report/", status(503))
    server.offer()
    start().until(Reported)

    found, asked = traces(server), server.requests.index("POST /api/tasks/next/")
    (trace,) = found["report"]
    assert found["update"] == found["params"] == {trace}
    assert server.spans[asked].trace_id == trace, "from the question for work on"
    steps = [span.span_id for span in server.spans]
    assert len(set(steps)) == len(steps)


def test_another_task_is_another_trace(server, start):
    server.offer(kind=TaskKind.EVALUATE, number=1)
    server.offer(kind=TaskKind.EVALUATE, number=2)
    start().until(Reported, times=2)

    assert len(traces(server)["report"]) == 2


def test_signs_of_life_belong_to_the_trace(server, start):
    alive = threading.Event()

    def noticed(handler):
        alive.set()
        return False

    class Slow(AddOne):
        def train(self, params, config):
            assert alive.wait(20)
            return super().train(params, config)

    server.faults.append(("POST", "/heartbeat/", noticed))
    server.offer(lease_seconds=0.1)
    start(Slow()).until(Reported)

    found = traces(server)
    assert found["heartbeat"] == found["report"]


def test_the_trace_of_a_task_goes_on_after_its_client_was_killed(server, start, monkeypatch):
    def die(self, *arguments):
        raise Killed

    server.offer()
    with monkeypatch.context() as context:
        context.setattr(Journal, "uploaded", die)
        assert isinstance(start().join().error, Killed)
    before = traces(server)["update"]
    start().until(Reported)

    assert traces(server)["report"] == traces(server)["update"] == before


class Killed(BaseException):
    """Stands for kill -9."""


def test_without_a_trace_each_request_is_one_of_its_own(server):
    with Transport(server.url, TOKEN) as transport, transport.again() as other:
        for each in (transport, transport, other):
            each.request("HEAD", "/api/tasks/x/update/y/")
        assert len({span.trace_id for span in server.spans}) == 3

        trace = transport.trace()
        for each in (transport, other):
            each.request("HEAD", "/api/tasks/x/update/y/")
        assert {span.trace_id for span in server.spans[3:]} == {trace}

        assert transport.trace("ab" * 16) == "ab" * 16
        other.request("HEAD", "/api/tasks/x/update/y/")
        assert server.spans[-1].trace_id == "ab" * 16
