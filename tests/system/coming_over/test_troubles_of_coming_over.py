"""What `hansa import dlr` says where it cannot begin, and what it costs where it can."""

import pytest
import torch

from support.older import pickled
from support.serving import serving
from system.coming_over.commands import IMPATIENT, PROGRAM, command, counts, document, dump, peak, stored_files


def told(home, url, *, program=PROGRAM, **settings):
    done = command(home, url, settings=settings, program=program)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.splitlines()
    return line


def test_a_url_of_something_else_is_refused_with_the_form_that_is_wanted(home):
    assert "postgresql://user" in told(home, "mysql://me:hunter2@db/x")
    assert "hunter2" not in told(home, "mysql://me:hunter2@db/x")


def test_sqlite_never_worked_there(home):
    assert "PostgreSQL" in told(home, "sqlite:///db.sqlite3")


def test_a_server_that_is_not_there(home, tmp_path):
    line = told(home, f"postgresql://me:hunter2@/demo?host={tmp_path}")

    assert "cannot be read" in line
    assert "hunter2" not in line


def test_a_database_of_something_else_names_the_table_that_is_missing(home, postgres_url):
    assert "it has no table 'fl_server_core_user'" in told(home, postgres_url)


def test_a_database_of_an_earlier_version_names_the_column(home, dlr):
    dlr.connection.execute("ALTER TABLE fl_server_core_globalmodel DROP COLUMN preprocessing")

    assert "no column fl_server_core_globalmodel.preprocessing" in told(home, dlr.url)


def test_a_table_that_its_server_has_locked(home, dlr):
    with dlr.connection.transaction():
        dlr.connection.execute("LOCK TABLE fl_server_core_metric IN ACCESS EXCLUSIVE MODE")

        assert "Stop that server" in told(home, dlr.url, program=IMPATIENT)


def test_a_server_whose_own_database_it_is_makes_no_tables_there(home, dlr):
    there = dlr.dump()

    assert "Give Hansa a database of its own" in told(home, dlr.url, HANSA_DATABASE_URL=dlr.url)
    assert dlr.dump() == there


def test_without_psycopg_it_says_what_to_install(home, dlr, tmp_path):
    (tmp_path / "psycopg.py").write_text("raise ImportError('no psycopg')")

    assert "pip install 'hansa[postgres]'" in told(home, dlr.url, PYTHONPATH=str(tmp_path))


def test_a_name_to_keep_that_has_nothing_to_keep(home, dlr):
    dlr.user("anna")
    done = command(home, dlr.url, "--keep-staff", "anna")

    assert done.returncode == 1
    assert "no staff rights there; nobody has" in done.stderr


def test_it_does_not_run_beside_a_server(old, home):
    with serving(home) as server:
        done = command(home, old.url)

        assert done.returncode == 1
        assert f"process {server.process.pid}" in done.stderr
        assert "Stop it first" in done.stderr


def test_a_disk_that_fills_up_leaves_no_row_and_no_file_on_its_way(dlr, home):
    anna = dlr.user("anna")
    dlr.model(anna, pickled({"w": torch.randn(750_000)}), "large")
    empty = dump(home)

    done = command(home, dlr.url, "--apply", largest_file=2_000_000)

    assert done.returncode == 1
    assert "The data folder cannot be written: File too large. Nothing was taken over" in done.stderr
    assert "Traceback" not in done.stderr
    assert dump(home) == empty
    assert stored_files(home) == []


@pytest.mark.slow
def test_a_large_model_passes_through_little_memory(dlr, home):
    anna = dlr.user("anna")
    small = peak(home, dlr.url)
    dlr.model(anna, pickled({"w": torch.zeros(16 * 2**20)}), "large")

    assert peak(home, dlr.url, "--apply") - small < 40 * 2**20, "of 64 MiB"
    assert counts(document(home, dlr.url))["models"] == (0, 1, 0, 0)
