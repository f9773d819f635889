"""The parts that a base install leaves out."""

from collections.abc import Iterator
from contextlib import contextmanager

from hansa.cli.exits import CommandError


@contextmanager
def needs_extra(extra: str, command: str) -> Iterator[None]:
    """Around the imports that `command` needs from an extra: what is missing is said, with what to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").split(".")[0]
        if missing in ("", "hansa"):
            raise
        raise CommandError(
            f"{command} needs the {extra} extra ({missing!r} is not installed): pip install 'hansa[{extra}]', "
            f"or in a checkout: pip install '.[{extra}]'"
        ) from error
