"""What all tests share. Fixtures of the server are in `support`, by subject; each folder may add its own."""

from collections import defaultdict
from pathlib import Path

import pytest

pytest_plugins = (
    "support.postgres",
    "support.databases",
    "support.home",
    "support.people",
    "support.work",
    "support.disks",
    "support.serving",
    "support.federation",
    "support.receiver",
)

TESTS = Path(__file__).parent


def pytest_configure() -> None:
    """Refuse two files of one name. Folders here are no packages: pytest would refuse too, but only in a whole run."""
    places = defaultdict(list)
    for file in TESTS.rglob("test_*.py"):
        places[file.name].append(str(file.parent.relative_to(TESTS)))
    for name, folders in places.items():
        if len(folders) > 1:
            raise pytest.UsageError(f"{name} stands in {' and in '.join(sorted(folders))}. Give one another name.")
