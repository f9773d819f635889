"""A gigabyte that nobody wants is refused before it has come: `hansa serve` and a client that only knows sockets."""

import select
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import psutil
import pytest

from hansa.formats import safetensors
from hansa.protocol.tasks import LENGTH_HEADER
from hansa.protocol.trainings import TrainingCreate
from hansa.server.process import READ_AHEAD
from system.processes import Server, serving

GIGABYTE = 2**30
LITTLE = 4 * 2**20
ON_ITS_WAY = 40 * 2**20
"""What may have left the sender before a refusal reaches it: Linux lets a connection buffer 4 MiB there and 32 here."""
MODEL_LIMIT = 2**20
PIECE = b"\0" * 2**16
DIGEST = "0" * 64

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Upload:
    """What the client saw of one upload."""

    status: int
    was_told_to_continue: bool
    sent: int
    """Bytes of the body that the client could send."""


@dataclass(frozen=True)
class Place:
    """A server with a task that is leased, and who may report it."""

    server: Server
    paths: dict[str, str]
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("refusals")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HANSA_MAX_MODEL_BYTES", str(MODEL_LIMIT))
        with serving(folder / "server") as server:
            api = server.admin()
            first = folder / "first.safetensors"
            with first.open("wb") as file:
                safetensors.write(file, {"w": np.zeros(4, np.float32)})
            model = api.create_model(first, name="small").model_id
            token = api.enroll(api.invite("client", 3600.0).code).token
            training = api.create_training(TrainingCreate(model_id=model, plan={"rounds": 1}, clients=["client"]))
            api.start(training.training_id)
            asked = httpx.post(
                f"{server.url}/api/tasks/next/?wait=30",
                headers={"Authorization": f"Token {token}"},
                json={"instance": "laptop"},
                timeout=60,
            )
            paths = {"update": f"/api/tasks/{asked.json()['id']}/update/{DIGEST}/", "model": "/api/models/"}
            tokens = {"update": token, "model": api.create_token("uploads").token, "nobody": "hansa_" + DIGEST}
            yield Place(server, paths, tokens)


def upload(place: Place, what: str, token: str, *, expects: bool, announced: bool) -> Upload:
    """Send a gigabyte for as long as the server takes it."""
    headers = {
        "Host": f"127.0.0.1:{place.server.port}",
        "Authorization": f"Token {place.tokens[token]}",
        "Content-Type": "multipart/form-data; boundary=b" if what == "model" else "application/octet-stream",
        **({"Content-Length": str(GIGABYTE)} if announced else {"Transfer-Encoding": "chunked"}),
        **({LENGTH_HEADER: str(GIGABYTE)} if what == "update" else {}),
        **({"Expect": "100-continue"} if expects else {}),
    }
    method = "PUT" if what == "update" else "POST"
    head = [f"{method} {place.paths[what]} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection(("127.0.0.1", place.server.port), timeout=30) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, len(PIECE))
        client.sendall("\r\n".join([*head, "", ""]).encode())
        answer = b""
        if expects:
            answer = client.recv(2**16)
        told = answer.startswith(b"HTTP/1.1 100 ")
        answer = answer.partition(b"\r\n\r\n")[2] if told else answer
        sent = 0 if answer else _send_until_answered(client, announced=announced)
        answer = answer or client.recv(2**16)
    assert answer.startswith(b"HTTP/1.1 "), answer
    return Upload(int(answer.split()[1]), told, sent)


def _send_until_answered(client: socket.socket, *, announced: bool) -> int:
    sent = 0
    piece = PIECE if announced else b"%x\r\n%b\r\n" % (len(PIECE), PIECE)
    while sent < GIGABYTE:
        readable, writable, _ = select.select([client], [client], [], 30)
        if readable:
            return sent
        assert writable, f"the server neither reads nor answers after {sent} bytes"
        try:
            client.sendall(piece)
        except (ConnectionResetError, BrokenPipeError):
            return sent
        sent += len(PIECE)
    return sent


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
@pytest.mark.parametrize("expects", [True, False], ids=["expecting 100-continue", "sending at once"])
@pytest.mark.parametrize("token", ["bad token", "good token"])
@pytest.mark.parametrize("what", ["update", "model"])
def test_an_unwanted_gigabyte_is_refused_at_its_beginning(
    place: Place, what: str, token: str, expects: bool, announced: bool
) -> None:
    process = psutil.Process(place.server.pid)
    before = process.memory_info().rss
    good = token == "good token"

    seen = upload(place, what, what if good else "nobody", expects=expects, announced=announced)

    assert seen.status == (413 if good else 401)
    assert seen.sent < ON_ITS_WAY
    # Only the limit of a model's form, which comes in chunks, is not known before its bytes.
    if expects and not (good and what == "model" and not announced):
        assert (seen.was_told_to_continue, seen.sent) == (False, 0)
    assert process.memory_info().rss < before + 2 * LITTLE
    assert httpx.get(f"{place.server.url}/api/health/").status_code == 200


@pytest.mark.parametrize(("size", "status"), [(READ_AHEAD // 2, 200), (READ_AHEAD * 2, 431)])
def test_a_connection_buffers_no_more_than_its_share_of_the_memory(place: Place, size: int, status: int) -> None:
    """Seen by the head of a request, which has to be buffered whole; bodies are waited for in the same buffer."""
    seen = httpx.get(f"{place.server.url}/api/health/", headers={"X-Long": "a" * size})

    assert seen.status_code == status
