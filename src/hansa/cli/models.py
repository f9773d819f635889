"""Models and their versions: `hansa models …`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from hansa.cli import lookup, output, usercode
from hansa.cli.confirming import Yes, confirm
from hansa.cli.exits import CommandError, ExitCode
from hansa.cli.extras import needs_extra
from hansa.cli.output import Column, right
from hansa.cli.predicting import predict
from hansa.cli.session import Session, with_server
from hansa.cli.words import ago, file_name, short_ids, size
from hansa.formats import safetensors
from hansa.protocol.models import ArrayInfo
from hansa.protocol.models import Model as Record

app = typer.Typer(no_args_is_help=True, help="Models and their versions.")

Model = Annotated[str, typer.Argument(metavar="MODEL", help="Its id, the beginning of it, or its name.")]


@app.command()
@with_server
def create(
    session: Session,
    torch: Annotated[
        str | None,
        typer.Option(metavar="MODULE:ATTRIBUTE", help="A torch module, or what makes one, from the current folder."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A safetensors file, or one that torch has saved.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call it; else after what it is made from.")
    ] = None,
    description: Annotated[str, typer.Option(metavar="TEXT", help="A sentence for whoever finds it.")] = "",
    buffers: Annotated[
        str, typer.Option(metavar="NAMES", help="With --file: the arrays that are not learned, with commas between.")
    ] = "",
) -> None:
    """Upload version 0 of a new model, from a torch module or a file."""
    if torch is not None and buffers:
        raise CommandError("--buffers goes with --file; a torch module knows its buffers itself.", ExitCode.USAGE)
    names = [part.strip() for part in buffers.split(",") if part.strip()]
    with _model_file(torch, file) as source:
        called = name or (torch.replace(":", ".") if torch else source.stem)
        made = session.api.create_model(source, name=called, description=description, buffers=names)
    if made.warning and torch is None:  # a file may not say which arrays are buffers; a module does
        output.note(made.warning)
    session.show(made, f"Model {made.model_id} ({called}), version 0.")


@app.command("list")
@with_server
def list_(session: Session) -> None:
    """List the models you may see."""
    models, now = session.api.models(), datetime.now(UTC)
    ids = short_ids([model.id for model in models])
    columns = [
        Column("id", style="cyan"),
        Column("name", give="cut"),
        right("newest"),
        right("params"),
        right("size"),
        Column("created"),
    ]
    rows = [
        (
            ids[model.id],
            model.name,
            _newest(model),
            f"{model.num_params:,}",
            size(model.size),
            ago(model.created_at, now),
        )
        for model in models
    ]
    session.show(models, output.table(columns, rows) if rows else "No models. Make one: hansa models create --help")


@app.command()
@with_server
def show(session: Session, model: Model) -> None:
    """Show a model and its arrays."""
    found = session.api.model(lookup.model_id(session.api, model))
    summary = output.facts(
        [
            ("model", found.name),
            ("id", found.id),
            ("description", found.description),
            ("kind", found.kind),
            ("newest version", _newest(found)),
            ("params", f"{found.num_params:,}"),
            ("size", size(found.size)),
            ("training", found.training or ""),
            ("created", found.created_at[:19].replace("T", " ")),
        ]
    )
    columns = [Column("array", give="cut"), Column("dtype"), Column("shape"), Column("kind")]
    rows = [(array.name, array.dtype, _shape(array), array.kind) for array in found.arrays]
    session.show(found, summary, "", output.table(columns, rows))


@app.command()
@with_server
def versions(session: Session, model: Model) -> None:
    """List a model's versions, the oldest first."""
    found, now = session.api.versions(lookup.model_id(session.api, model)), datetime.now(UTC)
    columns = [right("version"), Column("made from"), right("size"), Column("created"), Column("sha256", give="wrap")]
    rows = [
        (
            f"{version.number}",
            (version.parent or "an upload").rpartition("/")[2],
            size(version.size),
            ago(version.created_at, now),
            version.digest,
        )
        for version in found
    ]
    session.show(found, output.table(columns, rows))


@app.command()
@with_server
def download(
    session: Session,
    model: Model,
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", min=0, help="Its number; else the newest.")
    ] = None,
    to: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to put it; else here, by its name.")
    ] = None,
) -> None:
    """Download a version as a safetensors file, checked against its SHA-256."""
    found = lookup.model_id(session.api, model)
    number = _number(session.api.model(found)) if version is None else version
    target = to or Path(file_name(f"{found[:8]}-{number}.safetensors"))
    got = session.api.download(found, number, target)
    session.show(got, f"Version {number} ({size(got.size)}) is in {target}.")


@app.command()
@with_server
def delete(session: Session, model: Model, yes: Yes = False) -> None:
    """Delete a model with its versions, metrics and training. The server refuses while it is being trained."""
    found = session.api.model(lookup.model_id(session.api, model))
    confirm(f"Delete the model {found.name!r}{_versions(found)}?", yes=yes)
    answer = session.api.delete_model(found.id)
    session.show(answer, answer.detail)


app.command()(predict)


@contextmanager
def _model_file(torch: str | None, file: Path | None) -> Iterator[Path]:
    """The safetensors file to upload: the one given, or one made of a torch module's arrays for as long as needed."""
    match torch, file:
        case None, Path():
            yield file
        case str(), None:
            with needs_extra("torch", "hansa models create --torch"):
                from hansa.client.adapters.torch import params_of
            params, buffers = params_of(usercode.load(torch, having="state_dict"))
            with tempfile.TemporaryDirectory(prefix="hansa-") as folder:
                made = Path(folder) / "model.safetensors"
                with made.open("wb") as target:
                    safetensors.write(target, params, buffers)
                yield made
        case _:
            raise CommandError("give one of --torch MODULE:ATTRIBUTE and --file FILE.", ExitCode.USAGE)


def _newest(model: Record) -> str:
    """The number of the newest version; means and local models have none."""
    return "" if model.version is None else f"{model.version}"


def _number(model: Record) -> int:
    if model.version is None:
        of = f": download its members, {', '.join(model.models)}" if model.models else ""
        raise CommandError(f"the model {model.name!r} has no versions of its own{of}.", ExitCode.USAGE)
    return model.version


def _versions(model: Record) -> str:
    return "" if model.version is None else f" with {model.version + 1} versions"


def _shape(array: ArrayInfo) -> str:
    return " x ".join(map(str, array.shape)) or "scalar"
