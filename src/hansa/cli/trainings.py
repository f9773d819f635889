"""Trainings: `hansa trainings …`."""

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hansa.cli import lookup, output, plans
from hansa.cli.confirming import Yes, confirm
from hansa.cli.exits import ExitCode
from hansa.cli.output import Column, right
from hansa.cli.progress import headline, progress, rounds_table
from hansa.cli.record import (
    earlier_attempts,
    exclusions,
    participants,
    reasons,
    round_headline,
    summary,
    tasks,
    troubles,
)
from hansa.cli.session import (
    AsClient,
    AsJson,
    Ca,
    Server,
    Session,
    TokenFile,
    connected,
    find_client_target,
    with_server,
)
from hansa.cli.watching import watch
from hansa.cli.words import ago, duration, latecomers, short_ids
from hansa.client.api import Api
from hansa.client.plaintext import clean
from hansa.protocol.models import Detail
from hansa.protocol.trainings import TrainingCreate
from hansa.rounds.states import TrainingStatus

app = typer.Typer(no_args_is_help=True, help="Trainings: make, start, follow, end.")

Which = Annotated[str, typer.Argument(metavar="TRAINING", help="Its id, the beginning of it, or its name.")]
Clients = Annotated[str, typer.Argument(metavar="CLIENTS", help="Names or ids, with commas between them.")]


@app.command()
@with_server
def create(  # noqa: PLR0913, PLR0917 - each is an option on the command line
    session: Session,
    model: Annotated[str, typer.Option(metavar="MODEL", help="The model to train: id, beginning of it, or name.")],
    clients: Annotated[
        str, typer.Option(metavar="NAMES", help="Names or ids, with commas between them, in join order.")
    ],
    rounds: plans.Rounds = None,
    plan: Annotated[Path | None, typer.Option(metavar="FILE", help="A plan (JSON). Options go before it.")] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What to call it.")] = "",
    epochs: plans.Epochs = None,
    lr: plans.LearningRate = None,
    momentum: plans.Momentum = None,
    prox: plans.Prox = None,
    quorum: plans.Quorum = None,
    deadline: plans.Deadline = None,
    min_reports: plans.MinReports = None,
    keep_updates: plans.KeepUpdates = None,
    seed: plans.Seed = None,
) -> None:
    """Make a training. It begins with `hansa trainings start`."""
    options = {
        "rounds": rounds,
        "epochs": epochs,
        "lr": lr,
        "momentum": momentum,
        "prox": prox,
        "quorum": quorum,
        "deadline": duration(deadline) if deadline else None,
        "min_reports": min_reports,
        "keep_updates": keep_updates,
        "seed": seed,
    }
    wanted = TrainingCreate(
        plan=plans.compose(plan, options),
        model_id=lookup.model_id(session.api, model),
        clients=lookup.client_ids(session.api.users(), clients),
        name=name,
    )
    _make(session, wanted)


def _make(session: Session, wanted: TrainingCreate) -> None:
    made = session.api.create_training(wanted)
    if made.model_id != wanted.model_id:
        copied = clean(session.api.model(made.model_id).name)
        output.note(
            f"Another training has this model: this one works on a copy of it, {copied!r} (model {made.model_id})."
        )
    if told := plans.objection(wanted.plan, participants=len(wanted.clients)):
        output.warn(f"hansa trainings start will refuse it as it is. {told}")
    called = wanted.name or made.training_id[:8]
    session.show(made, f"Training {made.training_id} is made. Next: hansa trainings start {called}")


@app.command("list")
@with_server
def list_(session: Session) -> None:
    """List the trainings you may see."""
    trainings, now = session.api.trainings(), datetime.now(UTC)
    ids = short_ids([training.id for training in trainings])
    columns = [
        Column("id", style="cyan"),
        Column("name", give="cut"),
        Column("status"),
        right("rounds"),
        right("clients"),
        Column("created"),
    ]
    rows = [
        (
            ids[training.id],
            training.name,
            training.status,
            f"{training.rounds_done}/{training.rounds}",
            f"{len(training.participants)}",
            ago(training.created_at, now),
        )
        for training in trainings
    ]
    session.show(
        trainings, output.table(columns, rows) if rows else "No trainings. Make one: hansa trainings create --help"
    )


