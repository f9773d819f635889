"""What a name may mean where it means several things: a table for a person to pick from, the newest first."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.table import Table

from hansa.cli import output
from hansa.cli.output import Column, right
from hansa.cli.words import ago, short_ids
from hansa.client.api import Api
from hansa.protocol.accounts import Token
from hansa.protocol.models import Model
from hansa.protocol.trainings import Training

MOST = 20
ID = Column("id", style="cyan")


def models(api: Api, found: Sequence[Model]) -> Table:
    """Copies of a model have its name: what tells them apart is the training that each is of."""
    names = {training.id: training.name or training.id[:8] for training in api.trainings()}
    ids, now = short_ids([model.id for model in found]), datetime.now(UTC)
    columns = [ID, Column("name", give="cut"), right("version"), Column("created"), Column("training", give="cut")]
    rows = [
        (
            ids[model.id],
            model.name,
            f"{model.version}" if model.version is not None else "",
            ago(model.created_at, now),
            names.get(model.training, model.training[:8]) if model.training else "none",
        )
        for model in sorted(found, key=lambda model: model.created_at, reverse=True)
    ]
    return output.table(columns, rows[:MOST])


def trainings(found: Sequence[Training]) -> Table:
    """By how far they are, and which model each is of."""
    ids, now = short_ids([training.id for training in found]), datetime.now(UTC)
    columns = [ID, Column("name", give="cut"), Column("status"), right("rounds"), Column("created"), Column("model")]
    rows = [
        (
            ids[training.id],
            training.name,
            training.status,
            f"{training.rounds_done}/{training.rounds}",
            ago(training.created_at, now),
            training.model[:8],
        )
        for training in sorted(found, key=lambda training: training.created_at, reverse=True)
    ]
    return output.table(columns, rows[:MOST])


def tokens(found: Sequence[Token]) -> Table:
    """By when they were made."""
    ids, now = short_ids([token.id for token in found]), datetime.now(UTC)
    columns = [ID, Column("name", give="cut"), Column("created")]
    newest = sorted(found, key=lambda token: token.created_at, reverse=True)
    rows = [(ids[token.id], token.name, ago(token.created_at, now)) for token in newest]
    return output.table(columns, rows[:MOST])


def clients(found: Sequence[tuple[str, str]]) -> Table:
    """Ids and names: names differ, and so it was an id's beginning."""
    ids = short_ids([client for client, _ in found])
    rows = sorted((ids[client], name) for client, name in found)
    return output.table([ID, Column("name", give="cut")], rows[:MOST])
