"""A model file becomes a version's blob: checked, and rewritten canonically.

Canonical means: sorted names in the header, aligned data, no foreign metadata. Two files with the same arrays become
the same blob, and every reader finds every array where the spec says.
"""

from dataclasses import dataclass
from pathlib import Path

from hansa.core.params import ParamSpec
from hansa.formats import chunks, safetensors
from hansa.formats.errors import BadModelFileError
from hansa.formats.layout import BUFFERS_KEY
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.store import BlobFile


@dataclass(frozen=True, slots=True)
class Ingested:
    """A checked model, on the disk but not yet in the store."""

    spec: ParamSpec
    digests: Digests
    file: Path
    kinds_known: bool
    """Whether the file, or the caller, said which arrays are buffers."""


def ingest(path: Path, *, buffers: frozenset[str] | None) -> Ingested:
    """Read a safetensors file of unknown quality and write it canonically, chunk by chunk.

    `buffers` None: as the file's own metadata says, else all arrays are params. Raises ModelFileError.
    """
    with path.open("rb") as file:
        layout = safetensors.read_layout(file, path.stat().st_size)
    if not layout.arrays:
        raise BadModelFileError("The file holds no arrays. Save the model's state, not an empty dictionary.")
    spec = layout.spec(buffers)
    header, _ = safetensors.canonical(spec)
    buffer = bytearray(chunks.MAX_BYTES)
    with BlobFile() as blob, chunks.FileSource(path) as source:
        blob.write(header)
        for chunk in chunks.chunks(spec):
            chunks.check_finite(chunks.read_chunk(source, layout, chunk, buffer), chunk)
            blob.write(memoryview(buffer)[: sum(segment.nbytes for segment in chunk)])
        digests = blob.finish()
    return Ingested(spec, digests, blob.path, buffers is not None or BUFFERS_KEY in layout.metadata)
