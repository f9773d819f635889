"""What a server holds in memory while something large goes through it."""

from pathlib import Path

import psutil

ROOM = 60 * 2**20
"""Bytes by which a server may grow: buffers of its threads, and what Python keeps for later."""


class Memory:
    """What a process has held at most since the last look."""

    def __init__(self, pid):
        self._process = psutil.Process(pid)
        self._folder = Path("/proc") / str(pid)
        self.before = self._process.memory_info().rss

    def reset(self):
        (self._folder / "clear_refs").write_text("5")
        self.before = self._process.memory_info().rss

    def growth(self):
        """Bytes above what it held at the last reset."""
        lines = dict(line.split(":", 1) for line in (self._folder / "status").read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024 - self.before
