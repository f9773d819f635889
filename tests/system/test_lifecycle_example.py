"""The example of a Django project over the lifecycle, served as its how-to says, by either server."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from support.serving import NO_TLS
from system.processes import end, eventually, free_port

EXAMPLE = Path(__file__).parents[2] / "examples" / "lifecycle"
SERVERS = {
    "granian": ["--interface", "asgi", "--loop", "uvloop", "--workers-kill-timeout", "1"],
    "uvicorn": ["--timeout-graceful-shutdown", "1"],
}
AUTH = ("anna", "hanse-1241-cogs")


@pytest.fixture(scope="module", params=SERVERS)
def notes(request, tmp_path_factory):
    """The URL of the example."""
    folder = tmp_path_factory.mktemp("notes")
    variables = {
        "DJANGO_SETTINGS_MODULE": "notes.settings",
        "NOTES_DATA": str(folder),
        "DJANGO_SUPERUSER_PASSWORD": AUTH[1],
    }
    environment = {**os.environ, **variables}
    for command in ("migrate --verbosity 0", f"createsuperuser --noinput --username {AUTH[0]} --email a@example.org"):
        subprocess.run([sys.executable, "-m", "django", *command.split()], cwd=EXAMPLE, env=environment, check=True)
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                request.param,
                *SERVERS[request.param],
                "--port",
                str(port),
                "notes.asgi:application",
            ],
            cwd=EXAMPLE,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        eventually(lambda: _answers(url, process), f"{request.param} serves the example")
        yield url
    finally:
        end(process)


def _answers(url, process):
    assert process.poll() is None
    try:
        return httpx.get(f"{url}/count/", verify=NO_TLS).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture
def anna(notes):
    with httpx.Client(base_url=notes, auth=AUTH, timeout=30) as client:
        yield client


def write(client, text):
    answer = client.post("/notes/", json={"text": text})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def test_a_note_that_is_written_wakes_whoever_waits_for_it(anna):
    first = write(anna, "first")
    with ThreadPoolExecutor(1) as threads, httpx.Client(base_url=anna.base_url, auth=AUTH, timeout=30) as other:
        waiting = threads.submit(other.get, "/notes/newer/", params={"after": first, "wait": 20})
        second = write(anna, "second")
        assert [note["id"] for note in waiting.result().json()] == [second]


def test_events_come_as_they_happen_and_from_the_last_one_seen(anna):
    seen = write(anna, "seen")
    missed = write(anna, "missed")
    with anna.stream("GET", "/events/", headers={"Last-Event-ID": str(seen)}) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("id:"))
        assert next(lines) == f"id: {missed}"
        with httpx.Client(base_url=anna.base_url, auth=AUTH) as other:
            new = write(other, "new")
        assert next(lines) == f"id: {new}"


def test_a_file_goes_up_is_compared_with_its_hash_and_comes_back_in_parts(anna):
    body = os.urandom(2_000_000)
    digest = hashlib.sha256(body).hexdigest()

    assert anna.put("/files/cargo", content=body, params={"sha256": "0"}).status_code == 400
    assert anna.get("/files/cargo").status_code == 404
    assert anna.put("/files/cargo", content=body, params={"sha256": digest}).json() == {"sha256": digest}
    part = anna.get("/files/cargo", headers={"Range": "bytes=1000000-1000999"})

    assert (part.status_code, part.content) == (206, body[1_000_000:1_001_000])


def test_only_its_author_deletes_a_note(anna):
    written = write(anna, "to be deleted")

    assert httpx.delete(f"{anna.base_url}/notes/{written}/").status_code == 401
    assert anna.delete(f"/notes/{written}/").status_code == 204
    assert anna.get(f"/notes/{written}/").status_code == 404
