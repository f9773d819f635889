"""A client of the demo: takes tasks, learns from its own drawings, reports; or fails, as its temper is.

It speaks the protocol itself, without the journal and the patience of the real client: nothing of it has to last.
"""

import hashlib
import io
import tempfile
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from threading import Event
from time import perf_counter

import msgspec
import numpy as np

from hansa.client.answers import decoded
from hansa.client.api import params_path
from hansa.client.calibration import Confidence
from hansa.client.errors import ApiError
from hansa.client.trainer import Config
from hansa.client.transport import JSON, Transport
from hansa.core.params import Array, Params
from hansa.formats import safetensors
from hansa.protocol.tasks import Task, TaskKind, TaskRelease, TaskReport, TaskRequest
from hansa.simulation.demo import perceptron

WAIT = 1
"""Seconds that the server may let a request for work wait."""
NO_TASK, CLOSED, REFUSED = 204, 409, 422
"""Statuses: nothing to do; the round went on without it; no update of this model."""
DEFAULT_LR = 0.3
BAD_ROUND = 3
"""In which a clumsy member sends numbers that are none, before it sends the right ones."""


class Temper(Enum):
    """How a member works."""

    STEADY = "steady"
    CLUMSY = "clumsy"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Examples:
    """What a member has: three quarters to learn from, the rest to test on."""

    images: Array
    kinds: Array

    @property
    def of_training(self) -> int:
        """How many are learned from."""
        return 3 * len(self.kinds) // 4


@dataclass(slots=True)
class Member:
    """One client; `work` until it is told to stop."""

    name: str
    transport: Transport
    examples: Examples
    temper: Temper = Temper.STEADY

    def work(self, stop: Event) -> None:
        """Take tasks and do them. Raises what the server's refusals are, but for rounds that have closed meanwhile."""
        asked = msgspec.json.encode(TaskRequest(instance=f"demo-{self.name}"))
        with self.transport.again() as transport:
            while not stop.is_set():
                answer = transport.request(
                    "POST", "/api/tasks/next/", content=asked, params={"wait": WAIT}, headers=JSON
                )
                if answer.status_code != NO_TASK:
                    self._do(transport, decoded(answer, Task))

    def _do(self, transport: Transport, task: Task) -> None:
        if self.temper is Temper.FAILING:
            reason = "MemoryError: the images of the second ward do not fit into memory"
            transport.call("POST", f"/api/tasks/{task.id}/release/", body=TaskRelease(failed=True, reason=reason))
            return
        path = task.params or params_path(task.model, task.version)
        params = safetensors_of(transport.request("GET", path).content)
        try:
            of_training = task.kind is TaskKind.TRAIN
            report = self._learned(transport, task, params) if of_training else self._tested(task, params)
            transport.call("POST", f"/api/tasks/{task.id}/report/", body=report)
        except ApiError as refusal:
            if refusal.status != CLOSED:
                raise

    def _learned(self, transport: Transport, task: Task, params: Params) -> TaskReport:
        began, rng = perf_counter(), np.random.default_rng(task.seed)
        count, lr = self.examples.of_training, float(task.config.get("client_lr") or DEFAULT_LR)
        images, kinds = self.examples.images[:count], self.examples.kinds[:count]
        for _ in range(int(task.config.get("epochs") or 1)):
            params = perceptron.trained(params, images, kinds, lr=lr, rng=rng)
        if self.temper is Temper.CLUMSY and task.round == BAD_ROUND:
            self._blunder(transport, task, params)
        return TaskReport(
            num_examples=count,
            digest=_sent(transport, task, params),
            metrics=perceptron.measured(params, images, kinds),
            seconds=perf_counter() - began,
        )

    def _blunder(self, transport: Transport, task: Task, params: Params) -> None:
        """Send what a learning rate that is too high makes; the server tells it from an update."""
        try:
            _sent(transport, task, {name: np.full_like(array, np.nan) for name, array in params.items()})
        except ApiError as refusal:
            if refusal.status != REFUSED:
                raise

    def _tested(self, task: Task, params: Params) -> TaskReport:
        """Also what a calibration asks for: nobody learns from these examples."""
        count = self.examples.of_training
        images, kinds = self.examples.images[count:], self.examples.kinds[count:]
        told = Confidence(Config.of(task))
        told.add(perceptron.logits(params, images), kinds)
        metrics = perceptron.measured(params, images, kinds) if task.kind is TaskKind.EVALUATE else {}
        return TaskReport(num_examples=len(kinds), metrics=metrics | told.metrics(), calibration=told.report())


def safetensors_of(content: bytes) -> Params:
    """The arrays in the bytes of a model."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return safetensors.read(Path(file.name))


def _sent(transport: Transport, task: Task, params: Params) -> str:
    file = io.BytesIO()
    safetensors.write(file, params)
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    transport.request("PUT", f"/api/tasks/{task.id}/update/{digest}/", content=file.getvalue())
    return digest
