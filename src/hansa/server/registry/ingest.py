"""A model file becomes a version's blob: checked, and rewritten canonically.

Canonical means: sorted names in the header, aligned data, no foreign metadata. Two files with the same arrays become
the same blob, whatever program wrote them, and every reader finds every array where the spec says. A file of torch is
kept beside it, as the archive into which later versions are rendered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hansa.core.params import ParamSpec
from hansa.formats import chunks, modelfile, safetensors
from hansa.formats.errors import BadModelFileError
from hansa.formats.modelfile import Flavour, LayerInfo
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.store import BlobFile, digested


@dataclass(frozen=True, slots=True)
class Ingested:
    """A checked model, on the disk but not yet in the store."""

    spec: ParamSpec
    digests: Digests
    file: Path
    """The canonical one."""
    kinds_known: bool
    """Whether the file, or the caller, said which arrays are buffers."""
    archive: Digests | None = None
    """Of the file that came, if it is torch's; it is as durable as the canonical one."""
    ties: Sequence[Sequence[str]] = ()
    """Names that are one array in the file."""
    param_order: Sequence[str] = ()
    """The names of the params as `parameters()` of the module gives them, ties included; empty if not known."""
    structure: Sequence[LayerInfo] | None = None


def ingest(path: Path, *, buffers: frozenset[str] | None) -> Ingested:
    """Read a model file of unknown quality and write it canonically, chunk by chunk.

    `buffers` None: as the file itself says, else all arrays are params. Raises ModelFileError.
    """
    with modelfile.open_model(path) as file:
        spec = file.spec(buffers)
        if not spec.arrays:
            raise BadModelFileError("The file holds no arrays. Save the model's state, not an empty dictionary.")
        modelfile.check_renderable(file)
        canonical, digests = _rewritten(file, spec)
        return Ingested(
            spec,
            digests,
            canonical,
            kinds_known=buffers is not None or file.kinds_known,
            archive=None if file.flavour is Flavour.SAFETENSORS else digested(path),
            ties=file.ties,
            param_order=file.param_order,
            structure=file.structure,
        )


def _rewritten(file: modelfile.ModelFile, spec: ParamSpec) -> tuple[Path, Digests]:
    header, _ = safetensors.canonical(spec)
    buffer = bytearray(chunks.MAX_BYTES)
    with BlobFile() as blob:
        blob.write(header)
        for chunk in chunks.chunks(spec):
            chunks.check_finite(file.read_chunk(chunk, buffer), chunk)
            blob.write(memoryview(buffer)[: sum(segment.nbytes for segment in chunk)])
        return blob.path, blob.finish()
