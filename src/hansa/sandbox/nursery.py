"""The nursery: a process that has torch imported, reads nothing of strangers, and forks a cell for whoever asks.

    python -m hansa.sandbox.nursery DESCRIPTOR PARENT

A request is a message of the limits with the cell's end of a pair of sockets; the answer a message with the cell's
pidfd, by which the server kills it, and no other process that has its number later. The nursery ends with its parent,
and the cells with the nursery.
"""

import io
import os
import signal
import socket
import sys
from contextlib import suppress

import msgspec
import numpy as np
import torch

from hansa.sandbox import cell
from hansa.sandbox.confinement.kernel import die_with
from hansa.sandbox.confinement.limits import Limits
from hansa.sandbox.confinement.protections import Protections
from hansa.sandbox.framing import receive, send
from hansa.sandbox.programs.allowed import ALLOWED


class Wish(msgspec.Struct, frozen=True):
    """A cell to be."""

    limits: Limits
    protections: Protections
    threads: int


def main() -> None:
    """Answer wishes until the server goes."""
    descriptor, parent = map(int, sys.argv[1:])
    die_with(parent)
    torch.set_num_threads(1)  # threads do not live through a fork: the pools begin in the cells
    _warm()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the cells
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the server decides
    sock = socket.socket(fileno=descriptor)
    with suppress(EOFError):
        while True:
            message, (end,) = receive(sock, 4096)
            _fork(sock, end, msgspec.msgpack.decode(message, type=Wish))


def _warm() -> None:
    """Do once what imports or opens files at its first use: a cell can do neither."""
    from PIL import Image

    Image.init()
    with torch.no_grad():
        net = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8, 2))
        net(torch.zeros(1, 1, 4, 4))
        _load(net)
        torch.from_numpy(np.zeros(1)).numpy()
    torch.manual_seed(0)


def _load(net: torch.nn.Module) -> None:
    saved = io.BytesIO()
    torch.save(net, saved)
    saved.seek(0)
    with torch.serialization.safe_globals([*ALLOWED]):
        torch.load(saved, weights_only=True)


def _fork(sock: socket.socket, end: int, wish: Wish) -> None:
    nursery = os.getpid()
    child = os.fork()
    if child:
        os.close(end)
        pidfd = os.pidfd_open(child)
        try:
            send(sock, b"", [pidfd])
        finally:
            os.close(pidfd)
        return
    status = 1
    try:
        sock.close()
        die_with(nursery)
        cell.live(socket.socket(fileno=end), wish.limits, wish.protections, wish.threads)
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
