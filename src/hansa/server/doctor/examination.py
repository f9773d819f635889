"""The examination: from what everything stands on to what stands on it; where something is missing, not beyond."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from hansa.sandbox.confinement.protections import protections
from hansa.server import config as configs
from hansa.server.config import Config, ConfigError
from hansa.server.doctor import certificate, database, home, programs, surroundings
from hansa.server.doctor.finding import Finding, Level, error


@dataclass(frozen=True, slots=True)
class Wish:
    """How it is to be done."""

    quick: bool = False
    """Look whether files are there, and do not read them."""
    set_aside: bool = False
    """Have the server move damaged files that a running training depends on out of the store, and act."""
    progress: Callable[[int, int], object] = max


def examine(environ: Mapping[str, str], wish: Wish) -> Iterator[Finding]:
    """Look at the server that these variables describe; findings come as they are made."""
    try:
        config = configs.read(environ)
    except ConfigError as problem:
        yield error("settings", str(problem), "settings that can be used", "set it right; the server would not start")
        return
    running = surroundings.running(config.home)
    yield from surroundings.limits()
    yield from surroundings.hosts(config, running)
    yield from programs.sandbox(config, running, protections())
    found = list(home.folder(config))
    yield from found
    if _is_well(found):
        yield from home.permissions(config)
        yield from surroundings.secret(config, environ, running)
        yield from surroundings.server(running)
        yield from certificate.certificate(running, datetime.now(UTC))
        yield from _data(config, wish, served=running is not None)


def _is_well(findings: list[Finding]) -> bool:
    return all(finding.level is not Level.ERROR for finding in findings)


def _data(config: Config, wish: Wish, *, served: bool) -> Iterator[Finding]:
    if config.postgres is None:
        found = list(database.sqlite(config.database, quick=wish.quick, served=served))
        yield from found
        if not _is_well(found):
            yield from home.disk(config, needed=0)
            return
    _setup_django()
    if config.postgres is not None:
        found = list(database.postgres(config.postgres))
        yield from found
        if not _is_well(found):
            yield from home.disk(config, needed=0)
            return
    found = list(database.migrations(config))
    yield from found
    if found[-1].level is Level.OK:
        yield from _contents(config, wish)
    else:
        yield from home.disk(config, needed=0)


def _contents(config: Config, wish: Wish) -> Iterator[Finding]:
    from django.db import DatabaseError

    try:
        yield from _rows_and_files(config, wish)
    except DatabaseError as problem:
        yield error(
            "database",
            f"it stopped answering: {' '.join(str(problem).split())}",
            "answers to the end",
            f"run hansa doctor again; if it stays so, {database.RESTORE}",
        )


def _rows_and_files(config: Config, wish: Wish) -> Iterator[Finding]:
    from django.utils import timezone

    from hansa.server.doctor import blobs, rows

    yield from home.disk(config, needed=blobs.needed_room())
    yield from rows.clock(timezone.now())
    yield from rows.rows()
    yield from blobs.strays(timezone.now())
    yield from blobs.blobs(quick=wish.quick, set_aside=wish.set_aside, progress=wish.progress)


def _setup_django() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hansa.server.settings")
    import django

    django.setup()
