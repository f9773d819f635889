"""Blobs that another process asks the server to look at: an empty file for each, in a folder that the server reads.

Only the process that serves a store moves files out of it: it alone knows who is writing one of them just now.
"""

import re

from hansa.server.blobs import store
from hansa.server.home import DOUBTED

_DIGEST = re.compile(r"[0-9a-f]{64}")


def leave(digest: str) -> None:
    """Ask for it. A server does it within a minute, or when it is started. Raises OSError."""
    (store.home() / DOUBTED / digest).touch(mode=0o600)


def left() -> list[str]:
    """The digests that were asked for."""
    names = (path.name for path in (store.home() / DOUBTED).glob("*"))
    return sorted(name for name in names if _DIGEST.fullmatch(name))


def settle(digest: str) -> None:
    """It was looked at, and done what there was to do."""
    (store.home() / DOUBTED / digest).unlink(missing_ok=True)
