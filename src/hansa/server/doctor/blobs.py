"""The store: whether every file is what its row says, what depends on those that are not, and what lies about."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.db.models import Q

from hansa.server.blobs import doubts, inspection, store
from hansa.server.blobs.inspection import Damage, Known, Wrong
from hansa.server.blobs.models import Blob
from hansa.server.blobs.services import unreferenced
from hansa.server.doctor.finding import Finding, counted, error, listed, warning, well
from hansa.server.registry.models import Model, ModelVersion
from hansa.server.trainings.dependants import RUNNING
from hansa.server.trainings.models import Task, Training, Update

Progress = Callable[[int, int], object]
"""Told how many bytes of how many are read."""

STALE = timedelta(days=2)


def blobs(*, quick: bool, set_aside: bool, progress: Progress) -> Iterator[Finding]:
    """Every blob: whether its file is there and as long as it should be, and unless `quick`, each byte of it."""
    known = [Known.of(row) for row in Blob.objects.order_by("sha256").iterator(chunk_size=500)]
    total, done, is_well = sum(each.size for each in known), 0, True
    for each in known:
        try:
            damage = inspection.missing(each) if quick else _read(each, done, total, progress)
        except OSError as problem:
            is_well = False
            yield _unread(each, problem)
        else:
            if damage is not None and Blob.objects.filter(sha256=each.digest).exists():  # else collected meanwhile
                is_well = False
                yield _told(damage, set_aside=set_aside)
        done += each.size
    if is_well:
        how = "there, and as long as they should be" if quick else "compared with their SHA-256"
        yield well("store", f"{counted(len(known), 'blob')} ({total / 2**20:,.1f} MiB) {how}")


def _read(known: Known, done: int, total: int, progress: Progress) -> Damage | None:
    def more(size: int) -> None:
        nonlocal done
        done += size
        progress(done, total)

    return inspection.inspect_thoroughly(known, read=more)


def _unread(known: Known, problem: OSError) -> Finding:
    return error(
        "store",
        f"blob {known.digest} cannot be read ({problem.strerror}): nothing is known of its bytes",
        "a file that this user can read",
        f"look at {_place(known.digest)}, whose it is and its mode; then run hansa doctor again",
    )


def _place(digest: str) -> Path:
    return store.path_of(digest).relative_to(store.home())


def _told(damage: Damage, *, set_aside: bool) -> Finding:
    seen = f"blob {damage.digest} ({', '.join(_uses(damage.digest)) or 'nothing refers to it'}): {damage.seen}"
    wanted, path = "the bytes that were stored", _place(damage.digest)
    if unreferenced(before=datetime.max.replace(tzinfo=UTC)).filter(sha256=damage.digest).exists():
        act = "look at the disk (smartctl -a, dmesg); nothing for this file: a running server deletes it in time"
        return warning("store", seen, wanted, act)
    if damage.wrong is Wrong.CHECKSUMS:
        return warning("store", seen, "both the same", "nothing: the server mends the row when it next reads the blob")
    if not _is_needed(damage.digest):
        return error("store", seen, wanted, f"put {path} back from a backup; hansa doctor compares it")
    if damage.wrong is Wrong.MISSING:
        act = "the server makes it again or asks for it again once it misses it: within a minute, or when it is started"
        return error("store", seen, wanted, act)
    if set_aside:
        return _left_to_the_server(damage, seen, wanted)
    return error(
        "store",
        seen,
        wanted,
        f"put {path} back from a backup; or run hansa doctor --set-aside, then the server makes it again or asks for "
        "it again",
    )


def _left_to_the_server(damage: Damage, seen: str, wanted: str) -> Finding:
    try:
        doubts.leave(damage.digest)
    except OSError as problem:
        act = f"start a server of this version on the folder once, as its owner; then again ({problem.filename})"
        return error("store", f"{seen}; the server cannot be told: {problem.strerror}", wanted, act)
    return error(
        "store",
        f"{seen}; the server is told",
        wanted,
        "within a minute, or when it is started, it looks again, and if it finds the same sets the file aside and "
        "makes it again or asks for it again",
    )


def _uses(digest: str) -> Iterator[str]:
    """What a blob is, in words, newest trainings' words first."""
    for version in ModelVersion.objects.filter(blob=digest).select_related("model")[:3]:
        yield f"version {version.number} of model {version.model.name!r}"
    for version in ModelVersion.objects.filter(moments=digest).select_related("model")[:3]:
        yield f"moments of version {version.number} of model {version.model.name!r}"
    for version in ModelVersion.objects.filter(state=digest).select_related("model")[:3]:
        yield f"what the server step remembers at version {version.number} of model {version.model.name!r}"
    for model in Model.objects.filter(archive=digest)[:3]:
        yield f"the file that model {model.name!r} was made from"
    for model in Model.objects.filter(preprocessing=digest)[:3]:
        yield f"the preprocessing of model {model.name!r}"
    for task in Task.objects.filter(uploaded=digest, update=None).select_related("round__training")[:3]:
        yield f"an upload for round {task.round.number} of training {str(task.round.training)!r}, not reported yet"
    for update in Update.objects.filter(blob=digest).select_related("task__round__training")[:3]:
        yield f"an update in round {update.task.round.number} of training {str(update.task.round.training)!r}"


