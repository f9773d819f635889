"""Pickles put together instruction by instruction, as no pickler would; and one that would do harm if it were run."""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

STOP, MARK, NONE, EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT = b".", b"(", b"N", b")", b"]", b"}"
PROTO = b"\x80\x02"


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    return (
        b"J" + struct.pack("<i", value)
        if -(2**31) <= value < 2**31
        else b"\x8a\x09" + value.to_bytes(9, "little", signed=True)
    )


def name(module: str, qualname: str) -> bytes:
    return b"c" + module.encode() + b"\n" + qualname.encode() + b"\n"


def tuple_of(*values: bytes) -> bytes:
    return MARK + b"".join(values) + b"t"


def dict_of(pairs: dict[str, bytes]) -> bytes:
    return EMPTY_DICT + MARK + b"".join(text(key) + value for key, value in pairs.items()) + b"u"


def called(module: str, qualname: str, *arguments: bytes) -> bytes:
    return name(module, qualname) + tuple_of(*arguments) + b"R"


def storage(key: str = "0", count: int = 4, kind: bytes | None = None) -> bytes:
    return (
        tuple_of(text("storage"), kind or name("torch", "FloatStorage"), text(key), text("cpu"), integer(count)) + b"Q"
    )


def tensor(
    shape: bytes = b"", strides: bytes = b"", offset: bytes = b"", stored: bytes = b"", version: str = "v2"
) -> bytes:
    """A tensor of four floats, unless it is told otherwise."""
    return called(
        "torch._utils",
        f"_rebuild_tensor_{version}",
        stored or storage(),
        offset or integer(0),
        shape or tuple_of(integer(4)),
        strides or tuple_of(integer(1)),
        b"\x89",
        called("collections", "OrderedDict"),
    )


def module(parts: dict[str, bytes], kind: bytes | None = None) -> bytes:
    """An object with a state, as `torch.nn.Module` is pickled."""
    return (kind or name("net", "Net")) + EMPTY_TUPLE + b"\x81" + dict_of(parts) + b"b"


def whole(value: bytes) -> bytes:
    return PROTO + value + STOP


class Harm:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        import os

        return os.mkdir, (str(self.path),)


def harmful(path: Path, protocol: int) -> bytes:
    """The instructions of harm, without those of beginning and end."""
    content = pickle.dumps(Harm(path), protocol)
    start = 2 if protocol < 4 else 11  # PROTO; from 4 on, FRAME too
    return content[start:-1]
