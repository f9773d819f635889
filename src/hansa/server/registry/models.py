"""Models, versions and metrics. A model's bytes are in the blob store; its rows say what they are."""

import uuid

from django.conf import settings
from django.db import models

from hansa.core.params import ArraySpec, Kind, ParamSpec
from hansa.server.blobs.models import Blob


class ModelKind(models.TextChoices):
    """What a model is made of."""

    GLOBAL = "global"
    SWAG = "swag"
    MEAN = "mean"


class Model(models.Model):
    """A model: an owner, a name, and the spec that all its versions fit."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="models")
    name = models.CharField(max_length=256)
    description = models.TextField(blank=True)
    kind = models.CharField(max_length=10, choices=ModelKind.choices, default=ModelKind.GLOBAL)
    input_shape = models.JSONField(null=True, blank=True)
    preprocessing = models.ForeignKey(
        Blob, null=True, blank=True, on_delete=models.PROTECT, related_name="preprocessing_of"
    )
    archive = models.ForeignKey(Blob, null=True, blank=True, on_delete=models.PROTECT, related_name="archive_of")
    """The torch file that the model was created from: what is downloaded is it, with a version's numbers in it."""
    archive_params = models.CharField(max_length=64, blank=True)
    """SHA-256 of the params that the archive itself holds, as a version's blob."""
    spec = models.JSONField()
    """[[name, dtype, shape, kind], ...], sorted by name; empty for a mean of models."""
    ties = models.JSONField(default=list, blank=True)
    """[[name, name, ...], ...]: names that are one array in the archive."""
    param_order = models.JSONField(default=list, blank=True)
    """The names of its params in the order in which the archive's module gives them (`parameters()`); empty where the
    file told of no modules: safetensors, a state dict."""
    structure = models.JSONField(null=True, blank=True)
    """The layers that the archive tells of (`formats.modelfile.LayerInfo`), depth first; null without any."""
    executed = models.JSONField(null=True, blank=True)
    """What one run of its program told (`statistics.Executed`); null until there was one."""
    first_round = models.PositiveIntegerField(default=0)
    """What the older contract's count of rounds begins with: a copy goes on where its original stood."""
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("created_at",)

    def __str__(self) -> str:
        return self.name

    @property
    def param_spec(self) -> ParamSpec:
        """The spec as a value."""
        return ParamSpec(
            tuple(ArraySpec(name, dtype, tuple(shape), Kind(kind)) for name, dtype, shape, kind in self.spec)
        )


def spec_as_json(spec: ParamSpec) -> list[list[object]]:
    """What `Model.spec` stores."""
    return [[array.name, array.dtype, list(array.shape), array.kind.value] for array in spec]


class MeanMember(models.Model):
    """One of the models that a mean model is made of."""

    mean = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="members")
    member = models.ForeignKey(Model, on_delete=models.PROTECT, related_name="member_of")
    position = models.PositiveIntegerField()

    class Meta:
        ordering = ("mean", "position")
        constraints = (
            models.UniqueConstraint(fields=("mean", "member"), name="a_model_is_in_a_mean_once"),
            models.UniqueConstraint(fields=("mean", "position"), name="one_member_per_position"),
        )

    def __str__(self) -> str:
        return f"{self.mean_id}[{self.position}]"


class ModelVersion(models.Model):
    """An immutable version: one canonical safetensors blob. Number 0 is the one that was uploaded."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    blob = models.ForeignKey(Blob, on_delete=models.PROTECT, related_name="versions")
    state = models.ForeignKey(Blob, null=True, blank=True, on_delete=models.PROTECT, related_name="version_states")
    """What the server step remembers between rounds; None for steps that remember nothing."""
    moments = models.ForeignKey(Blob, null=True, blank=True, on_delete=models.PROTECT, related_name="moments_of")
    """SWAG: safetensors with `first_moment` and `second_moment`, vectors over all params; None without a SWAG round."""
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children")
    lost = models.CharField(max_length=500, blank=True)
    """Why it is no more: its bytes were damaged, and its round is begun anew, to make another in its place."""
    created_at = models.DateTimeField()

    class Meta:
        ordering = ("model", "number")
        constraints = (models.UniqueConstraint(fields=("model", "number"), name="one_version_per_number"),)

    def __str__(self) -> str:
        return f"{self.model_id}/{self.number}"


class Calibration(models.Model):
    """How far a version's confidence is borne out by its clients' examples: what all their reports came to.

    What each of them reported is let go as soon as it is added up.
    """

    version = models.OneToOneField(ModelVersion, on_delete=models.CASCADE, related_name="calibration")
    temperature = models.FloatField(null=True, blank=True)
    """By which the logits are divided; None: there is none."""
    at_edge = models.BooleanField(default=False)
    """The temperature is an end of the grid, and the best may lie beyond."""
    examples = models.BigIntegerField(default=0)
    clients = models.PositiveIntegerField(default=0)
    loss = models.FloatField(null=True, blank=True)
    loss_tempered = models.FloatField(null=True, blank=True)
    ece = models.FloatField(null=True, blank=True)
    ece_tempered = models.FloatField(null=True, blank=True)
    rule = models.CharField(max_length=10, blank=True)
    """Of the conformal scores; empty: there are none."""
    scores = models.JSONField(null=True, blank=True)
    """The merged sketch: {"grid", "cells", "counts"}."""
    score_examples = models.BigIntegerField(default=0)
    score_clients = models.PositiveIntegerField(default=0)
    reason = models.TextField(blank=True)
    """Why something that the plan asks for is missing."""

    def __str__(self) -> str:
        return f"calibration of {self.version}"


class MetricKind(models.TextChoices):
    """On which occasion a client measured it."""

    TRAIN = "train"
    EVALUATE = "evaluate"


class Metric(models.Model):
    """One value one user reported of one version. Of a repeated round, the last attempt's."""

    model = models.ForeignKey(Model, on_delete=models.CASCADE, related_name="metrics")
    reporter = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="metrics")
    kind = models.CharField(max_length=10, choices=MetricKind.choices)
    key = models.CharField(max_length=64)
    value = models.FloatField(null=True, blank=True)
    """A finite number, or null where `text` holds what came."""
    text = models.BinaryField(null=True, blank=True)
    """What is no finite number, as UTF-8 bytes."""
    step = models.PositiveIntegerField()
    """The number of the round: the one whose version was evaluated, or that was trained in."""
    num_examples = models.BigIntegerField()
    """The weight of the value in a mean over clients."""

    class Meta:
        ordering = ("id",)
        constraints = (
            models.UniqueConstraint(
                fields=("model", "kind", "step", "reporter", "key"), name="one_value_per_metric_step_and_reporter"
            ),
            models.CheckConstraint(condition=models.Q(num_examples__gte=1), name="metric_has_examples"),
            models.CheckConstraint(
                condition=models.Q(value__isnull=False) ^ models.Q(text__isnull=False), name="metric_is_number_or_text"
            ),
        )

    def __str__(self) -> str:
        return f"{self.key}={self.value} at {self.step}"
