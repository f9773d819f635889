"""A client of the older platform, written from its contract alone: it is told what to do by POST, and answers later.

The receiver is a plain `http.server` on a port of its own. It acknowledges a notification and does the work in a thread
beside it: fetch the model under the id that was told, train it with torch, send it back under that same id as one
multipart body, and report tests as urlencoded metrics; all with Basic auth.
"""

import io
import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import httpx
import numpy as np
import torch
from torch.nn.utils import parameters_to_vector

Message = dict[str, Any]  # Any: JSON
State = dict[str, "np.ndarray[Any, Any]"]  # Any: whatever the model holds

ANSWERS = {
    "TRAINING_START": 200,
    "TRAINING_FINISHED": 200,
    "UPDATE_ROUND_START": 202,
    "SWAG_ROUND_START": 202,
    "MODEL_TEST_ROUND": 202,
}
STEPS = 3


class Net(torch.nn.Module):
    """Something of everything: a convolution, batch norm with its buffers, dropout, a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(1, 2, 3)
        self.norm = torch.nn.BatchNorm2d(2)
        self.dropout = torch.nn.Dropout(0.25)
        self.head = torch.nn.Linear(2 * 4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images of 6 by 6 to the logits of three classes."""
        x = torch.relu(self.norm(self.conv(x)))
        logits: torch.Tensor = self.head(self.dropout(x.flatten(1)))
        return logits


def saved(module: torch.nn.Module) -> bytes:
    """The module in the form in which it was loaded: TorchScript stays TorchScript."""
    stream = io.BytesIO()
    if isinstance(module, torch.jit.ScriptModule):
        torch.jit.save(module, stream)
    else:
        torch.save(module, stream)
    return stream.getvalue()


def loaded(content: bytes) -> torch.nn.Module:
    """As the older client loads what its server sends: it trusts it."""
    try:
        module: torch.nn.Module = torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]  # torch's own gap
    except RuntimeError:
        module = torch.load(io.BytesIO(content), weights_only=False)
    return module


def state_of(module: torch.nn.Module) -> State:
    """A copy of all arrays."""
    return {name: tensor.detach().numpy().copy() for name, tensor in module.state_dict().items()}


@dataclass(frozen=True)
class Sent:
    """A local model that was sent, and what came of it."""

    round: int
    to: str
    """The id that was told, and sent to."""
    state: State
    sample_size: int
    content: bytes
    status: int


@dataclass
class Habits:
    """What this client does otherwise than one should. Each is called with the round, before the update is sent."""

    before_upload: Callable[[int], None] = lambda number: None
    spoilt_first: Callable[[int], bytes | None] = lambda number: None
    """Something else that is sent first."""
    times: int = 1
    """How often each update is sent."""
    mu: float = 0.0
    """Of FedProx's proximal term; the older platform leaves it to the client."""


