"""Which database: SQLite by default, a PostgreSQL by its URL; a password is never shown."""

import sys

import pytest
from django.db import OperationalError

from hansa.server import database
from hansa.server.config import ConfigError, read
from hansa.server.database import Postgres
from hansa.server.lifecycle.errors import is_disk_full

SECRET = "hunter2"


def test_without_a_url_it_is_sqlite_in_the_data_folder(tmp_path):
    settings = read({"HANSA_HOME": str(tmp_path)})

    assert settings.postgres is None
    assert database.django_settings(None, tmp_path)["NAME"] == settings.database


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("postgresql:///hansa", Postgres("hansa")),
        ("postgres://me@db.example.org/hansa", Postgres("hansa", user="me", host="db.example.org")),
        ("postgresql://me:p%40ss%2Fw@[::1]:5433/fl", Postgres("fl", "me", "p@ss/w", "::1", "5433")),
        ("postgresql:///hansa?host=/run/postgresql", Postgres("hansa", host="/run/postgresql")),
        ("postgresql://%2Frun%2Fpostgresql/hansa", Postgres("hansa", host="/run/postgresql")),
        (
            "postgresql://db/hansa?sslrootcert=/etc/ca.pem&sslmode=verify-full",
            Postgres("hansa", host="db", parameters=(("sslmode", "verify-full"), ("sslrootcert", "/etc/ca.pem"))),
        ),
    ],
)
def test_a_url_is_read_as_libpq_reads_it(url, wanted):
    assert read({"HANSA_DATABASE_URL": url}).postgres == wanted


def test_django_is_told_everything_that_the_url_says_and_nothing_of_sqlite(tmp_path):
    postgres = Postgres.parse("postgresql://me:secret@db:5433/hansa?sslmode=require&connect_timeout=3")

    told = database.django_settings(postgres, tmp_path)

    assert [told[key] for key in ("NAME", "USER", "PASSWORD", "HOST", "PORT")] == [
        "hansa",
        "me",
        "secret",
        "db",
        "5433",
    ]
    assert told["ENGINE"] == "django.db.backends.postgresql"
    assert told["OPTIONS"] == {"application_name": "hansa", "sslmode": "require", "connect_timeout": "3"}
    assert (told["CONN_MAX_AGE"], told["CONN_HEALTH_CHECKS"]) == (None, True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"mysql://me:{SECRET}@db/hansa", ["not begin with mysql://", "postgresql://user:password@host:port/name"]),
        (f"me:{SECRET}@db/hansa", ["must be like postgresql://"]),
        (f"postgresql://me:{SECRET}@db", ["name of one database"]),
        (f"postgresql://me:{SECRET}@db/", ["name of one database"]),
        (f"postgresql://me:{SECRET}@db/hansa/more", ["name of one database"]),
        (f"postgresql://me:{SECRET}@db:http/hansa", ["host or port"]),
        (f"postgresql://me:{SECRET}@db:70000/hansa", ["host or port"]),
        (f"postgresql://me:{SECRET}/x@db/hansa", ["%2F for /"]),
        (f"postgresql://me:{SECRET}#x@db/hansa", ["%23 for #"]),
        (f"postgresql://me:{SECRET}?x@db/hansa", ["%3F for ?"]),
        (f"postgresql://me:12/x?{SECRET}=x@db/hansa", ["%3F for ?"]),
        (f"postgresql://me:{SECRET}[x@db/hansa", ["host or port"]),
        (f"postgresql://me:{SECRET}@db/hansa?sslmod=require", ["'sslmod' is not one of", "sslmode"]),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_its_password(url, words):
    with pytest.raises(ConfigError) as caught:
        read({"HANSA_DATABASE_URL": url})

    for word in ("HANSA_DATABASE_URL", *words):
        assert word in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_password_is_in_no_text_that_settings_have():
    settings = read({"HANSA_DATABASE_URL": f"postgresql://me:{SECRET}@db:5433/hansa"})

    assert SECRET not in repr(settings)
    assert str(settings.postgres) == "PostgreSQL database 'hansa' on db:5433"


def test_psycopg_missing_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)

    with pytest.raises(ConfigError, match=r"pip install 'hansa\[postgres\]'"):
        read({"HANSA_DATABASE_URL": "postgresql:///hansa"})


def test_a_full_disk_of_postgresql_is_a_full_disk():
    psycopg = pytest.importorskip("psycopg")
    full, other = OperationalError("no room"), OperationalError("no room")
    full.__cause__, other.__cause__ = psycopg.errors.DiskFull(), psycopg.errors.TooManyConnections()

    assert is_disk_full(full)
    assert not is_disk_full(other)
