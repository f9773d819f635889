"""The models one may see: a list of them, and a page for each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from django.db.models import Avg, BooleanField, Count, ExpressionWrapper, Q
from django.urls import reverse

from hansa.formats.modelfile import LayerInfo
from hansa.protocol import models as wire
from hansa.server.accounts.models import User
from hansa.server.dashboard.leaves import leaf_of
from hansa.server.dashboard.page import Page, Shown
from hansa.server.dashboard.templatetags.dashboard import shape
from hansa.server.dashboard.titles import title
from hansa.server.registry import calibrations, records, selectors
from hansa.server.registry.models import Calibration, Metric, Model, ModelKind, ModelVersion
from hansa.server.registry.statistics import NOT_RUN, Executed
from hansa.server.trainings import discretion, summaries
from hansa.server.trainings.models import Round, Training

MOST: Final = 200
"""Layers, arrays or metrics that a page shows; the record of the API has them all."""
NEIGHBOURS: Final = 10
"""Other models in a lineage."""


@dataclass(frozen=True, slots=True)
class Nature:
    """What a model's file was, and whether it can be asked."""

    name: str
    answers: bool


PROGRAM: Final = Nature("program", answers=True)
STATE: Final = Nature("state dict", answers=False)
NUMBERS: Final = Nature("safetensors", answers=False)
MEAN: Final = Nature("mean", answers=True)


def nature(kind: str, archive: str | None, has_layers: bool) -> Nature:
    """What a model is made of. Layers are known of files that hold a program, and of no others."""
    if kind == ModelKind.MEAN:
        return MEAN
    if archive is None:
        return NUMBERS
    return PROGRAM if has_layers else STATE


@dataclass(frozen=True, slots=True)
class ModelCard:
    """A model in a list."""

    record: wire.Model
    owner: str
    nature: Nature
    training: str
    """The name of its training; empty without one."""


class Models(Page):
    """All of them, newest first."""

    template = "models.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: the URL's arguments
        """A page of those whose name has what was searched for."""
        searched = self.request.query_params.get("q", "").strip()[:100]
        visible = selectors.visible(user)
        found = visible.filter(name__icontains=searched) if searched else visible
        leaf = leaf_of(found.order_by("-created_at", "id"), self.request.query_params.get("page"))
        return {
            "here": "models",
            "q": searched,
            "total": visible.count(),
            "cards": cards(leaf.object_list),
            "leaf": leaf,
            "may_upload": user.may_own,
        }


def cards(rows: Any) -> Sequence[ModelCard]:  # Any: a slice of a query
    """These models, in their order, with as many queries for many as for one."""
    ids = [row.id for row in rows]
    of = Model.objects.filter(id__in=ids)
    told = ExpressionWrapper(Q(structure__isnull=False), BooleanField())
    facts = {
        str(row[0]): row[1:]
        for row in of.annotate(told=told).values_list("id", "owner__username", "kind", "archive_id", "told")
    }
    trainings = dict(Training.objects.filter(model__in=ids).values_list("id", "name"))
    found = {record.id: record for record in records.globals_of(of)}
    return [
        ModelCard(
            record=found[str(each)],
            owner=facts[str(each)][0],
            nature=nature(*facts[str(each)][1:]),
            training=_title(found[str(each)].training, trainings),
        )
        for each in ids
        if str(each) in found  # else it was deleted between two queries
    ]


def _title(training: str | None, names: Mapping[UUID, str]) -> str:
    return "" if training is None else title(names.get(UUID(training), ""), training)


class ModelPage(Page):
    """One model: what it is made of, how it came about, what was measured of it."""

    template = "model.html"

    def show(self, user: User, **asked: Any) -> Shown:  # Any: as above
        """As far as the user may see it."""
        model = selectors.model_of(user, asked["model_id"])
        (card,) = cards([model])
        leaf = leaf_of(_versions_of(model), self.request.query_params.get("page"))
        return {
            "here": "models",
            "card": card,
            "record": card.record,
            "leaf": leaf,
            "versions": lineage(user, list(leaf.object_list), fewest=_fewest(user, model)),
            "layers": layers(model)[:MOST],
            "arrays": arrays(model)[:MOST],
            "array_count": len(model.spec),
            "buffers": sum(kind == "buffer" for *_, kind in model.spec),
            "members": members(user, model),
            "heirs": heirs(user, model),
            "posted": posted(model) if card.record.training is None else (),
            "owns": user.is_superuser or user.id == model.owner_id,
        }


def _versions_of(model: Model) -> Any:  # Any: a query of versions with their relations
    related = ("blob", "parent", "round_of", "calibration")
    found = ModelVersion.objects.filter(model=model).select_related(*related)
    unread = ("blob__checksums", "round_of__selection", "round_of__accepted", "calibration__scores")
    return found.defer(*unread).order_by("-number")


@dataclass(frozen=True, slots=True)
class VersionRow:
    """A version, and where it came from."""

    number: int
    digest: str
    size: int
    created_at: datetime
    lost: str
    has_moments: bool
    round: int | None
    """Whose clients made it; None: it was uploaded, or copied."""
    parent: str
    parent_url: str
    """Empty where the viewer may not see the parent's model."""
    metrics: Sequence[tuple[str, float]]
    """Mean over the clients, what they tested before what they saw while training."""
    calibrated: Sequence[str]
    """What its clients' calibration has given it."""


