"""A plan from a file and from options, the options going before; checked here, before it is sent."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from hansa.cli.exits import CommandError, ExitCode
from hansa.rounds.plan import UnsoundPlanError, check_against, parse

Rounds = Annotated[int | None, typer.Option(metavar="N", min=1, help="How many rounds; else as the plan says.")]
Epochs = Annotated[int | None, typer.Option(metavar="N", min=1, help="Local epochs per round.")]
LearningRate = Annotated[float | None, typer.Option(metavar="RATE", help="The clients' learning rate; else their own.")]
Momentum = Annotated[float | None, typer.Option(metavar="M", help="The clients' momentum; else their own.")]
Prox = Annotated[float | None, typer.Option(metavar="MU", help="FedProx: the proximal term's weight.")]
Quorum = Annotated[int | None, typer.Option(metavar="N", min=1, help="Close a round at so many reports.")]
Deadline = Annotated[str | None, typer.Option(metavar="TIME", help="Close a round after this time (90s, 2h).")]
MinReports = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Fewer reports do not make a round; else half.")
]
KeepUpdates = Annotated[int | None, typer.Option(metavar="N", min=0, help="Keep updates for so many rounds more.")]
Seed = Annotated[
    int | None, typer.Option(metavar="N", min=0, help="Decides selections and clients' seeds; else drawn.")
]

OPTIONS = {
    "rounds": ("rounds",),
    "epochs": ("client", "epochs"),
    "lr": ("client", "client_lr"),
    "momentum": ("client", "momentum"),
    "prox": ("client", "proximal_mu"),
    "quorum": ("closing", "quorum"),
    "deadline": ("closing", "deadline_seconds"),
    "min_reports": ("closing", "min_reports"),
    "keep_updates": ("keep_updates",),
    "seed": ("seed",),
}
"""Option → where it stands in the plan."""


def compose(file: Path | None, options: dict[str, float | None]) -> dict[str, Any]:  # Any: a JSON object
    """The plan as a JSON object: the file's, changed by each option that was given. CommandError if it is unsound."""
    plan = _read(file) if file is not None else {}
    for option, value in options.items():
        if value is not None:
            _put(plan, OPTIONS[option], value, option)
    if "rounds" not in plan:
        raise CommandError("how many rounds? Give --rounds N, or a --plan that says it.", ExitCode.USAGE)
    try:
        parse(plan)
    except UnsoundPlanError as error:
        raise CommandError(str(error)) from error
    return plan


def objection(plan: dict[str, Any], *, participants: int) -> str:  # Any: a JSON object
    """Why a training with this plan will not start with so many clients, in the server's words; "" if it will."""
    parsed = parse(plan)
    if participants >= parsed.participation.min_to_start:  # else more are waited for
        try:
            check_against(parsed, participants=participants)
        except UnsoundPlanError as error:
            return str(error)
    return ""


def _read(file: Path) -> dict[str, Any]:  # Any: a JSON object
    try:
        plan = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"the plan {file} cannot be read: {error.strerror}.", ExitCode.USAGE) from error
    except ValueError as error:
        raise CommandError(f"the plan {file} is not JSON ({error}).", ExitCode.USAGE) from error
    if not isinstance(plan, dict):
        raise CommandError(f'the plan {file} is not a JSON object, such as {{"rounds": 10}}.', ExitCode.USAGE)
    return plan


def _put(plan: dict[str, Any], place: tuple[str, ...], value: float, option: str) -> None:  # Any: a JSON object
    *sections, field = place
    for section in sections:
        plan = plan.setdefault(section, {})
        if not isinstance(plan, dict):
            raise CommandError(
                f"--{option.replace('_', '-')} cannot be put into the plan, whose {section} is not an object."
            )
    plan[field] = value
