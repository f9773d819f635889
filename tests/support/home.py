"""Every test has a data folder of its own; all share one database file, emptied after each test."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.contenttypes.management import create_contenttypes
from django.core.handlers.asgi import ASGIHandler
from django.db import connections
from django.db.models.signals import post_migrate
from pytest_django import DjangoDbBlocker

from hansa.server import config, database
from hansa.server import home as homes
from support import postgres

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""Monday morning."""


@pytest.fixture(scope="session")
def django_db_modify_db_settings(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Put the database below pytest's own folder, and forget the HANSA_* variables of whoever runs the tests.

    pytest-django has read the settings before any test could. HANSA_TEST_DATABASE_URL alone is heard: with it all
    tests run on that PostgreSQL.
    """
    folder = tmp_path_factory.mktemp("home")
    url = os.environ.get(postgres.VARIABLE, "")
    django_settings.CONFIG = config.read({"HANSA_HOME": str(folder), "HANSA_DATABASE_URL": url})
    django_settings.ALLOWED_HOSTS = [*django_settings.CONFIG.allowed_hosts, "testserver"]  # Django's own test client
    settings = database.django_settings(django_settings.CONFIG.postgres, folder)
    if url:  # on one server the processes of a run need a database each
        settings["TEST"] = {"NAME": f"test_hansa_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"}
    else:
        settings["OPTIONS"]["init_command"] += " PRAGMA synchronous=OFF;"
    _use_database(settings)
    django_settings.STATIC_ROOT = folder / "static"
    django_settings.STATIC_ROOT.mkdir()


def _use_database(settings: dict[str, Any]) -> None:  # Any: Django's own shape of this setting
    """Django has looked at its settings already, and may hold an unopened connection made from them."""
    default = connections.settings["default"]
    default.clear()
    default.update(settings)
    connections.configure_settings({"default": default})  # fills in what we leave to Django
    connections["default"].close()
    del connections["default"]


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Emptying the database need not write every permission and content type anew: half of a small test's time."""
    post_migrate.disconnect(dispatch_uid="django.contrib.auth.management.create_permissions")
    post_migrate.disconnect(create_contenttypes)
    yield
    if connections["default"].vendor == "postgresql":  # it drops no database to which threads are still connected
        with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


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


@pytest.fixture(autouse=True)
def nobody_has_failed_to_sign_in(django_db_modify_db_settings: None) -> None:
    """Limits on failures hold for a process; here every test has its own."""
    from hansa.server.accounts import attempts

    attempts.forget()


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
