"""Which files answer for a model: its program, the numbers of a version, its preprocessing, its moments.

Whoever may download a model may ask it, and nobody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from django.db.models import CharField, UUIDField
from msgspec.structs import replace
from rest_framework.exceptions import ValidationError

from hansa.protocol.inference import InferenceQuestion, Method, UncertaintyWish
from hansa.rounds import plan as plans
from hansa.rounds.uncertainty import Uncertainty
from hansa.server.accounts.models import User
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.models import Blob
from hansa.server.inference import levels
from hansa.server.inference.errors import ImpossibleError, NoProgramError
from hansa.server.inference.methods import Way, calibrated, way_of
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.prepared import Rows, Slot
from hansa.server.registry import selectors
from hansa.server.registry.local_models import LocalModel
from hansa.server.registry.models import MeanMember, Model, ModelKind, ModelVersion
from hansa.server.trainings.models import Training
from hansa.server.trainings.moments import order_of

MOST_SNAPSHOTS: Final = 100
"""As many as a mean has members at most: so many files go with one question."""


@dataclass(frozen=True, slots=True)
class Program:
    """An archive, and the params that are put into it."""

    archive: Known
    params: Known | None
    """None: the archive's own."""


@dataclass(frozen=True, slots=True)
class Moments:
    """The file of SWAG's moments, and in which order params are joined in its vectors."""

    file: Known
    order: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A model as it is asked."""

    model_id: UUID
    """Of the global model, also where a local one is asked."""
    version: int | None
    way: Way
    programs: Sequence[Program]
    """One; of a mean one for each member, of snapshots one for each version."""
    input_shape: list[int | None] | None
    preprocessing: Known | None
    moments: Moments | None
    unsummarised: bool = False
    """Whether nobody has told yet what its layers do with an input."""


def asked(user: User, model_id: UUID, said: InferenceQuestion) -> Asked:
    """What answers for a model. Raises NotFoundError, NoProgramError, ImpossibleError, ValidationError."""
    found, version = selectors.model_or_local(user, model_id), said.version
    if said.level is not None and (isinstance(found, LocalModel) or found.kind == ModelKind.MEAN):
        raise ImpossibleError(
            f"{model_id} has no versions, and only these are calibrated. Ask without 'level'.", "level"
        )
    if isinstance(found, LocalModel):
        return _local(found, version, said.uncertainty)
    wish = said.uncertainty
    if said.level is not None and wish.method is None:
        wish = replace(wish, method="none")  # versions are calibrated by one pass, whatever their plan wants otherwise
    way = way_of(wish, _planned(found), found)
    if found.kind == ModelKind.MEAN:
        return _mean(found, version, way)
    newest = levels.newest_scored(found) if said.level is not None and version is None else None
    row = newest or _version(found, version, way.method)
    way = calibrated(way, row, said.level, said.seed)
    return Asked(
        model_id=found.id,
        version=row.number,
        way=way,
        programs=_snapshots(found, row, way.samples) if way.method == "snapshots" else [_program(found, row.blob)],
        input_shape=found.input_shape,
        preprocessing=_preprocessing(found),
        moments=_moments(found, row) if way.method == "swag" else None,
        unsummarised=found.executed is None and found.input_shape is not None,
    )


_PLAN = Rows(
    lambda: Training.objects.filter(model=Slot("model", UUIDField())).order_by("created_at").values_list("plan")[:1]
)
_BLOB = Rows(lambda: Blob.objects.filter(sha256=Slot("digest", CharField())))


def _planned(model: Model) -> Uncertainty | None:
    found = _PLAN.first(model=model.id)
    return plans.parse(found[0]).uncertainty if found is not None else None


def _local(local: LocalModel, version: int | None, wish: UncertaintyWish) -> Asked:
    if version is not None:
        raise ValidationError({"version": [f"{local.id} is a local model; it has no versions. Leave this out."]})
    model = selectors.row_of(Model.objects.all(), local.base_id)
    planned = _planned(model)
    if wish.method is None and planned is not None and planned.method in ("swag", "snapshots"):
        planned = None  # they are those of the versions that came of all clients' models
    way = way_of(wish, planned, model)
    if way.method in ("swag", "snapshots"):
        raise ImpossibleError(
            f"{local.id} is a local model; SWAG's moments and snapshots are those of versions: ask the model "
            f"{model.id}."
        )
    if local.digest is None:
        raise NotFoundError(local.why_not_here)
    return Asked(
        model_id=model.id,
        version=None,
        way=way,
        programs=[_program(model, Blob.objects.get(sha256=local.digest))],
        input_shape=model.input_shape,
        preprocessing=_preprocessing(model),
        moments=None,
    )


def _mean(mean: Model, version: int | None, way: Way) -> Asked:
    if version is not None:
        raise ValidationError({"version": ["A mean has no versions of its own. Leave this out."]})
    rows = MeanMember.objects.filter(mean=mean).order_by("position").select_related("member")
    members = [row.member for row in rows]
    return Asked(
        model_id=mean.id,
        version=None,
        way=way,
        programs=[_program(member, selectors.version_row(member, None).blob) for member in members],
        input_shape=mean.input_shape or next((member.input_shape for member in members if member.input_shape), None),
        preprocessing=_preprocessing(mean) or _shared_preprocessing(members),
        moments=None,
    )


def _shared_preprocessing(members: Sequence[Model]) -> Known | None:
    """That of all members, where they have one and the same. Raises ImpossibleError where they differ."""
    pipelines = {member.preprocessing_id for member in members}
    if len(pipelines) > 1:
        raise ImpossibleError(
            "The members of the mean have different preprocessing, and one input. Upload the mean's own to its "
            "`preprocessing/`, or give all members the same."
        )
    return _preprocessing(members[0]) if members else None


def _version(model: Model, number: int | None, method: Method) -> ModelVersion:
    if method == "swag" and number is None:
        newest = ModelVersion.objects.filter(model=model, lost="", moments__isnull=False).order_by("-number").first()
        if newest is None:
            raise ImpossibleError(
                f"The model {model.id} has no SWAG moments. Train it with a plan whose uncertainty method is swag, or "
                "ask with another method."
            )
        number = newest.number
    return selectors.version_row(model, number)


def _program(model: Model, params: Blob) -> Program:
    if model.archive_id is None:
        raise NoProgramError(
            f"The model {model.id} came as safetensors: numbers, and nothing that computes with them. Create it from "
            "TorchScript (torch.jit.save), or from a module of torch.nn's own classes (torch.save(model))."
        )
    if model.structure is None:
        raise NoProgramError(
            f"The model {model.id} came as a state dict: numbers, and nothing that computes with them. Create it from "
            "TorchScript (torch.jit.save), or from a module of torch.nn's own classes (torch.save(model))."
        )
    own = params.sha256 == model.archive_params
    return Program(_known(model.archive_id), None if own else _known(params.sha256))


def _known(digest: str) -> Known:
    blob = _BLOB.first(digest=digest)
    if blob is None:  # it was collected between two queries: its model was deleted
        raise NotFoundError("The model was deleted while it was asked for.")
    return Known.of(blob)


def _snapshots(model: Model, last: ModelVersion, most: int) -> list[Program]:
    """The last version and those before it that came of rounds: the one before the first has learned nothing here.

    Raises ImpossibleError unless there are two.
    """
    learned = ModelVersion.objects.filter(model=model, lost="", number__gte=1, number__lte=last.number)
    rows = list(learned.select_related("blob").order_by("-number")[: min(most, MOST_SNAPSHOTS)])
    if len(rows) < 2:
        raise ImpossibleError(
            f"Snapshots are two or more versions, and up to version {last.number} the model {model.id} has {len(rows)} "
            "that came of a round. Ask when another round is done, with more 'samples', or with another method."
        )
    archive = _program(model, last.blob).archive
    return [
        Program(archive, None if row.blob_id == model.archive_params else Known.of(row.blob)) for row in reversed(rows)
    ]


def _preprocessing(model: Model) -> Known | None:
    if model.preprocessing_id is None:
        return None
    return _known(model.preprocessing_id)


def _moments(model: Model, row: ModelVersion) -> Moments:
    if row.moments is None:
        numbers = ModelVersion.objects.filter(model=model, moments__isnull=False).order_by("number")
        others = ", ".join(map(str, numbers.values_list("number", flat=True)))
        raise ImpossibleError(
            f"Version {row.number} has no SWAG moments"
            + (f"; there are moments of version {others}." if others else ".")
            + " Ask for one that has, or with another method."
        )
    return Moments(Known.of(row.moments), order_of(model))
