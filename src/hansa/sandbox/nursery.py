"""The nursery: a process that has torch imported, reads nothing of strangers, and forks a cell for whoever asks.

    python -m hansa.sandbox.nursery DESCRIPTOR PARENT

A request is a message of the limits with the cell's end of a pair of sockets; the answer is the cell's number, with its
pidfd, by which the server kills it, and no other process that has its number later, and with a pipe that tells the
status with which the cell ends; or in words why there is none. The nursery ends with its parent, and the cells with it.
"""

import codecs
import io
import os
import select
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
from hansa.sandbox.fates import EXHAUSTED, told
from hansa.sandbox.framing import LENGTH, receive, send
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
    for asked in (signal.SIGINT, signal.SIGTERM):  # of a terminal or a supervisor, to all at once: the server decides
        signal.signal(asked, signal.SIG_IGN)
    sock = socket.socket(fileno=descriptor)
    living: dict[int, int] = {}
    with suppress(EOFError, BrokenPipeError):
        while True:
            if _has_asked(sock, living):
                message, (end,) = receive(sock, 4096)
                _fork(sock, end, msgspec.msgpack.decode(message, type=Wish), living)


def _has_asked(sock: socket.socket, living: dict[int, int]) -> bool:
    """Wait until the server asks or a cell ends. The dead are buried, and their status is told to the server.

    `living`: of each cell the pidfd, and the pipe to tell its fate.
    """
    poll = select.poll()  # keeps no descriptor of its own, which cells would have as well
    for descriptor in (sock.fileno(), *living):
        poll.register(descriptor, select.POLLIN)
    ready = {descriptor for descriptor, _ in poll.poll()}
    for pidfd in living.keys() & ready:
        pipe = living.pop(pidfd)
        ended = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
        if ended is not None:
            with suppress(BrokenPipeError):
                os.write(pipe, told(ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status))
        os.close(pipe)
        os.close(pidfd)
    return sock.fileno() in ready


def _warm() -> None:
    """Do once what imports or opens files at its first use: a cell can do neither."""
    from PIL import Image

    Image.init()
    codecs.lookup("cp437")  # of the names in some zip files
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


def _fork(sock: socket.socket, end: int, wish: Wish, living: dict[int, int]) -> None:
    nursery = os.getpid()
    try:
        fate, telling = os.pipe()
    except OSError as error:
        _decline(sock, end, error)
        return
    try:
        child = os.fork()
    except OSError as error:
        os.close(fate)
        os.close(telling)
        _decline(sock, end, error)
        return
    if child:
        _announce(sock, child, fate, telling, living)
        os.close(end)
        return
    status = 1
    try:
        for descriptor in (fate, telling, *living, *living.values()):
            os.close(descriptor)
        sock.close()
        die_with(nursery)
        cell.live(socket.socket(fileno=end), wish.limits, wish.protections, wish.threads)
        status = 0
    except MemoryError:
        status = EXHAUSTED
    finally:
        os._exit(status)


def _announce(sock: socket.socket, child: int, fate: int, telling: int, living: dict[int, int]) -> None:
    try:
        pidfd = os.pidfd_open(child)
    except OSError:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(telling)
        send(sock, b"too many files are open in the nursery")
    else:
        living[pidfd] = telling
        send(sock, child.to_bytes(LENGTH, "little"), [pidfd, fate])
    finally:
        os.close(fate)


def _decline(sock: socket.socket, end: int, error: OSError) -> None:
    os.close(end)
    send(sock, f"the machine says: {error.strerror}".encode())


if __name__ == "__main__":
    main()