def _is_needed(digest: str) -> bool:
    """Whether a training that runs depends on it, so that the server acts by itself."""
    running = Training.objects.filter(status__in=RUNNING)
    versions = ModelVersion.objects.filter(Q(blob=digest) | Q(state=digest), model__training__in=running)
    updates = Update.objects.filter(blob=digest, task__round__training__in=running)
    uploads = Task.objects.filter(uploaded=digest, round__training__in=running)
    return versions.exists() or updates.exists() or uploads.exists()


def strays(now: datetime) -> Iterator[Finding]:
    """What lies about: damaged files that were set aside, files that no row knows, uploads long given up."""
    try:
        yield from _strays(now)
    except OSError as problem:
        yield error(
            "store",
            f"{problem.filename or store.home()} cannot be looked through: {problem.strerror}",
            "folders that the server's user may read",
            "run this as the user who runs the server; if it is that one, look at the folder's owner and mode, and at "
            "the disk (dmesg)",
        )


def _strays(now: datetime) -> Iterator[Finding]:
    aside = [path.name for path in (store.home() / inspection.FOLDER).glob("*") if path.suffix != ".txt"]
    if aside:
        yield warning(
            "store",
            f"{counted(len(aside), 'damaged file')} in {store.home() / inspection.FOLDER}: {listed(aside, 3)}",
            "none",
            "look at the disk (smartctl -a, dmesg); delete them when they are of no more use",
        )
    rows = set(Blob.objects.values_list("sha256", flat=True))
    unknown = [path.name for path in store.files() if path.name not in rows]
    before = (now - STALE).timestamp()
    left = [
        path.name for name in ("partial", "tmp") for path in (store.home() / name).glob("*") if _older(path, before)
    ]
    waste = unreferenced(before=now - STALE).count()
    about = [
        text
        for text, found in (
            (f"{counted(len(unknown), 'file')} without a row", unknown),
            (f"{counted(len(left), 'unfinished file')} of more than two days", left),
            (f"{counted(waste, 'blob')} that nothing refers to", waste),
        )
        if found
    ]
    if about:
        yield well("store", f"{'; '.join(about)}: a running server deletes them in time")


def _older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime < before
    except FileNotFoundError:
        return False


def needed_room() -> int:
    """Bytes that the next round of all trainings that run may need: an update of each participant, and the version."""
    running = Training.objects.filter(status__in=RUNNING).select_related("model")
    return sum((row.participations.filter(active=True).count() + 2) * row.model.param_spec.nbytes for row in running)
