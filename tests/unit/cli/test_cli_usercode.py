"""What `module:attribute` may name, and what is said when it does not."""

import sys

import pytest

from hansa.cli import usercode
from hansa.cli.exits import CommandError


@pytest.fixture
def module(home, monkeypatch):
    """Writes a module into the current folder, which is forgotten afterwards."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(content, name="mine_of_the_test"):
        (home / "here" / f"{name}.py").write_text(content)
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


OBJECT = "class T:\n    def train(self): ...\n"


@pytest.mark.parametrize(
    "content",
    [
        OBJECT + "thing = T()\n",
        OBJECT + "thing = T\n",
        OBJECT + "def thing():\n    return T()\n",
        OBJECT + "def thing(seed=3):\n    return T()\n",
    ],
)
def test_an_object_or_what_makes_one_is_taken(module, content):
    loaded = usercode.load(f"{module(content)}:thing", having="train")
    assert type(loaded).__name__ == "T"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("thing = 3\n", "is a int without `train`"),
        ("def thing(seed): ...\n", "cannot be called without arguments"),
        ("def thing():\n    return 3\n", "is a int without `train`"),
        ("other = 1\nanother = 2\n", "has no 'thing'; it has other, another"),
        ("import no_such_module_anywhere\n", "needs the module 'no_such_module_anywhere'"),
    ],
)
def test_what_cannot_be_taken_is_told(module, content, said):
    with pytest.raises(CommandError, match=said):
        usercode.load(f"{module(content)}:thing", having="train")


@pytest.mark.parametrize("reference", ["trainer", "trainer:", ":trainer", "a:b:c", "a:b c"])
def test_a_reference_is_module_and_attribute(reference):
    with pytest.raises(CommandError, match="wanted is module:attribute") as told:
        usercode.load(reference, having="train")
    assert told.value.code == 2


def test_a_file_name_is_told_with_the_module_it_means(home):
    with pytest.raises(CommandError, match=r"wanted is its module: sub\.trainer:"):
        usercode.load("./sub/trainer.py:trainer", having="train")


def test_a_module_that_is_not_there_is_told_with_the_folder(home):
    with pytest.raises(CommandError, match=r"no module 'nowhere_at_all' in .*here"):
        usercode.load("nowhere_at_all:trainer", having="train")


def test_what_the_users_code_raises_keeps_its_traceback(module):
    with pytest.raises(ZeroDivisionError):
        usercode.load(f"{module('1 / 0')}:thing", having="train")
