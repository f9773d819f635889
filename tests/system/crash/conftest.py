import pytest
from crash_verdict import Undisturbed
from crash_world import Prepared, prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """A data folder that each test has a copy of."""
    return prepare(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def undisturbed(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """What the flows come to when nobody dies."""
    return Undisturbed(prepared, tmp_path_factory.mktemp("undisturbed"))
