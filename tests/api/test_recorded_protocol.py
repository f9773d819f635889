"""A client that speaks as one of version 1 did is served: its recorded requests are taken, the answers readable."""

import json
from pathlib import Path

import jsonschema
import pytest

from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Task
from support.work import add_up, lease, settle, start, update, upload, upload_and_report

RECORDS = Path(__file__).parents[1] / "golden" / "protocol"
VERSIONS = {"v1": 1, "v2": 2}

pytestmark = pytest.mark.parametrize("version", VERSIONS)


def said(version, name):
    """What clients of this version send, as recorded."""
    return [example["sent"] for example in json.loads(text_of(version, name))["examples"]]


def text_of(version, name):
    return (RECORDS / version / f"tasks.{name}.json").read_text(encoding="utf-8")


def readable(version, name, answer):
    """The answer, which who knows that version only can read."""
    assert answer.status_code == 200, answer.text
    jsonschema.Draft202012Validator(json.loads(text_of(version, name))["schema"]).validate(answer.json())
    return answer.json()


async def test_a_round_is_done_by_the_recorded_messages(version, bob, started):
    for request in said(version, "TaskRequest"):
        asked = {**request, "instance": "laptop", **({"protocol": VERSIONS[version]} if "protocol" in request else {})}
        task = readable(version, "Task", await bob.post("/api/tasks/next/", json=asked))
    assert (task["kind"], task["protocol"]) == ("train", 1), "no more is needed to do it than version 1"

    for beat in said(version, "Heartbeat"):
        answer = await bob.post(f"/api/tasks/{task['id']}/heartbeat/", json=beat)
        assert readable(version, "HeartbeatAnswer", answer)["proceed"]
    file = update(1.0)
    readable(version, "Upload", await bob.put(f"/api/tasks/{task['id']}/update/{file.digest}/", content=file.content))
    reports = [{**report, "digest": file.digest} for report in said(version, "TaskReport") if report.get("digest")]
    assert reports
    for report in reports:
        receipt = readable(version, "Receipt", await bob.post(f"/api/tasks/{task['id']}/report/", json=report))
    assert (receipt["verdict"], receipt["digest"]) == ("accepted", file.digest)


@pytest.mark.parametrize("which", range(2))
async def test_an_evaluation_is_reported_by_the_recorded_messages(version, which, bob, evaluating):
    task = await call(lease, bob)
    report = [report for report in said(version, "TaskReport") if report.get("digest") is None][which]

    assert readable(version, "Receipt", await bob.post(f"/api/tasks/{task.id}/report/", json=report))["digest"] is None


@pytest.mark.parametrize("which", range(2))
async def test_a_task_is_given_back_by_the_recorded_messages(version, which, bob, started):
    task = await call(lease, bob)

    release = said(version, "TaskRelease")[which]
    assert (await bob.post(f"/api/tasks/{task.id}/release/", json=release)).status_code == 204
    assert (await read(Task.objects.get, id=task.id)).reason == release["reason"]


async def test_a_late_update_of_such_a_client_gets_a_receipt_that_it_can_read(version, bob, carol, make_training):
    training = await call(
        lambda: start(make_training(bob, carol, rounds=2, closing={"quorum": 1}, late={"kind": "fold"}))
    )
    late, file = await call(lease, bob), update(1.0)
    await finish_first_round(carol, training)
    readable(version, "HeartbeatAnswer", await bob.post(f"/api/tasks/{late.id}/heartbeat/", json={}))
    await upload(bob, late, file)
    (report, *_) = [each for each in said(version, "TaskReport") if each.get("digest")]
    answer = await bob.post(f"/api/tasks/{late.id}/report/", json={**report, "digest": file.digest})

    assert readable(version, "Receipt", answer)["verdict"] == "accepted"


async def finish_first_round(client, training):
    await upload_and_report(client, await call(lease, client), update(2.0))
    await call(settle, training)
    await call(add_up, training)
