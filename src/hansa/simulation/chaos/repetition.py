"""Every version of a training computed again from what the record says it came of.

The clients' updates are computed again, not read: they are pure functions of where each began and of its seed. Then
they are added in the order of the accepted list, one after the other, and the bytes compared by their digests.
"""

import hashlib
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from hansa.core.moments import FIRST, SECOND
from hansa.core.params import Array, Params
from hansa.core.seeds import client_seed
from hansa.formats import safetensors
from hansa.formats.errors import ModelFileError
from hansa.protocol.tasks import TaskKind
from hansa.rounds import plan as plans
from hansa.rounds.states import RoundState
from hansa.simulation.chaos.record import Record, Round, Task, Training
from hansa.simulation.chaos.trainer import BUFFERS, gathered, num_examples, trained

Weighted = tuple[Params, float]


def mean(updates: Sequence[Weighted]) -> dict[str, Array]:
    """Σ nᵢ·xᵢ / Σ nᵢ in float64, one update after the other, rounded once. Integers: in fractions, cut off.

    >>> mean([({"w": np.float32([1, 10])}, 1), ({"w": np.float32([4, 40])}, 2)])
    {'w': array([ 3., 30.], dtype=float32)}
    """
    total = 0.0
    for _, weight in updates:
        total += weight
    means = {}
    for name, like in updates[0][0].items():
        if like.dtype.kind in "iu":
            means[name] = _of_integers([(params[name], weight) for params, weight in updates])
            continue
        first, *others = (np.asarray(params[name], np.float64) * float(weight) for params, weight in updates)
        for product in others:
            first = first + product
        means[name] = np.asarray(first / total).astype(like.dtype)
    return means


def _of_integers(arrays: Sequence[tuple[Array, float]]) -> Array:
    like, _ = arrays[0]
    total = sum(Fraction(weight) for _, weight in arrays)
    sums = sum(array.reshape(-1).astype(object) * Fraction(weight) for array, weight in arrays)
    return np.array([int(number / total) for number in np.atleast_1d(sums)], like.dtype).reshape(like.shape)


def digest(params: Params, buffers: frozenset[str] = BUFFERS) -> str:
    """SHA-256 of the params' canonical file."""
    file = io.BytesIO()
    safetensors.write(file, params, buffers)
    return hashlib.sha256(file.getvalue()).hexdigest()


