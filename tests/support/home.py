"""Every test has a data folder of its own; all share one database file, emptied after each test."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.contenttypes.management import create_contenttypes
from django.core.handlers.asgi import ASGIHandler
from django.db.models.signals import post_migrate

from hansa.server import config
from hansa.server import home as homes

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""Monday morning."""


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Put the database below pytest's own folder, and forget the HANSA_* variables of whoever runs the tests.

    pytest-django has read the settings before any test could.
    """
    folder = tmp_path_factory.mktemp("home")
    django_settings.CONFIG = config.read({"HANSA_HOME": str(folder)})
    django_settings.ALLOWED_HOSTS = [*django_settings.CONFIG.allowed_hosts, "testserver"]  # Django's own test client
    database = django_settings.DATABASES["default"]
    database["TEST"]["NAME"] = str(folder / "test.sqlite3")
    database["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"
    django_settings.STATIC_ROOT = folder / "static"
    django_settings.STATIC_ROOT.mkdir()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None) -> None:
    """Emptying the database need not write every permission and content type anew: half of a small test's time."""
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)


@pytest.fixture
def home(django_db_modify_db_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A prepared, empty HANSA_HOME. Nobody waits for its disk: what must be durable is asked of `store` itself."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    return use_home(tmp_path / "home", monkeypatch)


def use_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `folder` the data folder for this test."""
    monkeypatch.setattr(django_settings, "CONFIG", replace(django_settings.CONFIG, home=folder))
    monkeypatch.setattr(django_settings, "FILE_UPLOAD_TEMP_DIR", folder / "tmp")
    homes.prepare(django_settings.CONFIG)
    return folder


@pytest.fixture(scope="session")
def handler(django_db_modify_db_settings: None) -> ASGIHandler:
    """The server's own ASGI handler: requests walk the whole lifecycle."""
    from hansa.server.lifecycle.asgi import Handler

    return Handler()


class Clock:
    """What `timezone.now()` says, until somebody moves it on."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> datetime:
        """Let time pass at once."""
        self.now += timedelta(seconds=seconds)
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The server's clock in the test's hands."""
    clock = Clock()
    monkeypatch.setattr("django.utils.timezone.now", clock)
    return clock