def _fewest(viewer: User, model: Model) -> int:
    steered_by = Training.objects.filter(model=model).values_list("actor_id", flat=True).first()
    return discretion.fewest(viewer, steered_by or model.owner_id)


def lineage(user: User, rows: Sequence[ModelVersion], *, fewest: int) -> Sequence[VersionRow]:
    """Versions as rows of a table, with the means of at least so many clients."""
    elsewhere = {row.parent.model_id for row in rows if row.parent is not None and row.parent.model_id != row.model_id}
    seen = {model.id: model.name for model in selectors.visible(user).filter(id__in=elsewhere)} if elsewhere else {}
    return [_version(row, seen, fewest) for row in rows]


def _version(row: ModelVersion, seen: Mapping[UUID, str], fewest: int) -> VersionRow:
    of_round: Round | None = getattr(row, "round_of", None)
    parent, url = "", ""
    if row.parent is not None and row.parent.model_id == row.model_id:
        parent = f"version {row.parent.number}"
    elif row.parent is not None:
        name = seen.get(row.parent.model_id)
        parent = f"{name}, version {row.parent.number}" if name else "a model that is not yours to see"
        url = reverse("model-page", args=[row.parent.model_id]) if name else ""
    return VersionRow(
        number=row.number,
        digest=row.blob_id,
        size=row.blob.size,
        created_at=row.created_at,
        lost=row.lost,
        has_moments=row.moments_id is not None,
        round=of_round.number if of_round is not None else None,
        parent=parent,
        parent_url=url,
        metrics=_measured(of_round, fewest),
        calibrated=_calibrated(calibrations.at_hand(row)),
    )


def _calibrated(known: Calibration | None) -> Sequence[str]:
    if known is None:
        return ()
    edge = ", the last that was tried" if known.at_edge else ""
    temperature = "" if known.temperature is None else f"temperature {known.temperature:.3g}{edge}"
    scored = {"": "", "residual": "intervals of a level"}.get(known.rule, "sets of a level")
    return [each for each in (temperature, scored) if each]


def _measured(of_round: Round | None, fewest: int) -> Sequence[tuple[str, float]]:
    means = summaries.means((of_round.measured if of_round is not None else None) or {}, fewest)
    names = sorted(means, key=summaries.preference)
    tested_first = {key: means[kind, key] for kind, key in reversed(names)}
    return [(key, tested_first[key]) for key in dict.fromkeys(key for _, key in names)][:3]


@dataclass(frozen=True, slots=True)
class Layer:
    """A module of the model's program."""

    name: str
    class_name: str
    depth: int
    num_params: int
    output: str
    """The shape of what came out of it in a run; empty until there was one."""


def layers(model: Model) -> Sequence[Layer]:
    """Depth first, as the file told of them; empty where it told of none."""
    told = msgspec.convert(model.structure or [], tuple[LayerInfo, ...])
    ran = msgspec.convert(model.executed, Executed) if model.executed is not None else NOT_RUN
    outputs = {path: layer.output_size for path, layer in ran.layers.items()}
    return [
        Layer(each.var_name, each.class_name, each.depth, each.num_params, shape(outputs.get(each.path) or ()))
        for each in told
    ]


def arrays(model: Model) -> Sequence[tuple[wire.ArrayInfo, str, int]]:
    """The model's arrays, each with its shape in words and the number of its elements."""
    return [
        (
            wire.ArrayInfo(name=name, dtype=dtype, shape=lengths, kind=kind),
            shape(lengths) or "scalar",
            math.prod(lengths),
        )
        for name, dtype, lengths, kind in model.spec
    ]


def members(user: User, model: Model) -> Sequence[tuple[UUID, str, bool]]:
    """Of a mean its members: id, name, and whether the viewer may see them."""
    if model.kind != ModelKind.MEAN:
        return ()
    rows = list(model.members.order_by("position").values_list("member_id", "member__name"))
    seen = set(selectors.visible(user).filter(id__in=[member for member, _ in rows]).values_list("id", flat=True))
    return [
        (member, name if member in seen else "a model that is not yours to see", member in seen)
        for member, name in rows
    ]


def heirs(user: User, model: Model) -> Sequence[Model]:
    """Models that go on from a version of this one, and means that it is a part of; only those that may be seen."""
    goes_on = Q(versions__parent__model=model) & ~Q(id=model.id)
    found = selectors.visible(user).filter(goes_on | Q(members__member=model)).distinct()
    return list(found.only("id", "name", "kind", "created_at").order_by("-created_at")[:NEIGHBOURS])


def posted(model: Model) -> Sequence[Mapping[str, Any]]:  # Any: a row's values
    """What was reported of a model that is in no training, whose owner alone sees it: means, the newest first."""
    rows = Metric.objects.filter(model=model, value__isnull=False).order_by()
    grouped = rows.values("step", "kind", "key").annotate(mean=Avg("value"), reports=Count("id"))
    return list(grouped.order_by("-step", "key")[:MOST])
