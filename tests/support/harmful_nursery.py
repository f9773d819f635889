"""A nursery whose cells know operators that do harm, as a program would that has got out of its interpreter.

    python harmful_nursery.py DESCRIPTOR PARENT

The operators are declared to whoever imports this as well, so that scripts can be made that call them.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import torch

READABLE = Path("/etc/hostname")


def _write() -> None:
    Path("/tmp/hansa-harm").write_text("harm")  # noqa: S108 - the place that everybody may write to


HARM: dict[str, tuple[Callable[[], object], str]] = {
    "fork": (os.fork, "processes"),
    "execute": (lambda: os.execv("/bin/true", ["true"]), "processes"),  # noqa: S606 - the subject
    "tcp": (lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), "network"),
    "udp": (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "network"),
    "read": (READABLE.read_text, "files"),
    "write": (_write, "files"),
}
"""What each does, and the limit that stops it."""

_LIBRARY = torch.library.Library("harm", "DEF")  # type: ignore[no-untyped-call]  # torch declares no types


def _declare(name: str, does: Callable[[], object]) -> None:
    def operator(x: torch.Tensor) -> torch.Tensor:
        does()
        return x.clone()

    _LIBRARY.define(f"{name}(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]  # torch declares no types
    _LIBRARY.impl(name, operator, "CPU")  # type: ignore[no-untyped-call]  # torch declares no types


for _name, (_does, _) in HARM.items():
    _declare(_name, _does)


def harmful(name: str, path: Path) -> Path:
    """A script that does one kind of harm, and has a param, as a model does."""
    module: torch.nn.Module = type("Harms", (torch.nn.Module,), {})()  # of its own: scripts share methods by class
    module.register_parameter("w", torch.nn.Parameter(torch.ones(1)))
    script = torch.jit.script(module)
    script.define(f"def forward(self, x: Tensor) -> Tensor:\n    return torch.ops.harm.{name}(x)\n")  # type: ignore[no-untyped-call]  # torch declares no types
    script.save(str(path))  # type: ignore[no-untyped-call]  # torch declares no types
    return path


if __name__ == "__main__":
    from hansa.sandbox.nursery import main

    main()
