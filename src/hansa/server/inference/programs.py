"""Which files answer for a model: its program, the numbers of a version, its preprocessing, its moments.

Whoever may download a model may ask it, and nobody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from rest_framework.exceptions import ValidationError

from hansa.protocol.inference import Method, UncertaintyWish
from hansa.rounds.plan import Uncertainty
from hansa.server.accounts.models import User
from hansa.server.blobs.inspection import Known
from hansa.server.blobs.models import Blob
from hansa.server.inference.errors import ImpossibleError, NoProgramError
from hansa.server.inference.methods import Way, way_of
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.registry import selectors
from hansa.server.registry.local_models import LocalModel
from hansa.server.registry.models import MeanMember, Model, ModelKind, ModelVersion
from hansa.server.trainings.models import Training
from hansa.server.trainings.moments import order_of


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
    """One; of a mean one for each member."""
    input_shape: list[int | None] | None
    preprocessing: Known | None
    moments: Moments | None
    unsummarised: bool = False
    """Whether nobody has told yet what its layers do with an input."""


def asked(user: User, model_id: UUID, version: int | None, wish: UncertaintyWish) -> Asked:
    """What answers for a model. Raises NotFoundError, NoProgramError, ImpossibleError, ValidationError."""
    found = selectors.model_or_local(user, model_id)
    if isinstance(found, LocalModel):
        return _local(found, version, wish)
    way = way_of(wish, _planned(found), found)
    if found.kind == ModelKind.MEAN:
        return _mean(found, version, way)
    row = _version(found, version, way.method)
    return Asked(
        model_id=found.id,
        version=row.number,
        way=way,
        programs=[_program(found, row.blob)],
        input_shape=found.input_shape,
        preprocessing=_preprocessing(found),
        moments=_moments(found, row) if way.method == "swag" else None,
        unsummarised=found.executed is None and found.input_shape is not None,
    )


def _planned(model: Model) -> Uncertainty | None:
    training = Training.objects.filter(model=model).only("plan").first()
    return training.parsed_plan.uncertainty if training is not None else None


def _local(local: LocalModel, version: int | None, wish: UncertaintyWish) -> Asked:
    if version is not None:
        raise ValidationError({"version": [f"{local.id} is a local model; it has no versions. Leave this out."]})
    model = selectors.row_of(Model.objects.all(), local.base_id)
    planned = _planned(model)
    if wish.method is None and planned is not None and planned.method == "swag":
        planned = None  # the moments are those of the version that came of all clients' models
    way = way_of(wish, planned, model)
    if way.method == "swag":
        raise ImpossibleError(
            f"{local.id} is a local model, and SWAG's moments are those of a version: ask the model {model.id}."
        )
    if local.digest is None:
        raise NotFoundError(
            f"The params of the local model {local.id} are no longer kept; its round is over. A plan with "
            "'keep_updates' keeps them longer."
        )
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
    archive = Blob.objects.get(sha256=model.archive_id)
    return Program(Known.of(archive), None if own else Known.of(Blob.objects.get(sha256=params.sha256)))


def _preprocessing(model: Model) -> Known | None:
    if model.preprocessing_id is None:
        return None
    return Known.of(Blob.objects.get(sha256=model.preprocessing_id))


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
