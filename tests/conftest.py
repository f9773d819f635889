"""What all tests share. Fixtures of the server are in `support`, by subject; each folder may add its own."""

from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

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

# Random tests print how to repeat a failure; a slow machine is no failure. The same for all, whichever are collected.
settings.register_profile(
    "hansa", deadline=None, print_blob=True, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("hansa")


def pytest_configure() -> None:
    """Refuse two files of one name. Folders here are no packages: pytest would refuse too, but only in a whole run."""
    places = defaultdict(list)
    for file in TESTS.rglob("test_*.py"):
        places[file.name].append(str(file.parent.relative_to(TESTS)))
    for name, folders in places.items():
        if len(folders) > 1:
            raise pytest.UsageError(f"{name} stands in {' and in '.join(sorted(folders))}. Give one another name.")
