"""What clients send, as files: a model of three numbers, its moments, and what the mean of such files must be."""

from collections.abc import Sequence
from functools import cache
from io import BytesIO

import numpy as np

from hansa.core.moments import FIRST, SECOND
from hansa.core.params import ArraySpec, Kind, ParamSpec
from hansa.formats import safetensors
from hansa.server.blobs.digests import Digester, Digests
from simulation.clients import MOMENTS
from simulation.reference import mean_of

SPEC = ParamSpec((ArraySpec("weight", "float32", (3,), Kind.PARAM),))


@cache
def content_of(value: int) -> bytes:
    """The file that a value stands for."""
    numbers = np.array([value % 97 / 7, value % 1013 / 13, value / 2**16], "<f4")
    if value < MOMENTS:
        return _file(weight=numbers)
    first = numbers.astype("<f8")
    return _file(**{FIRST: first, SECOND: first * first + value % 5})


@cache
def digests_of(content: bytes) -> Digests:
    """As the store has them."""
    digester = Digester()
    digester.update(content)
    return digester.digests()


def mean_file(updates: Sequence[tuple[bytes, float]]) -> bytes:
    """The file that the mean of these files must be, bit for bit."""
    content = updates[0][0]
    begins = 8 + int.from_bytes(content[:8], "little")
    layout = "<3f" if len(content) - begins == 12 else "<6d"
    return content[:begins] + mean_of([(each[begins:], weight) for each, weight in updates], layout)


def _file(**arrays: np.ndarray) -> bytes:
    file = BytesIO()
    safetensors.write(file, arrays)
    return file.getvalue()
