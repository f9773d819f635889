"""How much of a description is looked at: what a file shares between many objects is looked at for each of them."""

from hansa.formats.errors import BadModelFileError

MAX_MEMBERS = 200_000
"""Params, buffers, submodules and attributes of all modules of a file together."""


class Budget:
    """So many things of one sort may still be looked at."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._left = limit
        self._what = what

    def take(self, count: int) -> None:
        """Ask before looking at `count` things. Raises BadModelFileError when there were too many."""
        self._left -= count
        if self._left < 0:
            raise BadModelFileError(
                f"the file describes more than {self._limit:,} {self._what}, the most that are read. Save a smaller "
                "model, or its parts one by one."
            )


def members() -> Budget:
    """For the modules of one file."""
    return Budget(MAX_MEMBERS, "members of modules")
