"""What `hansa doctor` says of the sandbox."""

from dataclasses import replace

import pytest

from hansa.sandbox.confinement.protections import Protections
from hansa.server import config
from hansa.server.doctor import programs
from hansa.server.doctor.finding import Level

WHOLE = Protections(landlock=4, seccomp=True, limits=True)
WITHOUT_LANDLOCK = replace(WHOLE, landlock=0)


def found(tmp_path, seen, **variables):
    settings = config.read({"HANSA_HOME": str(tmp_path), **variables})
    (finding,) = programs.sandbox(settings, None, seen)
    return finding


def test_all_protections_are_named(tmp_path):
    finding = found(tmp_path, WHOLE)

    assert (finding.level, finding.seen) == (Level.OK, "Landlock 4, seccomp, limits")


@pytest.mark.parametrize(("sandbox", "word"), [("strict", "refused"), ("weak", "run without")])
def test_a_missing_one_is_named_with_what_becomes_of_programs(sandbox, word, tmp_path):
    finding = found(tmp_path, WITHOUT_LANDLOCK, HANSA_SANDBOX=sandbox)

    assert finding.level is Level.WARNING
    assert "landlock" in finding.seen
    assert word in finding.seen
    assert finding.do


def test_where_no_programs_are_run_none_need_protection(tmp_path, monkeypatch):
    off = found(tmp_path, WITHOUT_LANDLOCK, HANSA_INFERENCE_PROCESSES="0")
    monkeypatch.setattr(programs, "find_spec", lambda name: None)
    without_torch = found(tmp_path, WITHOUT_LANDLOCK)

    assert (off.level, without_torch.level) == (Level.OK, Level.OK)
    assert "pip install 'hansa[torch]'" in without_torch.seen