@dataclass
class Repetition:
    """One training, round after round."""

    record: Record
    training: Training
    _versions: dict[int, Params] = field(default_factory=dict)
    """By the version's row."""
    _updates: dict[tuple[int, int], Params] = field(default_factory=dict)
    """Of the rounds that count, by (round, ordinal)."""
    _computed: Counter[int] = field(default_factory=Counter)
    """How often each version's row was computed again."""

    def differences(self) -> Iterator[str]:
        """What differs from the record, in words; nothing where every bit is the same."""
        try:
            yield from self._differences()
        except (KeyError, ModelFileError) as error:
            yield f"training {self.training.name} cannot be computed again: {error!r} is not in the record"
        for version in self.record.versions.values():
            times = self._computed[version.id]
            if version.model == self.training.model and version.number and times != 1:
                yield f"version {version.number} of training {self.training.name} was computed again {times} times"

    def _differences(self) -> Iterator[str]:
        by_number = {row.number: row for row in self.record.versions.values() if row.model == self.training.model}
        first = by_number[0]
        self._versions[first.id] = safetensors.read(self.record.files[first.digest])
        for row in self.record.rounds_of[self.training.id]:
            if row.state == RoundState.ABANDONED.value or not row.accepted:
                continue
            if row.base in self._versions:
                yield from self._round(row)
            else:
                yield f"{row.title} cannot be computed again: its base, version row {row.base}, was not"

    def _round(self, row: Round) -> Iterator[str]:
        tasks = {(task.kind, task.ordinal): task for task in self.record.tasks_of[row.id]}
        for ordinal, listed, _ in row.accepted:
            self._updates[row.number, ordinal] = self._update(row, tasks[TaskKind.TRAIN.value, ordinal])
            if (again := digest(self._updates[row.number, ordinal])) != listed:
                yield f"the update of client {ordinal} in {row.title} is {listed}; computed again it is {again}"
        if row.version is None:
            return
        yield from self._against_the_rules(row)
        self._versions[row.version] = mean([*self._listed(row), *self._folded(row)])
        self._computed[row.version] += 1
        version = self.record.versions[row.version]
        if (again := digest(self._versions[row.version])) != version.digest:
            yield f"version {version.number} of {row.title} is {version.digest}; computed again it is {again}"
        if version.moments is not None and (again := self._moments(row)) != version.moments:
            yield f"the moments of {row.title} are {version.moments}; computed again they are {again}"

    def _against_the_rules(self, row: Round) -> Iterator[str]:
        """Lists in another order than the canonical one, or with other weights: their mean would be their own.

        A late update weighs n·(1 + τ)^-a; its last bits are the server's to choose.
        """
        if not _rises([line[0] for line in row.accepted]):
            yield f"the accepted list of {row.title} is not in the order of joining"
        if not _rises([(line[3], line[0]) for line in row.folded]):
            yield f"the late updates of {row.title} are not in the order of rounds and of joining"
        exponent = getattr(plans.parse(dict(self.training.plan)).late, "exponent", math.nan)
        late = [(line[0], line[2], (1 + row.number - line[3]) ** -exponent) for line in row.folded]
        for ordinal, weight, share in [*((line[0], line[2], 1.0) for line in row.accepted), *late]:
            if not math.isclose(weight, wanted := num_examples(ordinal) * share, rel_tol=1e-12):
                yield f"in {row.title} the update of client {ordinal} weighs {weight} instead of {wanted}"

    def _listed(self, row: Round) -> Iterator[Weighted]:
        for ordinal, _, weight in row.accepted:
            yield self._updates[row.number, ordinal], weight

    def _folded(self, row: Round) -> Iterator[Weighted]:
        """Late updates of earlier rounds, each computed from what its own round began with."""
        for ordinal, listed, weight, number in row.folded:
            attempts = [of for of in self.record.rounds_of[self.training.id] if of.number == number]
            tasks = [task for of in attempts for task in self.record.tasks_of[of.id] if task.ordinal == ordinal]
            late = next((task for task in tasks if self._is_of(task, listed)), None)
            if late is None:
                raise KeyError(f"the late update {listed} of client {ordinal}")
            yield self._update(self.record.rounds[late.round], late), weight

    def _is_of(self, task: Task, listed: str) -> bool:
        update = self.record.updates.get(task.id)
        return task.kind == TaskKind.TRAIN.value and update is not None and update.digest == listed

    def _update(self, row: Round, task: Task) -> dict[str, Array]:
        source = None if task.source is None else self.record.tasks[task.source]
        if source is None:
            base = self._versions[row.base]
        else:
            base = self._updates[self.record.rounds[source.round].number, source.ordinal]
        return trained(base, seed=client_seed(self.training.seed, row.number, task.ordinal))

    def _moments(self, row: Round) -> str:
        version = self._versions[row.version or 0]
        order = [name for name in sorted(version) if name not in BUFFERS]
        vectors: list[Weighted] = []
        for ordinal, _, weight in row.moments_accepted:
            first, second = gathered(version, seed=client_seed(self.training.seed, row.number, ordinal))
            vectors.append(({FIRST: _joined(first, order), SECOND: _joined(second, order)}, weight))
        return digest(mean(vectors), frozenset())


def _joined(arrays: Params, order: Sequence[str]) -> Array:
    return np.array([number for name in order for number in arrays[name].flat], np.float64)


def _rises(keys: Sequence[Any]) -> bool:  # Any: what can be compared
    return all(before < after for before, after in pairwise(keys))


def torn(files: Mapping[str, Path]) -> Iterator[str]:
    """Files of the store whose bytes are not those of their name."""
    for name, path in files.items():
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != name:
                yield f"the file {path} has other bytes than its name says"
