"""The data folder: whether it is there, whose it is, who may read it, and how much room its disk has."""

import os
import pwd
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from hansa.server.config import Config, secret_key_file
from hansa.server.doctor.finding import Finding, error, listed, warning, well
from hansa.server.home import DISK_FLOOR, FOLDERS

INODES = 1000


def folder(config: Config) -> Iterator[Finding]:
    """Whether there is a data folder at all."""
    if config.home.is_dir():
        yield well("home", f"{config.home}")
        return
    yield error(
        "home",
        f"{config.home} is {'not a folder' if config.home.exists() else 'not there'}",
        "the folder of a server that has been started",
        "name the right one by HANSA_HOME, or start the server there once: hansa serve",
    )


def permissions(config: Config) -> Iterator[Finding]:
    """Whose the folder is, and whether others can read what is in it."""
    found = list(_permissions(config))
    yield from found or [well("permissions", f"only {_name(os.geteuid())} can read the data folder")]


def _permissions(config: Config) -> Iterator[Finding]:
    owner = config.home.stat().st_uid
    if owner != os.geteuid():
        yield error(
            "permissions",
            f"{config.home} belongs to {_name(owner)}, and this is {_name(os.geteuid())}",
            "one user who owns the folder and runs the server",
            f"run this as {_name(owner)}; if the server runs as {_name(os.geteuid())}: chown -R {_name(os.geteuid())} "
            f"{config.home}",
        )
    elif not os.access(config.home, os.W_OK | os.X_OK):
        yield error("permissions", f"{config.home} cannot be written", "mode 0700", f"chmod 0700 {config.home}")
    foreign = [name for name in (*FOLDERS, "damaged") if _owner(config.home / name) not in (None, owner)]
    if foreign:
        yield error(
            "permissions",
            f"in {config.home} not {_name(owner)}'s: {listed(foreign)}",
            "one owner of the folder and of what is in it",
            f"chown -R {_name(owner)} {config.home}, as root; and run hansa as {_name(owner)}",
        )
    for path, mode, bad in (
        (config.home, 0o700, warning),
        (config.database, 0o600, warning),
        (secret_key_file(config.home), 0o600, error),
    ):
        if path.exists() and _mode(path) & 0o077:
            yield bad(
                "permissions",
                f"{path} has mode {_mode(path):04o}: others may read it",
                f"mode {mode:04o}",
                f"chmod {mode:04o} {path}",
            )


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _owner(path: Path) -> int | None:
    return path.stat().st_uid if path.exists() else None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def disk(config: Config, *, needed: int) -> Iterator[Finding]:
    """Free room, against what the trainings that run may need for their next round."""
    free, total = shutil.disk_usage(config.home).free, shutil.disk_usage(config.home).total
    room = f"{free / 2**30:,.1f} of {total / 2**30:,.1f} GiB are free"
    floor = max(DISK_FLOOR, needed)
    act = "free some space, or move HANSA_HOME to a larger disk; uploads are refused (507) while it is full"
    if free < DISK_FLOOR:
        yield error("disk", room, f"at least {floor / 2**30:,.1f} GiB", act)
    elif free < needed:
        yield warning("disk", room, f"{needed / 2**30:,.1f} GiB for the next round of the trainings that run", act)
    else:
        yield well("disk", room)
    inodes = os.statvfs(config.home)
    if inodes.f_files and inodes.f_favail < INODES:
        yield warning("disk", f"{inodes.f_favail} more files fit on it", f"at least {INODES}", "delete other files")
