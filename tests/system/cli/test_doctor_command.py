"""`hansa doctor` on a folder as a server leaves it: exit codes, JSON, and nothing changed."""

import json
import sqlite3
from contextlib import closing

from support.databases import only_sqlite
from support.serving import furnish


def files_of(home):
    """All there is below a folder, and what is in it."""
    return {path.relative_to(home): path.read_bytes() if path.is_file() else None for path in home.rglob("*")}


@only_sqlite
def test_the_exit_code_says_how_bad_it_is_and_nothing_is_changed(people, tmp_path):
    alice, home = people("alice"), tmp_path / "home"
    missing = alice.hansa("doctor", "--json", HANSA_HOME=str(home))
    assert (missing.returncode, json.loads(missing.stdout)["level"]) == (2, "error")
    assert not home.exists()

    alice.done("migrate", HANSA_HOME=str(home))
    before = files_of(home)
    well = alice.hansa("doctor", "--json", HANSA_HOME=str(home))
    assert (well.returncode, well.stderr) == (0, "")
    assert {finding["level"] for finding in json.loads(well.stdout)["findings"]} == {"ok"}
    assert files_of(home) == before

    open_to_all = alice.hansa("doctor", "--quick", HANSA_HOME=str(home), HANSA_ALLOWED_HOSTS="*")
    assert open_to_all.returncode == 1
    assert "HANSA_ALLOWED_HOSTS" in open_to_all.stdout


@only_sqlite
def test_settings_that_cannot_be_used_are_a_finding(people, tmp_path):
    told = people("alice").hansa("doctor", "--json", HANSA_HOME=str(tmp_path), HANSA_THROTTLES="perhaps")
    assert told.returncode == 2
    assert "HANSA_THROTTLES" in json.loads(told.stdout)["findings"][0]["seen"]
    assert "Traceback" not in told.stderr


@only_sqlite
def test_of_much_that_is_wrong_the_table_shows_some_and_json_all(people, tmp_path):
    alice, home = people("alice"), str(furnish(tmp_path / "home"))
    rows = [(f"{number:064x}", "2026-01-01") for number in range(45)]
    with closing(sqlite3.connect(tmp_path / "home" / "hansa.sqlite3")) as connection:
        connection.executemany("INSERT INTO blobs_blob VALUES (?, 1, 'x', x'00', ?)", rows)
        connection.commit()

    told = json.loads(alice.hansa("doctor", "--json", HANSA_HOME=home).stdout)
    assert sum("not in the store" in finding["seen"] for finding in told["findings"]) == 45
    table = alice.hansa("doctor", HANSA_HOME=home).stdout
    assert table.count("not in the") == 20
    assert "25 more like these" in table
