"""`hansa import dlr`, from the first look to the last row.

    looked at   the source in one snapshot, this server under its lock: whatever is decided stays true
    files       one model at a time, from the source into a temporary file, and from there into the store
    rows        all of them in one transaction

A dry run goes the same way: each file is read as if it were taken, and deleted; no row is written. Applied twice, the
second finds everything here. Killed in between, there are no rows but perhaps files that no row knows, which the
server's housekeeping deletes; the same command takes everything then.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from uuid import UUID

from django.db import DatabaseError
from django.utils import timezone

from hansa.server.changes import change
from hansa.server.coming_over import survey, target, writing
from hansa.server.coming_over.errors import ComingOverError
from hansa.server.coming_over.files import Files, UnusableFileError, receive
from hansa.server.coming_over.queries import MAX_BINARY
from hansa.server.coming_over.report import Entry, Fate, Kind, Report, gathered
from hansa.server.coming_over.rows import MetricCounts, Model, ModelKind, Rows
from hansa.server.coming_over.source import Source
from hansa.server.coming_over.standing import Standing, UnusableTrainingError, standing
from hansa.server.coming_over.target import Target

Progress = Callable[[str], None]
"""Told what is being read."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How it is done. `apply` false: nothing is taken, only said what would be."""

    apply: bool
    keep_staff: frozenset[str]
    limit: int
    """Bytes of a model's file that are read at most."""
    progress: Progress


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of each row by its id, and what was found out on the way."""

    groups: Mapping[int, Entry]
    users: Mapping[UUID, Entry]
    tokens: Mapping[str, Entry]
    models: Mapping[UUID, Entry]
    trainings: Mapping[UUID, Entry]
    files: Mapping[UUID, Files]
    standings: Mapping[UUID, Standing]

    def entries(self) -> Iterator[Entry]:
        """All but those of metrics."""
        for kind in (self.groups, self.users, self.tokens, self.models, self.trainings):
            yield from kind.values()


def come_over(source: Source, terms: Terms) -> Report:
    """Take everything that can be taken. Raises ComingOverError; then no row is written."""
    found, here = source.rows(), target.read()
    judged = _judge(source, found, here, terms)
    first_rounds = {**_first_rounds(found, judged), **here.models}
    try:
        with change("coming_over.take") if terms.apply else nullcontext():
            if terms.apply:
                _write(found, here, judged, first_rounds, terms)
            measured = [
                entry
                for counts in found.metrics
                for entry in _metrics(source, counts, judged, first_rounds[counts.model_id], terms)
            ]
    except DatabaseError as error:
        seen = " ".join(str(error).split())
        raise ComingOverError(
            f"The rows cannot be written into this server's database: {seen}. Nothing was taken over. If a disk is "
            "full or another program holds the database, mend that, then run this again."
        ) from error
    return Report(str(source.place), terms.apply, gathered([*judged.entries(), *measured]))


def _judge(source: Source, found: Rows, here: Target, terms: Terms) -> Judged:
    users = survey.users(found.users, here, terms.keep_staff)
    models, files = _models(source, found, users, here, terms)
    trainings, standings = _trainings(found, users, models, here)
    return Judged(
        groups={row.id: survey.group(row, here) for row in found.groups},
        users=users,
        tokens={row.key: survey.token(row, users, here) for row in found.tokens},
        models=models,
        trainings=trainings,
        files=files,
        standings=standings,
    )


def _models(
    source: Source, found: Rows, users: survey.Roll, here: Target, terms: Terms
) -> tuple[dict[UUID, Entry], dict[UUID, Files]]:
    """The models, means after their members, and the files of those that are taken."""
    entries: dict[UUID, Entry] = {}
    files: dict[UUID, Files] = {}
    for means in (False, True):
        members = dict(entries)  # without means: a mean of means is none here
        for row in found.models:
            if (row.kind is ModelKind.MEAN) is not means:
                continue
            entry = survey.model(row, users, members, here, terms.limit)
            if entry.fate is Fate.TAKEN:
                terms.progress(f"reading model {entry.name!r} ({row.weights or 0:,} bytes)")
                try:
                    files[row.id] = receive(source, row, keep=terms.apply)
                except UnusableFileError as error:
                    entry = replace(entry, fate=Fate.REFUSED, reason=str(error))
                else:
                    entry = replace(entry, remarks=(*entry.remarks, *files[row.id].remarks))
            entries[row.id] = entry
    return entries, files


def _trainings(
    found: Rows, users: survey.Roll, models: survey.Roll, here: Target
) -> tuple[dict[UUID, Entry], dict[UUID, Standing]]:
    """The trainings; and where each stands, taken or not: their models' rounds are counted by it."""
    by_id = {row.id: row for row in found.models}
    entries: dict[UUID, Entry] = {}
    standings: dict[UUID, Standing] = {}
    for row in found.trainings:
        entry = survey.training(row, by_id[row.model_id], users, models, here)
        try:
            standings[row.id] = standing(row, by_id[row.model_id].round)
            seen = replace(entry, remarks=standings[row.id].remarks)
        except UnusableTrainingError as error:
            seen = replace(entry, fate=Fate.REFUSED, reason=str(error))
        entries[row.id] = seen if entry.fate is Fate.TAKEN else entry
    return entries, standings