@dataclass
class OlderClient:
    """One of them. `start` it, and `stop` it."""

    server: str
    username: str
    password: str
    seed: int
    examples: int = 10
    habits: Habits = field(default_factory=Habits)

    def __post_init__(self) -> None:
        self.notifications: list[Message] = []
        self.sent: list[Sent] = []
        self.moments: dict[int, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = {}
        """By round, as it sent them."""
        self.faults: list[BaseException] = []
        self.finished = threading.Event()
        self._http = httpx.Client(base_url=self.server, auth=(self.username, self.password), timeout=60)
        self._receiver = HTTPServer(("127.0.0.1", 0), self._handler())
        self._listening = threading.Thread(target=self._receiver.serve_forever, kwargs={"poll_interval": 0.05})
        self._working: list[threading.Thread] = []
        generator = torch.Generator().manual_seed(self.seed)
        self._images = torch.randn(self.examples, 1, 6, 6, generator=generator)
        self._classes = torch.randint(0, 3, (self.examples,), generator=generator)

    @property
    def endpoint(self) -> str:
        """Where it wants to be told."""
        return f"http://127.0.0.1:{self._receiver.server_port}/"

    def start(self) -> None:
        """Listen."""
        self._listening.start()

    def stop(self) -> None:
        """Finish what is begun, and listen no more."""
        self._receiver.shutdown()
        self._receiver.server_close()
        self._listening.join(60)
        self.join()
        self._http.close()

    def join(self) -> None:
        """Wait until all that it was told to do is done."""
        for thread in self._working:
            thread.join(60)

    def told(self, kind: str) -> list[int]:
        """The rounds of the notifications of a kind, in the order in which they came."""
        return [each["body"]["round"] for each in self.notifications if each["notification_type"] == kind]

    def _handler(client) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # inside, self is the request's
        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                client.notifications.append(body)
                answered = threading.Event()
                thread = threading.Thread(target=client._obey_once, args=(answered, body))
                thread.start()  # before it is in the list: whoever joins those may come in between
                client._working.append(thread)
                try:
                    self.send_response(ANSWERS[body["notification_type"]])
                    self.end_headers()
                finally:
                    answered.set()

            def log_message(self, *arguments: object) -> None:
                pass

        return Receiver

    def _obey_once(self, answered: threading.Event, told: Message) -> None:
        answered.wait()
        self._obey(told)

    def _obey(self, told: Message) -> None:
        kind, body = told["notification_type"], told["body"]
        try:
            match kind:
                case "UPDATE_ROUND_START":
                    self._train(body["global_model_uuid"], body["round"])
                case "SWAG_ROUND_START":
                    self._collect(body["global_model_uuid"], body["round"])
                case "MODEL_TEST_ROUND":
                    self._test(body["global_model_uuid"])
                case "TRAINING_FINISHED":
                    self.finished.set()
        except BaseException as error:  # noqa: BLE001  # the test reads it: a thread has nobody else to tell
            self.faults.append(error)

    def _fetch(self, model_id: str) -> torch.nn.Module:
        answer = self._http.get(f"/api/models/{model_id}/")
        assert answer.status_code == 200, answer.text
        return loaded(answer.content)

    def _train(self, model_id: str, number: int) -> None:
        module = self._fetch(model_id)
        loss = self._descend(module, number)
        self.habits.before_upload(number)
        if (spoilt := self.habits.spoilt_first(number)) is not None:
            assert self._upload(model_id, number, spoilt, loss).status_code == 400
        content = saved(module)
        for _ in range(self.habits.times):
            answer = self._upload(model_id, number, content, loss)
            self.sent.append(Sent(number, model_id, state_of(module), self.examples, content, answer.status_code))

    def _upload(self, model_id: str, number: int, content: bytes, loss: float) -> httpx.Response:
        data: Message = {
            "owner": self.username,
            "round": str(number),
            "sample_size": str(self.examples),
            "metric_names": ["loss"],
            "metric_values": [str(loss)],
        }
        return self._http.post(f"/api/models/{model_id}/", data=data, files={"model_file": ("tmp1a2b", content)})

    def _descend(self, module: torch.nn.Module, number: int, seen: list[torch.Tensor] | None = None) -> float:
        """A few steps of SGD, with the proximal term if there is one; `seen` gets the params after each step."""
        torch.manual_seed(1000 * self.seed + number)
        module.train()
        start = [param.detach().clone() for param in module.parameters()]
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        last = 0.0
        for _ in range(STEPS):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(self._images), self._classes)
            if self.habits.mu:
                drift = sum(((param - old) ** 2).sum() for param, old in zip(module.parameters(), start, strict=True))
                loss = loss + self.habits.mu / 2 * drift
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own gap
            optimizer.step()
            last = float(loss.detach())
            if seen is not None:
                seen.append(parameters_to_vector(module.parameters()).detach().clone())
        return last

    def _collect(self, model_id: str, number: int) -> None:
        """SWAG: the mean of the params over some steps, and of their squares, in the order of `parameters()`."""
        seen: list[torch.Tensor] = []
        self._descend(self._fetch(model_id), number, seen)
        vectors = torch.stack(seen)
        first, second = vectors.mean(0), (vectors**2).mean(0)
        self.moments[number] = first.numpy(), second.numpy()
        files = {
            "first_moment_file": ("m1", _saved_tensor(first)),
            "second_moment_file": ("m2", _saved_tensor(second)),
        }
        data = {"round": str(number), "sample_size": str(self.examples)}
        answer = self._http.post(f"/api/models/{model_id}/swag/", data=data, files=files)
        assert answer.status_code == 201, answer.text

    def _test(self, model_id: str) -> None:
        module = self._fetch(model_id).eval()
        with torch.no_grad():
            right = (module(self._images).argmax(1) == self._classes).float().mean()
        data = {"metric_names": ["accuracy", "note"], "metric_values": [str(float(right)), "tested"]}
        answer = self._http.post(f"/api/models/{model_id}/metrics/", data=data)
        assert answer.status_code == 201, answer.text


def _saved_tensor(tensor: torch.Tensor) -> bytes:
    stream = io.BytesIO()
    torch.save(tensor, stream)
    return stream.getvalue()


def _never(number: int) -> None:
    print("training", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    # A client that says where it listens, and when it has begun to train; it trains until somebody kills it.
    server, username, password = sys.argv[1:]
    program = OlderClient(server, username, password, seed=0, habits=Habits(before_upload=_never))
    print(program.endpoint, flush=True)
    program.start()
