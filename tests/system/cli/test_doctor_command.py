"""`hansa doctor` on a folder as a server leaves it: exit codes, JSON, and nothing changed."""

import json

from support.databases import only_sqlite


def files_of(home):
    return {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()}


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
    assert {name: content for name, content in files_of(home).items() if name in before} == before

    open_to_all = alice.hansa("doctor", "--quick", HANSA_HOME=str(home), HANSA_ALLOWED_HOSTS="*")
    assert open_to_all.returncode == 1
    assert "HANSA_ALLOWED_HOSTS" in open_to_all.stdout


@only_sqlite
def test_settings_that_cannot_be_used_are_a_finding(people, tmp_path):
    told = people("alice").hansa("doctor", "--json", HANSA_HOME=str(tmp_path), HANSA_THROTTLES="perhaps")
    assert told.returncode == 2
    assert "HANSA_THROTTLES" in json.loads(told.stdout)["findings"][0]["seen"]
    assert "Traceback" not in told.stderr
