"""Proving what crashes cannot do: `hansa chaos`."""

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hansa.cli import output
from hansa.cli.exits import CommandError, ExitCode
from hansa.cli.extras import needs_extra
from hansa.cli.session import AsJson

if TYPE_CHECKING:
    from hansa.simulation.chaos.report import Coverage, Report
    from hansa.simulation.chaos.run import Event, Options, Outcome

SHOWN_FINDINGS = 20


def chaos(
    kills: Annotated[int, typer.Option("--kills", metavar="N", min=1, help="How many processes to kill.")] = 20,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="S", min=0, help="Of the schedule; else one is drawn, and shown.")
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option("--home", metavar="DIR", help="Keep everything in this empty folder; else it is temporary."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", metavar="PORT", min=1, max=65535, help="The server's port; else one that is free."),
    ] = None,
    database_url: Annotated[
        str,
        typer.Option(
            "--database-url", metavar="URL", help="An empty PostgreSQL database for the server; else it has SQLite."
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Kill a server and its clients again and again, and verify that nothing was lost.

    Runs real trainings on this machine, in a folder of its own: a server, four clients, and SIGKILL for one or the
    other at random moments and crash points, each started again at once. Then every version is computed again from
    its accepted list and compared bit by bit, and every receipt, row and file is accounted for.

    Ends with exit code 0 only if nothing was lost, counted twice, different, stuck or left over. The same seed
    schedules the same kills; what the processes do in between is the machine's.
    """
    with needs_extra("server", "hansa chaos"):
        import hansa.server.process  # noqa: F401  # its processes will need it: better said here
    from hansa.simulation.chaos.run import Options

    chosen = secrets.randbelow(2**31) if seed is None else seed
    outcome = _ran(Options(kills=kills, seed=chosen, home=home, port=port, database_url=database_url))
    if as_json:
        output.print_json(outcome.report)
    else:
        _print(outcome)
    _explain(outcome)
    raise typer.Exit(ExitCode.OK if outcome.report.clean else ExitCode.FAILED)


def _ran(options: "Options") -> "Outcome":
    from hansa.simulation.chaos.run import ChaosError, run

    try:
        with _shown(options.kills, options.seed) as tell:
            return run(options, tell)
    except ChaosError as error:
        raise CommandError(str(error)) from error


@contextmanager
def _shown(kills: int, seed: int) -> Iterator[Callable[["Event"], None]]:
    """Progress on stderr: a bar in a terminal, else a line now and then."""
    from hansa.simulation.chaos.run import Phase
    from hansa.simulation.chaos.storm import Killed, Served

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = output.console(sys.stderr)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task: TaskID = bar.add_task(f"seed {seed}", total=kills)
        killed = ""

        def tell(event: "Event") -> None:
            nonlocal killed
            match event:
                case Phase(text):
                    bar.update(task, description=f"seed {seed}: {text}")
                    if not console.is_terminal:
                        output.note(f"seed {seed}: {text}")
                case Killed(kill, at_point):
                    killed = f"kill {kill.number}: {kill.target}" + (f" at {kill.point}" if at_point else "")
                    bar.update(task, description=killed, advance=1)
                case Served(seconds):
                    bar.update(task, description=f"{killed}; served again after {seconds:.2f} s")

        yield tell


def _print(outcome: "Outcome") -> None:
    output.console(sys.stdout).print(output.facts(_facts(outcome.report)))


def _facts(report: "Report") -> list[tuple[str, str]]:
    by, serving = report.kills_by, report.serving_seconds
    return [
        ("seed", str(report.seed)),
        (
            "kills",
            f"{report.kills}: {by['server']} server, {by['client']} client, {by['both']} both, {by['point']} at points",
        ),
        ("restarts", str(report.restarts)),
        (
            "serving again",
            f"after {serving.median:.2f} s; 95 % within {serving.p95:.2f} s, all within {serving.max:.2f} s",
        ),
        ("trainings", f"{report.trainings}, with {report.rounds} rounds and {report.updates} updates"),
        *_covered(report.covered),
        ("lost", str(report.lost)),
        ("counted twice", str(report.duplicated)),
        ("differing versions", str(report.differing_versions)),
        ("stuck", str(report.stuck)),
        ("orphans", str(report.orphans)),
        ("unreferenced", str(report.unreferenced)),
        ("stale answers", str(report.stale_answers)),
        ("seconds", f"{report.seconds:.1f}"),
    ]


def _covered(covered: "Coverage") -> list[tuple[str, str]]:
    seen = (
        f"{covered.late_updates} late updates, {covered.relayed} relayed models, {covered.moments} moments, "
        f"{covered.abandoned_rounds} abandoned rounds, {covered.pauses} pauses"
    )
    return [
        ("among them", seen),
        ("crash points", f"{len(covered.points)} different ones; --json names them"),
        ("answers", f"{covered.answers}, each asked which process it is"),
    ]


def _explain(outcome: "Outcome") -> None:
    """What is wrong, on stderr, and where to look."""
    for finding in outcome.findings[:SHOWN_FINDINGS]:
        output.complain(f"{finding.fault.value}: {finding.text}")
    if (more := len(outcome.findings) - SHOWN_FINDINGS) > 0:
        output.note(f"and {more} more")
    if outcome.home is not None:
        output.note(f"Everything is in {outcome.home}.")