def _first_rounds(found: Rows, judged: Judged) -> dict[UUID, int]:
    """With what each model's count of rounds begins: with all of them, unless its training counts some as its own.

    Where a training was deleted there, or there were more rounds than it asked for, metrics may be of earlier steps.
    Then it begins with the earliest of them: a step here is counted from that number, and cannot lie before it.
    """
    first = {row.id: max(0, row.round) for row in found.models}
    for row in found.trainings:
        if row.id in judged.standings:
            first[row.model_id] = judged.standings[row.id].first_round
    for counts in found.metrics:
        if counts.first_step is not None:
            first[counts.model_id] = min(first[counts.model_id], counts.first_step)
    return first


def _write(found: Rows, here: Target, judged: Judged, first_rounds: Mapping[UUID, int], terms: Terms) -> None:
    """Every row that is taken, each after those it refers to."""

    def taken(roll: Mapping[UUID, Entry], key: UUID) -> bool:
        return roll[key].fate is Fate.TAKEN

    now = timezone.now()
    numbers = writing.groups([row for row in found.groups if judged.groups[row.id].fate is Fate.TAKEN], here.groups)
    names = {row.id: row.name for row in found.groups}
    writing.users([row for row in found.users if taken(judged.users, row.id)], terms.keep_staff)
    writing.memberships(
        [(row.user_id, numbers[names[row.group_id]]) for row in found.memberships if taken(judged.users, row.user_id)]
    )
    writing.tokens([row for row in found.tokens if judged.tokens[row.key].fate is Fate.TAKEN])
    for model in sorted(found.models, key=_means_last):
        if taken(judged.models, model.id):
            writing.model(model, judged.files[model.id], first_rounds[model.id], now)
    for training in found.trainings:
        if taken(judged.trainings, training.id):
            name = judged.models[training.model_id].name
            writing.training(training, judged.standings[training.id], name)


def _means_last(model: Model) -> bool:
    return model.kind is ModelKind.MEAN


def _metrics(source: Source, counts: MetricCounts, judged: Judged, first_round: int, terms: Terms) -> Iterator[Entry]:
    """What becomes of one model's metrics; those that are taken are written, if anything is."""
    model = judged.models[counts.model_id]
    entry = Entry(Kind.METRIC, str(counts.model_id), model.name, Fate.TAKEN)
    if model.fate not in survey.PRESENT:
        fate = Fate.LEFT if model.fate is Fate.LEFT else Fate.REFUSED
        yield replace(entry, id=model.id, fate=fate, reason="their model is not taken", count=counts.rows)
        return
    latest = source.metrics(counts.model_id)
    sorts = survey.metrics(latest, judged.users, target.metric_keys(counts.model_id), first_round)
    if terms.apply:
        writing.metrics(counts.model_id, sorts.taken, first_round)
    superseded = counts.rows - counts.moments - counts.incomplete - counts.too_long - len(latest)
    for fate, reason, count in (
        (Fate.TAKEN, "", len(sorts.taken)),
        (Fate.HERE, "", sorts.here),
        (Fate.LEFT, "SWAG statistics that were kept as metrics", counts.moments),
        (Fate.LEFT, "sent again later by the same client for the same step; the last value is taken", superseded),
        (Fate.REFUSED, "without a reporter, a step or a value", counts.incomplete),
        (Fate.REFUSED, f"no number, and longer than {MAX_BINARY:,} bytes", counts.too_long),
        (Fate.REFUSED, "their reporter is not taken", sorts.strangers),
        (Fate.REFUSED, f"of steps before {first_round}, with which the model was taken", sorts.early),
    ):
        if count:
            yield replace(entry, fate=fate, reason=reason, count=count)
