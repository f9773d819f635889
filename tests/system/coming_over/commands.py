"""The command as it is typed, and what is seen of it afterwards."""

import json
import resource
import subprocess
import sys

from support import databases
from support.serving import environment

PROGRAM = [sys.executable, "-c", "import sys; from hansa.cli import main; sys.exit(main())"]
AT_ONCE = """
import sys
from hansa.cli import main
from hansa.server.coming_over import source
assert "lock_timeout=10s" in source.SESSION
source.SESSION = source.SESSION.replace("lock_timeout=10s", "lock_timeout=100ms")
sys.exit(main())
"""
IMPATIENT = [sys.executable, "-c", AT_ONCE]
"""The same, but it does not wait ten seconds for a table that is locked."""


def command(home, url, *options, settings=None, largest_file=None, program=PROGRAM):
    limit = (largest_file, largest_file) if largest_file else None
    return subprocess.run(
        [*program, *arguments(url, *options)],
        env=environment(home, settings),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)),  # no threads
    )


def arguments(url, *options):
    return ["import", "dlr", "--database-url", url, *options]


def document(home, url, *options, settings=None):
    done = command(home, url, "--json", *options, settings=settings)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def counts(report):
    """Kind → taken, here, refused, left."""
    return {kind: tuple(fates.values()) for kind, fates in report["counts"].items()}


def reasons(report, kind, fate="refused"):
    """Name → why, of one kind."""
    found = [entry for entry in report["entries"] if entry["kind"] == kind and entry["fate"] == fate]
    return {entry["name"]: entry["reason"] for entry in found}


def dump(home):
    """Every row of every table of this server."""
    return {
        name: sorted(databases.rows(home, f'SELECT * FROM "{name}"'), key=repr)  # noqa: S608  # names of our tables
        for name in databases.tables(home)
    }


def stored_files(home):
    return sorted(
        path for folder in ("blobs", "tmp", "partial") for path in (home / folder).rglob("*") if path.is_file()
    )


def peak(home, url, *options):
    """Bytes that the command had in memory at most. What is told of a child that ended would count its parent's too."""
    program = (
        "import sys, pathlib; from hansa.cli import main; main()\n"
        "print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments(url, *options)],
        env=environment(home),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stderr.split()[-1]) * 1024
