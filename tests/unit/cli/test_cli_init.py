import ast
import subprocess
import sys

import pytest


def test_init_writes_a_folder_that_says_how_to_go_on(hansa, home):
    ran = hansa("init", "my-federation")
    folder = home / "here" / "my-federation"
    assert ran.code == 0
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "data.py", "model.py", "trainer.py"]
    assert "cd my-federation" in ran.out


def test_init_takes_an_empty_folder_and_refuses_any_other(hansa, home):
    folder = home / "here" / "there"
    folder.mkdir()
    assert hansa("init", "there").code == 0
    (folder / "trainer.py").write_text("mine")
    ran = hansa("init", "there")
    assert ran.code == 1
    assert "is not empty" in ran.err
    assert (folder / "trainer.py").read_text() == "mine"


def test_init_over_a_file_is_an_error(hansa, home):
    (home / "here" / "file").write_text("")
    assert hansa("init", "file").code == 1


def test_what_init_writes_is_short_and_clean(hansa, home):
    hansa("init", "mine")
    folder = home / "here" / "mine"
    trainer = (folder / "trainer.py").read_text()
    assert len(trainer.splitlines()) <= 30
    for file in folder.glob("*.py"):
        assert ast.get_docstring(ast.parse(file.read_text()))
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E,F,I,B,UP", "--line-length", "120", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


def test_the_data_is_there_and_differs_between_clients(hansa, home, monkeypatch):
    pytest.importorskip("numpy")
    hansa("init", "mine")
    seen = {}
    for part in ("0", "1", "2"):
        monkeypatch.setenv("PART", part)
        names = {"__name__": "data"}
        exec((home / "here" / "mine" / "data.py").read_text(), names)  # noqa: S102 - the file under test
        points, arms = names["load"]()
        assert points.shape == (600, 2)
        assert points.dtype == "float32"
        seen[part] = (arms == int(part)).mean()
    assert all(share > 0.7 for share in seen.values())
