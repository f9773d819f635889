"""Arrays that are one: a model may name one array twice, as a language model its embedding and its head."""

from collections.abc import Iterable
from pathlib import Path

import xxhash

from hansa.formats.chunks import FileSource
from hansa.formats.errors import SpecMismatchError
from hansa.formats.layout import Layout, shown

PIECE = 2**20


def check(path: Path, layout: Layout, ties: Iterable[tuple[str, ...]]) -> None:
    """Raise SpecMismatchError unless names that are one array in the model hold the same numbers in the file.

    With different ones the version would have two values for one array, and no archive could be rendered from it.
    """
    with FileSource(path) as source:
        for names in ties:
            if len({_digest(source, layout, name) for name in names}) > 1:
                raise SpecMismatchError(
                    f"update has different numbers for {shown(names)}, which are one array in the model. Train them "
                    "as one, and save the module, not copies of its arrays."
                )


def _digest(source: FileSource, layout: Layout, name: str) -> int:
    digest, placed = xxhash.xxh3_128(), layout.placed(name)
    buffer = memoryview(bytearray(PIECE))
    for start in range(placed.start, placed.stop, PIECE):
        piece = buffer[: min(PIECE, placed.stop - start)]
        source.read_into(start, piece)
        digest.update(piece)
    return digest.intdigest()
