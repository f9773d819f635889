"""Which errors mean that the database is away, and what the log is told of it."""

import logging

import psycopg
import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from psycopg import errors

from hansa.server.lifecycle.outage import FORGOTTEN_SECONDS, Outages, is_away


def raised(kind, cause):
    error = kind(str(cause))
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "cause",
    [
        psycopg.OperationalError("connection failed: Connection refused"),
        psycopg.OperationalError("the connection is closed"),
        errors.AdminShutdown("terminating connection due to administrator command"),
        errors.CannotConnectNow("the database system is starting up"),
        errors.ConnectionFailure("server closed the connection unexpectedly"),
        errors.TooManyConnections("sorry, too many clients already"),
    ],
    ids=lambda cause: str(cause)[:30],
)
def test_postgresql_is_away_when_the_way_to_it_fails(cause):
    assert is_away(raised(OperationalError, cause))


def test_a_closed_connection_is_a_way_that_failed():
    assert is_away(raised(InterfaceError, psycopg.InterfaceError("connection already closed")))


@pytest.mark.parametrize(
    "error",
    [
        raised(OperationalError, errors.DiskFull("no space left")),
        raised(OperationalError, errors.LockNotAvailable("canceling statement due to lock timeout")),
        raised(DataError, errors.StringDataRightTruncation("value too long")),
        raised(IntegrityError, errors.UniqueViolation("duplicate key")),
        OperationalError("database is locked"),
        ValueError("x"),
    ],
    ids=lambda error: str(error)[:30],
)
def test_a_statement_that_fails_is_no_outage(error):
    assert not is_away(error)


def test_an_outage_is_told_once_and_so_is_its_end(caplog):
    caplog.set_level(logging.INFO)
    now = 0.0
    outages = Outages(clock=lambda: now)
    away = raised(OperationalError, psycopg.OperationalError("Connection refused\n\tIs the server running?"))

    for now in (10.0, 11.0, 40.0):  # noqa: B007  # the clock reads it
        assert outages.met(away)
    now = 52.0
    outages.over()
    outages.over()

    first, last = [record.getMessage() for record in caplog.records]
    assert first.startswith("The database is away: Connection refused Is the server running. Until")
    assert last == "The database is back after 42 s."


def test_another_outage_is_told_again_also_where_nobody_saw_the_first_one_end(caplog):
    now = 0.0
    outages = Outages(clock=lambda: now)
    away = raised(OperationalError, psycopg.OperationalError("Connection refused"))

    outages.met(away)
    now = FORGOTTEN_SECONDS + 1
    outages.met(away)

    assert len(caplog.records) == 2


def test_what_is_no_outage_is_left_to_whoever_met_it(caplog):
    assert not Outages().met(ValueError("x"))
    assert not Outages().met(None)
    assert not caplog.records
