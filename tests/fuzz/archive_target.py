"""What the fuzzer feeds: one input, everything that is ever asked of a model file or of a pickle.

The first byte of an input chooses the door: a whole file, or a pickle within a sound archive, so that the fuzzer need
not invent a zip directory before it meets the pickle machine.
"""

import tempfile
from pathlib import Path

from hansa.formats import modelfile
from hansa.formats.chunks import chunks
from hansa.formats.errors import ModelFileError
from support.keepable import check_layers, check_message
from support.torchzip import Entry, Layout, packed

MAX_BYTES = 4096
CODE = b'class Net(Module):\n  __parameters__ = ["w", ]\n  __buffers__ = ["b", ]\n  w : Tensor\n'
_REST = (Entry("data/0", bytes(64)), Entry("version", b"3\n"))
_SCRIPT = (Entry("constants.pkl", b"\x80\x02)."), Entry("code/__torch__.py", CODE))


def wrapped(content: bytes) -> bytes:
    """The file that an input stands for."""
    door, rest = content[:1], content[1:]
    if door == b"p":
        return packed([Entry("data.pkl", rest), *_REST], Layout(checksums=False))
    if door == b"s":
        return packed([Entry("data.pkl", rest), *_SCRIPT, *_REST], Layout(checksums=False))
    if door == b"c":
        script = b"\x80\x02c__torch__\nNet\n)\x81}(X\x01\x00\x00\x00wNub."
        return packed([Entry("data.pkl", script), _SCRIPT[0], Entry("code/__torch__.py", rest), *_REST])
    return rest


def look_at(content: bytes) -> None:
    """Nothing but a ModelFileError may come out; it is swallowed here."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        path.write_bytes(wrapped(content))
        for look in (_read_tensor, _read_model):
            try:
                look(path)
            except ModelFileError as error:
                check_message(error)


def _read_tensor(path: Path) -> None:
    found = modelfile.read_tensor(path)
    if found.size < MAX_BYTES:
        found.read()


def _read_model(path: Path) -> None:
    with modelfile.open_model(path) as file:
        spec = file.spec()
        _ = file.ties, file.kinds_known
        check_layers(file.structure)
        buffer = bytearray(MAX_BYTES)
        for number, chunk in enumerate(chunks(spec, MAX_BYTES)):
            if number == 20:
                break
            file.read_chunk(chunk, buffer)
        modelfile.check_renderable(file)
