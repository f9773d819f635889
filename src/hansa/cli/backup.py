"""`hansa backup` and `hansa restore`: a server's data as a folder, and back."""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hansa.cli import output
from hansa.cli.bar import bar
from hansa.cli.exits import CommandError, ExitCode
from hansa.cli.extras import needs_extra
from hansa.cli.session import AsJson

if TYPE_CHECKING:
    from hansa.server.backup.manifest import Manifest

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of the backup.", show_default=False)]


def backup(
    folder: Folder,
    link: Annotated[
        bool, typer.Option("--link", help="Link the files instead of copying them: no room, and the same disk.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Back a server's data up, also while it runs: HANSA_HOME, and the database if it is on PostgreSQL.

    Into a new folder, readable by its owner alone. Exit code 1 if files were damaged and are left out.
    """
    with needs_extra("server", "hansa backup"):
        from hansa.server import config
        from hansa.server.backup.making import Terms, back_up

    with _told("hansa backup"), bar("copying", shown=not as_json) as progress:
        made = back_up(config.read(os.environ), folder, Terms(link=link, progress=progress))
    _show(made, folder, as_json=as_json)
    _complain_of_missing(made, "hansa doctor says what they are, and what to do.")


def restore(folder: Folder, as_json: AsJson = False) -> None:
    """Restore a backup into HANSA_HOME, which must be a new or an empty folder (and an empty database on PostgreSQL).

    Every file is compared with its SHA-256 before anything is put in its place. Exit code 1 if the backup was made
    without some, which were damaged then: all others are restored.
    """
    with needs_extra("server", "hansa restore"):
        from hansa.server import config
        from hansa.server.backup.restoring import restore as restored

    with _told("hansa restore"), bar("comparing and copying", shown=not as_json) as progress:
        settings = config.read(os.environ)
        known = restored(settings, folder, progress)
    _show(known, settings.home, as_json=as_json)
    if not as_json:
        home = f"HANSA_HOME={shlex.quote(os.environ['HANSA_HOME'])} " if os.environ.get("HANSA_HOME") else ""
        output.note(f"Start the server: {home}hansa serve")
    _complain_of_missing(
        known,
        "They were so when the backup was made. hansa doctor says what they are; look for them in an older backup.",
    )


@contextmanager
def _told(command: str) -> Iterator[None]:
    from hansa.server import config, home
    from hansa.server.backup.manifest import BackupError

    try:
        yield
    except (config.ConfigError, home.HomeError, BackupError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(
            f"{error.filename or 'A file'}: {error.strerror}. Mend that, then run {command} again; what it has "
            "begun is never taken for whole."
        ) from error


def _complain_of_missing(manifest: "Manifest", next_step: str) -> None:
    """Whoever runs this is told, by the exit code as well, of what is not in the backup."""
    if manifest.left_out:
        output.complain(
            f"{len(manifest.left_out)} blobs are damaged or missing, and left out: {', '.join(manifest.left_out[:3])}. "
            f"{next_step}"
        )
        raise typer.Exit(ExitCode.FAILED)


def _show(manifest: "Manifest", folder: Path, *, as_json: bool) -> None:
    if as_json:
        output.print_json(
            {
                "folder": str(folder),
                "made_at": manifest.made_at,
                "hansa": manifest.hansa,
                "database": manifest.database.kind,
                "blobs": len(manifest.blobs),
                "bytes": manifest.nbytes,
                "left_out": manifest.left_out,
            }
        )
        return
    size = f"{manifest.nbytes / 2**20:,.1f} MiB"
    output.say(f"{folder}: the database and {len(manifest.blobs):,} blobs, {size}, as of {manifest.made_at}")
