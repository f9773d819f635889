"""Taking over what another platform holds: `hansa import …`."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from hansa.cli import output
from hansa.cli.exits import CommandError, ExitCode
from hansa.cli.extras import needs_extra
from hansa.cli.output import Column, right
from hansa.cli.session import AsJson

if TYPE_CHECKING:
    from hansa.server.coming_over.report import Entry, Report

app = typer.Typer(no_args_is_help=True, help="Take over what another platform holds. The server must not run.")


@app.callback()
def _import() -> None:
    """Without it a group of one command would be that command."""


@app.command()
def dlr(
    database_url: Annotated[
        str,
        typer.Option(
            "--database-url",
            metavar="URL",
            help="The DLR platform's database, postgresql://user@host/name; the password best in ~/.pgpass.",
        ),
    ],
    apply: Annotated[
        bool, typer.Option("--apply", help="Take it over; without, only say what would be taken.")
    ] = False,
    keep_staff: Annotated[
        list[str] | None,
        typer.Option(
            "--keep-staff",
            metavar="USERNAME",
            help="Let this user stay staff or superuser; again for another. All others lose it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take over users, models, trainings and metrics from a DLR platform.

    All keep their ids, users their passwords and tokens. What is here already is left as it is; nothing is changed
    there. Exit code 1 if anything cannot be taken.
    """
    with needs_extra("server", "hansa import dlr"):
        from hansa.server import config, process
        from hansa.server.coming_over.source import Source

    with _told(), Source.opened(database_url) as source:
        source.check_apart(config.read(os.environ).postgres)
        with process.sole_use() as settings:
            from hansa.server.coming_over.moving import Terms, come_over

            terms = Terms(apply, frozenset(keep_staff or ()), settings.max_model_bytes, output.note)
            report = come_over(source, terms)
    _show(report, as_json=as_json)
    raise typer.Exit(ExitCode.OK if report.complete else ExitCode.FAILED)


@contextmanager
def _told() -> Iterator[None]:
    """What can go wrong before anything is taken, as the end of a command."""
    from hansa.server import config, database, home
    from hansa.server.coming_over.errors import ComingOverError

    try:
        yield
    except (config.ConfigError, home.HomeError, database.UnusableDatabaseError, ComingOverError) as error:
        raise CommandError(str(error)) from error
    except OSError as error:
        raise CommandError(
            f"The data folder cannot be written: {error.strerror}. Nothing was taken over; mend that, then run this "
            "again."
        ) from error


def _show(report: "Report", *, as_json: bool) -> None:
    if as_json:
        output.print_json(_document(report))
        return
    console = output.console()
    console.print(_counts(report))
    for title, entries in (
        ("Cannot be taken:", [each for each in report.entries if each.fate == "refused"]),
        ("Left behind:", [each for each in report.entries if each.fate == "left"]),
    ):
        if entries:
            console.print(f"\n{title}")
            console.print(_reasons((entry, entry.reason) for entry in entries))
    if changed := [(entry, remark) for entry in report.entries for remark in entry.remarks]:
        console.print("\nNot as it was there:")
        console.print(_reasons(changed))
    if report.applied:
        output.note("Taken over. Start the server: hansa serve")
    else:
        output.note("Nothing was taken over yet. To do it, run the same command with --apply.")


def _counts(report: "Report") -> Table:
    from hansa.server.coming_over.report import Fate, Kind

    taken = "taken" if report.applied else "to be taken"
    columns = [Column(""), right(taken), right("here already"), right("cannot be taken"), right("left behind")]
    fates = (Fate.TAKEN, Fate.HERE, Fate.REFUSED, Fate.LEFT)
    return output.table(columns, [(kind, *(str(report.count(kind, fate)) for fate in fates)) for kind in Kind])


def _reasons(rows: "Iterable[tuple[Entry, str]]") -> Table:
    columns = [
        Column(""),
        Column("name", give="cut"),
        Column("id", give="wrap", style="cyan"),
        Column("why", give="wrap"),
    ]
    return output.table(columns, [(_what(entry), entry.name, entry.id, reason) for entry, reason in rows])


def _what(entry: "Entry") -> str:
    return entry.kind if entry.count == 1 else f"{entry.count} {entry.kind}"


def _document(report: "Report") -> dict[str, object]:
    from hansa.server.coming_over.report import Fate, Kind

    return {
        "source": report.source,
        "applied": report.applied,
        "counts": {kind: {fate: report.count(kind, fate) for fate in Fate} for kind in Kind},
        "entries": report.entries,
    }
