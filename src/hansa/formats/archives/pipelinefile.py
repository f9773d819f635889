"""Preprocessing pipelines: torch files of a module that need not hold a single array."""

from pathlib import Path

from hansa.formats.archives.entries import MAX_PICKLE, read_entry
from hansa.formats.archives.machine import read_pickle
from hansa.formats.archives.modules import is_module
from hansa.formats.archives.placeholders import called
from hansa.formats.archives.torchfile import CONSTANTS, PICKLE
from hansa.formats.archives.zipdirectory import SIGNATURE, read_directory
from hansa.formats.chunks import FileSource
from hansa.formats.errors import BadModelFileError
from hansa.formats.flavour import Flavour

_ADVICE = "Save the pipeline with torch.jit.save(torch.jit.script(pipeline), …), or with torch.save(pipeline, …)."


def check_pipeline(path: Path) -> Flavour:
    """Whether it is a script or a pickled module. Raises BadModelFileError for whatever else it is. Nothing is run."""
    with FileSource(path) as source:
        start = bytearray(min(len(SIGNATURE), path.stat().st_size))
        source.read_into(0, memoryview(start))
        if start != SIGNATURE:
            raise BadModelFileError(f"the file begins with {bytes(start)!r}; wanted is an archive of torch. {_ADVICE}")
        directory = read_directory(source, path.stat().st_size)
        if PICKLE not in directory.entries:
            raise BadModelFileError(f"the zip archive has no {PICKLE!r}: it was not written by torch. {_ADVICE}")
        content = read_entry(source, directory, directory.entries[PICKLE], MAX_PICKLE)
        value = read_pickle(content, f"{PICKLE!r} in the archive")
        if CONSTANTS in directory.entries:
            return Flavour.SCRIPT
        if not is_module(value):
            raise BadModelFileError(f"the archive holds {called(value)}; wanted is a module, to be called. {_ADVICE}")
        return Flavour.MODULE
