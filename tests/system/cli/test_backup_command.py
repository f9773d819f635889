"""`hansa backup` and `hansa restore` of what is not whole: people and scripts are told."""

import json
import sqlite3
from contextlib import closing

from support.databases import only_sqlite
from support.serving import furnish

LOST = "ab" * 32


@only_sqlite
def test_who_restores_a_backup_without_some_files_is_told_which(people, tmp_path):
    alice, home = people("alice"), str(furnish(tmp_path / "home"))
    with closing(sqlite3.connect(tmp_path / "home" / "hansa.sqlite3")) as connection:
        connection.execute("INSERT INTO blobs_blob VALUES (?, 1, 'x', x'00', '2026-01-01')", (LOST,))
        connection.commit()

    made = alice.hansa("backup", str(tmp_path / "backup"), HANSA_HOME=home)
    restored = alice.hansa("restore", str(tmp_path / "backup"), "--json", HANSA_HOME=str(tmp_path / "elsewhere"))

    for told in (made, restored):
        assert told.returncode == 1
        assert f"left out: {LOST}" in told.stderr
        assert "hansa doctor" in told.stderr
    assert json.loads(restored.stdout)["left_out"] == [LOST]
    again = alice.hansa("restore", str(tmp_path / "backup"), HANSA_HOME=str(tmp_path / "a third"))
    assert f"Start the server: HANSA_HOME='{tmp_path / 'a third'}' hansa serve" in again.stderr
    assert (tmp_path / "elsewhere" / "hansa.sqlite3").exists()
