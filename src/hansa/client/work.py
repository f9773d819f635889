"""One task done by the trainer: model in from disk, result checked and out to disk. No network."""

import hashlib
from pathlib import Path
from time import perf_counter

from hansa.client.journal import Outcome
from hansa.client.results import checked_evaluation, checked_training
from hansa.client.trainer import Config, Trainer, TrainResult
from hansa.core.params import Kind, ParamSpec
from hansa.formats.safetensors import read, read_layout, write
from hansa.protocol.tasks import Task, TaskKind

REASON_LENGTH = 500


class TrainerFailed(Exception):  # noqa: N818 - it says what happened
    """The user's code raised; the text is one line, fit for the wire, the traceback is that of `__cause__`."""


class Workbench:
    """Runs the trainer. `inside` is True while user code runs: only there may a signal break in with an exception."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.inside = False

    def do(self, task: Task, config: Config, model: Path, update: Path) -> Outcome:
        """Train from the file `model` and write the file `update`, or evaluate `model`.

        Raises TrainerFailed for what user code raised, ResultError for what it returned.
        """
        if task.kind is TaskKind.EVALUATE:
            return self._evaluate(model, config)
        return self._train(model, update, config)

    def _train(self, model: Path, update: Path, config: Config) -> Outcome:
        began = perf_counter()
        result = self._call("train", model, config)
        seconds = perf_counter() - began
        spec = _spec(model)
        checked = checked_training(result, spec)
        digest, size = _written(update, checked, spec)
        return Outcome(
            num_examples=checked.num_examples,
            metrics=dict(checked.metrics),
            seconds=seconds,
            digest=digest,
            size=size,
        )

    def _evaluate(self, model: Path, config: Config) -> Outcome:
        began = perf_counter()
        checked = checked_evaluation(self._call("evaluate", model, config))
        return Outcome(num_examples=checked.num_examples, metrics=dict(checked.metrics), seconds=perf_counter() - began)

    def _call(self, method: str, model: Path, config: Config) -> object:
        params = read(model)
        try:
            self.inside = True
            return getattr(self._trainer, method)(params, config)
        except Exception as error:
            raise TrainerFailed(one_line(error)) from error
        finally:
            self.inside = False


def one_line(error: BaseException) -> str:
    """An exception as its type and text, short enough for a reason on the wire."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= REASON_LENGTH else f"{text[: REASON_LENGTH - 1]}…"


def _spec(model: Path) -> ParamSpec:
    with model.open("rb") as file:
        return read_layout(file, model.stat().st_size).spec()


def _written(path: Path, result: TrainResult, spec: ParamSpec) -> tuple[str, int]:
    """Write the update and return its digest and size."""
    buffers = frozenset(array.name for array in spec if array.kind is Kind.BUFFER)
    with path.open("wb+") as file:
        layout = write(file, result.params, buffers)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest(), layout.size
