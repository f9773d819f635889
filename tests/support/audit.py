"""A process that tells what it does beyond reading: Python's own audit events, written to a file as they happen.

`sitecustomize` is imported by every interpreter before anything else, so no process of a server is without it.
"""

from pathlib import Path

WATCHER = """
import os, sys

kept, told = {kept!r}, os.open({told!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
PROCESSES = ("os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen")
PLACES = ("os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate")

def outside(path):
    if isinstance(path, int):
        return False
    place = os.path.realpath(os.fsdecode(path))
    return not (place == kept or place.startswith(kept + os.sep))

def watch(event, arguments):
    if event in ("pickle.find_class", *PROCESSES):
        told_of = True
    elif event == "import":
        told_of = arguments[0].partition(".")[0] == "torch"
    elif event in PLACES:
        told_of = outside(arguments[1 if event in ("os.link", "os.symlink", "os.rename") else 0])
    elif event == "open":
        told_of = (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and outside(arguments[0])
    else:
        return
    if told_of:
        os.write(told, (event + " " + repr(arguments)[:200] + chr(10)).encode())

sys.addaudithook(watch)
"""


class Audit:
    """What the processes with these settings of their environment did."""

    def __init__(self, folder: Path, kept: Path) -> None:
        """They may write below `kept`, and nowhere else."""
        self._told = folder / "told"
        self._told.touch()
        places = {name: folder / name for name in ("site", "nowhere", "tmp")}
        for place in places.values():
            place.mkdir()
        watcher = WATCHER.format(kept=str(kept.resolve()), told=str(self._told))
        (places["site"] / "sitecustomize.py").write_text(watcher)
        self.nowhere = places["nowhere"]
        """The folder to start in; as good as the home of a user."""
        self.settings = {
            "PYTHONPATH": str(places["site"]),
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(self.nowhere),
            "TMPDIR": str(places["tmp"]),
        }

    def forget(self) -> None:
        """Begin here: what a start does is not looked at."""
        self._told.write_text("")

    def told(self) -> list[str]:
        """Writing outside, other processes, pickles that name something, torch: a line each."""
        return self._told.read_text().splitlines()
