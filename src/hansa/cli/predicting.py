"""`hansa models predict`: a bar for each class, and how sure the model is."""

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import typer
from rich.text import Text

from hansa.cli import lookup, output
from hansa.cli.exits import CommandError, ExitCode
from hansa.cli.session import Session, with_server
from hansa.client.predictions import Prediction
from hansa.core.params import Array
from hansa.protocol.inference import MAX_SAMPLES, Conformal, Method, Outputs
from hansa.uncertainty.probabilities import Floats

_EIGHTHS = " ▏▎▍▌▋▊▉█"
LONGEST_BAR = 40
LEAST_BAR = 8
MOST_VALUES = 20
"""Of one input's outputs that are shown; --json has all."""

UNDECLARED = "What the outputs are was not declared: with --outputs logits (or probabilities) there is a bar per class."


class Predicted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one file was answered, for programs."""

    file: str
    mean: object
    version: int | None
    method: Method
    passes: int
    probabilities: object = None
    entropy: object = None
    expected_entropy: object = None
    mutual_information: object = None
    std: object = None
    conformal: Conformal | None = None
    notes: list[str] = []


@with_server
def predict(  # noqa: PLR0913, PLR0917  # each is an option of the command
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Its id, the beginning of it, or its name.")],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Images, .npy, safetensors, saved tensors: each by itself."),
    ],
    version: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="A version's number; else the newest.")
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(metavar="METHOD", help="none, ensemble, snapshots, mc_dropout or swag; else as planned."),
    ] = None,
    passes: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=MAX_SAMPLES, help="How often mc_dropout and swag draw.")
    ] = None,
    outputs: Annotated[
        Outputs | None, typer.Option(metavar="KIND", help="What the outputs are: logits, probabilities or values.")
    ] = None,
    level: Annotated[
        float | None,
        typer.Option(metavar="L", min=0.5, max=0.999, help="Sets or intervals that hold the truth so often, as 0.9."),
    ] = None,
    top: Annotated[int, typer.Option(metavar="N", min=1, help="How many classes to show.")] = 5,
) -> None:
    """Ask a model, and show how far to trust its answer: a bar for each class, and the entropy."""
    if missing := [file for file in files if not file.is_file()]:
        raise CommandError(f"there is no file {missing[0]}. Nothing was asked.", ExitCode.USAGE)
    found = lookup.model_id(session.api, model)
    told = []
    for number, file in enumerate(files):
        answer = session.api.predict(
            found, file, version=version, method=method, passes=passes, outputs=outputs, level=level
        )
        told.append(_for_programs(file, answer))
        if not session.json:
            _show(session, file, answer, top=top, first=number == 0)
    if session.json:
        output.print_json(told)


def _for_programs(file: Path, answer: Prediction) -> Predicted:
    how = answer.reckoned
    return Predicted(
        file=str(file),
        mean=answer.mean.tolist(),
        version=how.version,
        method=how.method,
        passes=how.passes,
        probabilities=_listed(answer.probabilities),
        entropy=_listed(answer.entropy),
        expected_entropy=_listed(answer.expected_entropy),
        mutual_information=_listed(answer.mutual_information),
        std=_listed(answer.std),
        conformal=how.conformal,
        notes=how.notes,
    )


def _listed(array: Array | None) -> object:
    return None if array is None else array.tolist()


def _show(session: Session, file: Path, answer: Prediction, *, top: int, first: bool) -> None:
    how = answer.reckoned
    drawn = f", {how.method} with {how.passes} passes" if how.passes > 1 else ""
    of = "" if how.version is None else f"version {how.version}"
    width = output.console().width
    parts: list[str | Text] = [] if first else [""]
    parts.append(f"{file}  ({of}{drawn})" if of or drawn else f"{file}")
    for number in range(len(answer.mean)):
        if len(answer.mean) > 1:
            parts.append(f"input {number}")
        parts += _lines(answer, number, top=top, width=width)
        if how.conformal is not None:
            parts += held(how.conformal, number)
    session.show(None, *parts)
    for note in how.notes:
        output.note(note)
    if how.outputs is None and answer.probabilities is None and how.method == "none":
        output.note(UNDECLARED)


def _lines(answer: Prediction, number: int, *, top: int, width: int) -> list[str | Text]:
    if answer.probabilities is None or answer.probabilities.ndim != 2:
        return [*_values(answer, number), *_entropies(answer, number, None)]
    row = np.asarray(answer.probabilities[number], np.float64)
    return [*bars(row, top=top, width=width), *_entropies(answer, number, len(row))]


def bars(probabilities: Floats, *, top: int, width: int) -> list[Text]:
    """The likeliest classes, one in a line of at most `width` columns; equal ones by their number."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    digits = len(str(int(order.max())))
    room = max(LEAST_BAR, min(LONGEST_BAR, width - digits - len("  100.0 %  ")))
    return [
        Text.assemble(
            (f"{number:>{digits}}", "bold" if place == 0 else ""),
            "  ",
            (f"{bar(float(probabilities[number]), room):<{room}}", "green" if place == 0 else "cyan"),
            f"  {100 * probabilities[number]:5.1f} %",
        )
        for place, number in enumerate(order)
    ]


