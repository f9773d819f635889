"""The server step of a round on the files of the store: stretch after stretch, with what it remembers of each.

What a step remembers, its memory, is a file of its own beside the version: a float64 vector for each name of its state,
as long as all params of float dtypes together, which stand in it in the model's data order. A round reads the memory of
the version that it began from and writes that of its own.

Elements go one by one, so the result does not depend on how they are cut or on which thread they are computed.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from typing import IO, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from hansa.core.finite import first_not_finite
from hansa.core.params import ArraySpec, Kind, ParamSpec
from hansa.core.server_steps import ServerStep, State
from hansa.crashpoints import crash_point
from hansa.formats import safetensors
from hansa.formats.chunks import Chunk
from hansa.formats.errors import NotFiniteError
from hansa.formats.layout import Layout, check_fits
from hansa.server.blobs import store
from hansa.server.blobs.digests import BLOCK, Digests
from hansa.server.blobs.store import BlobFile, CheckedBlob
from hansa.server.trainings.aggregation import Findings, aggregate
from hansa.server.trainings.services.aggregation import Job

Vector = NDArray[np.float64]
NUMBER = np.dtype("<f8")


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a round's computation."""

    version: Digests
    memory: Digests | None
    """None: its step remembers nothing."""


@dataclass(frozen=True, slots=True)
class Files:
    """The new files that a round's results are written to."""

    version: BlobFile
    memory: BlobFile | None

    def by_digest(self, made: Made) -> dict[str, Path]:
        """Which file will have which digest."""
        found = {made.version.sha256: self.version.path}
        if made.memory is not None and self.memory is not None:
            found[made.memory.sha256] = self.memory.path
        return found


@contextmanager
def files_for(job: Job) -> Iterator[Files]:
    """What is not placed in the store meanwhile is gone afterwards."""
    with ExitStack() as opened:
        version = opened.enter_context(_new_file())
        remembers = job.step is not None and job.step.initial()
        yield Files(version, opened.enter_context(_new_file()) if remembers else None)


@contextmanager
def _new_file() -> Iterator[BlobFile]:
    with BlobFile() as file:
        try:
            yield file
        finally:
            with suppress(OSError):
                file.path.unlink(missing_ok=True)


def compute(job: Job, files: Files, stopping: Event, findings: Findings | None = None) -> Made:
    """Aggregate, take the server step of the job, and write what comes of it. Raises as `aggregate`, and TornBlobError
    where the memory is damaged.
    """
    if job.step is None:
        return Made(aggregate(job, files.version, stopping, findings), None)
    with ExitStack() as opened:
        before = _memory(job, job.step, opened)
        after = None if files.memory is None else opened.enter_context(_Columns(_memory_spec(job), files.memory))
        stage = Stepping(job.step, _places(job.spec), before, after)
        version = aggregate(job, files.version, stopping, findings, stage)
        return Made(version, None if after is None else after.finish())


class Memory(Protocol):
    """What a step remembers of every param."""

    def stretch(self, start: int, size: int) -> State:
        """Of so many elements."""


@dataclass(frozen=True, slots=True)
class Stepping:
    """A `Stage` that takes a server step from the version that the round began from."""

    step: ServerStep
    places: Mapping[str, int]
    """Where each param begins in the memory."""
    before: Memory
    columns: "_Columns | None"

    def after(self, stretch: Chunk, combined: Vector, base: Vector) -> tuple[Vector, object]:
        """See `Stage`."""
        start = self.places[stretch[0].name] + stretch[0].start
        with np.errstate(over="ignore", invalid="ignore"):
            moved, state = self.step.step(combined - base, self.before.stretch(start, combined.size))
            values = base + moved
        for name, vector in state.items():
            if first_not_finite(vector) is not None:
                raise NotFiniteError(
                    f"what the server step remembers as {name!r} is not finite in {stretch[0].name!r} or one of the "
                    f"{len(stretch) - 1} arrays after it: the clients' updates are too large to be squared or added "
                    "up. Lower their learning rate."
                )
        return values, state

    def keep(self, stretch: Chunk, kept: object) -> None:
        """See `Stage`."""
        del stretch
        if self.columns is not None:
            self.columns.append(cast("State", kept))  # what `after` returned


def _floats(spec: ParamSpec) -> Iterator[ArraySpec]:
    """The params that a step acts on, as they follow each other."""
    return (array for array in spec.in_data_order if array.kind is Kind.PARAM and np.dtype(array.dtype).kind == "f")


def _places(spec: ParamSpec) -> dict[str, int]:
    places, end = {}, 0
    for array in _floats(spec):
        places[array.name], end = end, end + array.size
    return places


def _memory_spec(job: Job) -> ParamSpec:
    """The vectors of the job's memory."""
    size, names = sum(array.size for array in _floats(job.spec)), job.step.initial() if job.step is not None else ()
    return ParamSpec(tuple(ArraySpec(name, NUMBER.name, (size,)) for name in sorted(names)))


def _memory(job: Job, step: ServerStep, opened: ExitStack) -> Memory:
    """What stands with the version that the round began from."""
    if job.memory is None:
        return _Beginning(step.initial())
    known = job.memory
    source = opened.enter_context(CheckedBlob(known.digest, known.checksums, known.size))
    layout = safetensors.read_layout(source, known.size)
    check_fits(layout, _memory_spec(job))
    return _Stored(source, layout)


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The memory before the first round, which is not stored."""

    values: Mapping[str, float]

    def stretch(self, start: int, size: int) -> State:
        """See `Memory`."""
        del start
        return {name: np.full(size, value) for name, value in self.values.items()}


@dataclass(frozen=True, slots=True)
class _Stored:
    """A memory in the store; every block that is read is compared with its checksum."""

    source: CheckedBlob
    layout: Layout

    def stretch(self, start: int, size: int) -> State:
        """See `Memory`."""
        return {array.name: self._read(array.start + NUMBER.itemsize * start, size) for array in self.layout.arrays}

    def _read(self, offset: int, size: int) -> Vector:
        vector = np.empty(size, NUMBER)
        self.source.read_into(offset, vector.data.cast("B"))
        return vector


def _nameless(folder: Path) -> IO[bytes]:
    return TemporaryFile(buffering=0, dir=folder)


class _Columns:
    """Vectors that grow side by side, and in the file come one behind the other.

    The first is written there as it comes; the others wait in files without a name, which nobody has to clear away.
    """

    def __init__(self, spec: ParamSpec, out: BlobFile) -> None:
        self._out = out
        self._first, *others = [array.name for array in spec]
        self._opened = ExitStack()
        self._waiting = {name: self._opened.enter_context(_nameless(out.path.parent)) for name in others}
        out.write(safetensors.canonical(spec)[0])

    def __enter__(self) -> "_Columns":
        return self

    def __exit__(self, *exc: object) -> None:
        self._opened.close()

    def append(self, state: State) -> None:
        """The next stretch of each."""
        for name, vector in state.items():
            data = np.ascontiguousarray(vector, NUMBER).data.cast("B")
            if name == self._first:
                self._out.write(data)
            else:
                store.write_all(self._waiting[name].fileno(), data)

    def finish(self) -> Digests:
        """The whole file, flushed to the disk."""
        for file in self._waiting.values():
            file.seek(0)
            while piece := file.read(BLOCK):
                self._out.write(piece)
        crash_point("aggregation.memory")
        return self._out.finish()
