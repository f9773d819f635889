"""A DLR platform's database, and a server's data folder with nothing in it."""

import subprocess

import pytest

from support.databases import copy_home
from support.dlr_platform import dlr_platform
from support.serving import environment
from system.coming_over.commands import PROGRAM
from system.coming_over.contents import fill


@pytest.fixture
def dlr(postgres_url):
    with dlr_platform(postgres_url) as platform:
        yield platform


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A data folder with an empty database: making one takes longer than coming over."""
    folder = tmp_path_factory.mktemp("prepared") / "home"
    subprocess.run([*PROGRAM, "migrate"], env=environment(folder), capture_output=True, check=True)
    return folder


@pytest.fixture
def home(prepared, tmp_path):
    copy_home(prepared, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def old(dlr, tmp_path):
    return fill(dlr, tmp_path / "sprung")
