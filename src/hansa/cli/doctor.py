"""`hansa doctor`: the examination of a server's data and surroundings, for people or as one JSON document."""

import os
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from hansa.cli import output
from hansa.cli.bar import bar
from hansa.cli.extras import needs_extra
from hansa.cli.output import Column
from hansa.cli.session import AsJson

if TYPE_CHECKING:
    from hansa.server.doctor.finding import Finding

STYLES = {"ok": "green", "warning": "yellow", "error": "bold red"}
SHOWN = 20
"""Of the findings of one check and level, as lines; --json has all."""
CODES = {"ok": 0, "warning": 1, "error": 2}


def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Look whether files are there, without reading them.")] = False,
    set_aside: Annotated[
        bool,
        typer.Option(
            "--set-aside",
            help="Have the server move damaged files that a running training needs aside, and ask for them again.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look at a server's database, files, clock, disk, permissions, key and hosts, and say what to do.

    For HANSA_HOME, as `hansa serve`; also while it runs. Changes nothing, unless --set-aside. Exit code 0: all is well,
    1: there are warnings, 2: there are errors.
    """
    with needs_extra("server", "hansa doctor"):
        from hansa.server.doctor.examination import Wish, examine

    with bar("reading the store", shown=not as_json) as progress:
        findings = list(examine(os.environ, Wish(quick=quick, set_aside=set_aside, progress=progress)))
    worst = max((finding.level.value for finding in findings), key=CODES.__getitem__)
    if as_json:
        output.print_json({"level": worst, "findings": findings})
    else:
        _show(findings)
    raise typer.Exit(CODES[worst])


def _show(findings: "list[Finding]") -> None:
    columns = [Column("check"), Column(""), Column("what was seen, what is wanted, what to do", give="wrap")]
    rows = []
    for (check, level), alike in groupby(findings, key=lambda finding: (finding.check, finding.level.value)):
        sentences = [_sentence(finding) for finding in alike]
        if (more := len(sentences) - SHOWN) > 0:
            sentences[SHOWN:] = [f"{more:,} more like these: hansa doctor --json has all"]
        rows += [(check, Text(level, style=STYLES[level]), sentence) for sentence in sentences]
    output.console().print(output.table(columns, rows))


def _sentence(finding: "Finding") -> str:
    wanted = f" Wanted: {finding.wanted}." if finding.wanted else ""
    act = f" Next: {finding.do}." if finding.do else ""
    return f"{finding.seen}.{wanted}{act}" if wanted or act else finding.seen