@app.command()
@with_server
def show(
    session: Session,
    training: Which,
    round_number: Annotated[
        int | None, typer.Option("--round", metavar="N", min=1, help="Instead, how each client stands in this round.")
    ] = None,
) -> None:
    """Show a training: where it is and why, its participants and its rounds.

    To whom may steer the training it also tells why clients failed in the newest round, or were lost.
    """
    api, found = session.api, lookup.training_id(session.api, training)
    if round_number is not None:
        one = api.round(found, round_number)
        before = earlier_attempts(api.rounds(found), one) if one.attempt > 1 and not session.json else []
        session.show(one, round_headline(one), *reasons(one), *latecomers(one), "", tasks(one), *before)
        return
    record, rounds, metrics = api.training(found), api.rounds(found), api.metrics(found)
    newest = api.round(found, record.round) if record.round else None
    session.show(
        {"training": record, "rounds": rounds, "metrics": metrics},
        headline(record),
        record.reason,
        "",
        summary(record),
        "",
        participants(record, newest, datetime.now(UTC)),
        *(["", *out] if (out := exclusions(record)) else []),
        *(["", f"In round {record.round}:", *told] if (told := troubles(newest)) else []),
        *(["", rounds_table(progress(rounds, metrics))] if rounds else []),
    )


@app.command()
@with_server
def start(session: Session, training: Which) -> None:
    """Begin a training."""
    _act(session, training, lambda api, found: api.start(found))


@app.command()
@with_server
def pause(session: Session, training: Which) -> None:
    """Hand out no more tasks until it is resumed. What is reported meanwhile still counts."""
    _act(session, training, lambda api, found: api.pause(found))


@app.command()
@with_server
def resume(session: Session, training: Which) -> None:
    """Go on with a paused training, or with one in error whose reason was mended."""
    _act(session, training, lambda api, found: api.resume(found))


@app.command()
@with_server
def cancel(session: Session, training: Which) -> None:
    """End a training for good. The versions it made stay."""
    _act(session, training, lambda api, found: api.cancel(found))


@app.command()
@with_server
def delete(session: Session, training: Which, yes: Yes = False) -> None:
    """Delete a training with the record of its rounds; one that runs is cancelled before. Its model stays."""
    record = session.api.training(lookup.training_id(session.api, training))
    runs = record.status in (TrainingStatus.ONGOING, TrainingStatus.PAUSED)
    end = f"It is {record.status}. End it, and delete" if runs else "Delete"
    confirm(f"{end} the training {record.name or record.id!r} with the record of {record.round} rounds?", yes=yes)
    answer = session.api.delete_training(record.id)
    session.show(answer, answer.detail)


@app.command("watch")
@with_server
def watch_(session: Session, training: Which) -> None:
    """Follow a training until it ends: a live table, or plain lines when not in a terminal.

    Exit code 0 if it completed, 1 if it ended in error or was cancelled. Ctrl-C ends the watching, not the training.
    """
    found = lookup.training_id(session.api, training)
    console = output.console(sys.stderr if session.json else None)
    try:
        last = watch(session.api, found, console=console)
    except KeyboardInterrupt:
        output.note(f"The training goes on. Follow it again: hansa trainings watch {training}")
        raise
    if session.json:
        output.print_json(last)
    if last.status != TrainingStatus.COMPLETED:
        raise typer.Exit(ExitCode.FAILED)


@app.command("add-clients")
@with_server
def add_clients(session: Session, training: Which, clients: Clients) -> None:
    """Add participants; they take part from the next round on."""
    found = lookup.client_ids(session.api.users(), clients)
    _act(session, training, lambda api, which: api.add_clients(which, found))


@app.command("remove-clients")
@with_server
def remove_clients(session: Session, training: Which, clients: Clients) -> None:
    """Remove participants. What they have reported counts."""
    record = session.api.training(lookup.training_id(session.api, training))
    found = lookup.client_ids(record.clients, clients)
    _act(session, record.id, lambda api, which: api.remove_clients(which, found))


@app.command()
def leave(
    training: Which,
    client: AsClient = "",
    server: Server = None,
    token_file: TokenFile = None,
    ca: Ca = None,
    as_json: AsJson = False,
) -> None:
    """Take a client of this machine out of a training. What it has reported counts; rounds go on without it."""
    target = find_client_target(server, token_file, ca, client=client)
    with connected(target) as api:
        found = lookup.training_id(api, training)
        api.leave(found)
        Session(api, target.url, as_json).show(
            {"training": found}, f"The client takes part in training {found} no more."
        )


def _act(session: Session, training: str, action: Callable[[Api, str], Detail]) -> None:
    answer = action(session.api, lookup.training_id(session.api, training))
    session.show(answer, answer.detail)
