"""How far versions' confidence is borne out: what is kept of it, and what is told."""

from collections.abc import Mapping

import msgspec

from hansa.protocol.calibration import VersionCalibration
from hansa.server.registry.models import Calibration, ModelVersion
from hansa.uncertainty.sketches import Grid, Sketch


def keep(version: ModelVersion, found: Mapping[str, object]) -> None:
    """Write down what was found of a version; what is known of it otherwise stays. Within the caller's change."""
    Calibration.objects.update_or_create(version=version, defaults=found)


def of(version: ModelVersion) -> Calibration | None:
    """What is known of a version; None: nobody has asked its clients."""
    return Calibration.objects.filter(version=version).first()


def at_hand(version: ModelVersion) -> Calibration | None:
    """The same, of a version that was read with its calibration: no query more."""
    known: Calibration | None = getattr(version, "calibration", None)
    return known


def sketch_of(row: Calibration) -> Sketch | None:
    """The scores of all clients; None: there are none."""
    if row.scores is None:
        return None
    return Sketch(Grid(row.scores["grid"]), tuple(row.scores["cells"]), tuple(row.scores["counts"]))


def stored(sketch: Sketch) -> dict[str, object]:
    """What `Calibration.scores` holds."""
    return {"grid": sketch.grid.value, "cells": list(sketch.cells), "counts": list(sketch.counts)}


def record(version: ModelVersion) -> VersionCalibration | None:
    """As the API tells it, of a version that was read with its calibration."""
    row = at_hand(version)
    if row is None:
        return None
    told = {name: getattr(row, name) for name in VersionCalibration.__struct_fields__ if name != "scores"}
    return msgspec.convert({**told, "scores": row.rule or None}, VersionCalibration)