def bar(share: float, room: int) -> str:
    """A bar of a share of `room` columns, to an eighth of a column; nothing is shown only of nothing.

    >>> bar(0.5, 4), bar(0.28, 4), bar(0.0001, 4), bar(0.0, 4)
    ('██', '█▏', '▏', '')
    """
    eighths = max(round(share * room * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def _entropies(answer: Prediction, number: int, classes: int | None) -> list[str]:
    if answer.entropy is None or answer.entropy.ndim != 1:
        return []
    entropy = answer.entropy[number]
    of = f", {100 * entropy / log(classes):.0f} % of log {classes}" if classes is not None and classes > 1 else ""
    lines = [f"entropy  {entropy:.3f} nats{of}"]
    if answer.expected_entropy is not None and answer.mutual_information is not None:
        lines.append(f"  of data   {answer.expected_entropy[number]:.3f}")
        lines.append(f"  of model  {answer.mutual_information[number]:.3f}")
    return lines


def _values(answer: Prediction, number: int) -> list[str]:
    means = np.atleast_1d(answer.mean[number]).reshape(-1)
    if answer.mean.dtype.kind in "iu":
        return [f"class {' '.join(str(each) for each in means[:MOST_VALUES])}{_more(means)}"]
    stds: Sequence[float] | None = None
    if answer.std is not None and answer.std.shape == answer.mean.shape:
        stds = np.atleast_1d(answer.std[number]).reshape(-1).tolist()
    spreads = [f" ± {std:.2g}" for std in stds] if stds else [""] * len(means)
    shown = [f"{mean:.4g}{spread}" for mean, spread in zip(means[:MOST_VALUES], spreads, strict=False)]
    return [", ".join(shown) + _more(means)]


def held(found: Conformal, number: int) -> list[str]:
    """Of one input the set of classes, or the interval, at the level that was asked; empty sets by name.

    >>> found = Conformal(level=0.9, rule="lac", examples=9, clients=2, threshold=0.5, excess=0, sets=[[1, 7], []],
    ...     empty=[1], assumptions=[])
    >>> held(found, 0), held(found, 1)
    (['at 90 %  one of 1, 7'], ['at 90 %  none of the classes'])
    """
    of = f"at {100 * found.level:g} %  "
    if found.unbounded:
        return [f"{of}anything: {found.unbounded}"]
    if found.sets is not None:
        within = ", ".join(map(str, found.sets[number]))
        return [f"{of}one of {within}" if within else f"{of}none of the classes"]
    low, high = (np.asarray(each, np.float64)[number].reshape(-1) for each in (found.low, found.high))
    shown = [f"{least:.4g} to {most:.4g}" for least, most in zip(low[:MOST_VALUES], high[:MOST_VALUES], strict=True)]
    return [of + ", ".join(shown) + _more(low)]


def _more(means: Array) -> str:
    return f" … {len(means) - MOST_VALUES} more; all: --json" if len(means) > MOST_VALUES else ""
