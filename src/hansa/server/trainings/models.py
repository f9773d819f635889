"""Rows of trainings. Constraints say what may never happen; services move states by guarded updates."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from hansa.protocol.tasks import TaskKind, Verdict
from hansa.rounds import plan as plans
from hansa.rounds.states import LIVE_ROUND_STATES, RoundState, TaskState, TrainingStatus
from hansa.server.blobs.models import Blob
from hansa.server.registry.models import Model, ModelVersion


def _choices(states: type[TrainingStatus | RoundState | TaskState | TaskKind | Verdict]) -> list[tuple[str, str]]:
    return [(state.value, state.value) for state in states]


class Training(models.Model):
    """One learning, from plan to result. Its model is its own: one that is already trained is copied."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=200, blank=True)
    model = models.OneToOneField(Model, on_delete=models.CASCADE, related_name="training")
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="trainings")
    status = models.CharField(max_length=10, choices=_choices(TrainingStatus), default=TrainingStatus.INITIAL.value)
    reason = models.TextField(blank=True)
    """Why it has its status. While ONGOING the reason is not stored: it is what `decide` says."""
    awaits_clients = models.BooleanField(default=False)
    """PAUSED by the server, because too few clients are there; it goes on by itself when enough are."""
    plan = models.JSONField()
    shorthand = models.JSONField(null=True, blank=True)
    """What the older contract's fields were given as: aggregation_method, uncertainty_method, options, metric_names."""
    seed = models.BigIntegerField()
    rounds_done = models.PositiveIntegerField(default=0)
    failures = models.PositiveIntegerField(default=0)
    """Attempts abandoned since a round was last done, or the training last resumed."""
    created_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("created_at",)
        constraints = (
            models.CheckConstraint(
                condition=~Q(status=TrainingStatus.ERROR.value) | ~Q(reason=""), name="error_has_a_reason"
            ),
        )
        indexes = (models.Index(fields=("status",), name="trainings_by_status"),)

    def __str__(self) -> str:
        return self.name or str(self.id)

    @property
    def parsed_plan(self) -> plans.Plan:
        """The plan as a value; it was checked when it was stored."""
        return plans.parse(self.plan)


class Participation(models.Model):
    """A client in a training. `ordinal` is the join order: the canonical order of aggregation."""

    training = models.ForeignKey(Training, on_delete=models.CASCADE, related_name="participations")
    client = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="participations")
    ordinal = models.PositiveIntegerField()
    active = models.BooleanField(default=True)
    absent = models.BooleanField(default=False)
    """It was lost in a round, and has not come since: later rounds invite it, but do not wait for it."""
    absent_since = models.DateTimeField(null=True, blank=True)
    """When it was lost last."""
    failures = models.PositiveIntegerField(default=0)
    """Tasks in a row that it took, and that failed or were lost."""
    excluded = models.CharField(max_length=500, blank=True)
    """Why it is asked no more, after as many failures as the plan allows; empty: it is."""
    num_examples = models.BigIntegerField(null=True, blank=True)
    """As it last reported for a TRAIN task: the weight of `selection: by_examples`."""

    class Meta:
        ordering = ("training", "ordinal")
        constraints = (
            models.UniqueConstraint(fields=("training", "client"), name="a_client_joins_a_training_once"),
            models.UniqueConstraint(fields=("training", "ordinal"), name="one_client_per_ordinal"),
        )

    def __str__(self) -> str:
        return f"{self.training_id}#{self.ordinal}"


class Round(models.Model):
    """One attempt at one round."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    training = models.ForeignKey(Training, on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    state = models.CharField(max_length=12, choices=_choices(RoundState), default=RoundState.COLLECTING.value)
    reason = models.TextField(blank=True)
    """Why it went into its state."""
    closing_reason = models.TextField(blank=True)
    """Why it has closed, with the reports that it had: what became of it later says nothing of that."""
    base = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="rounds_from")
    version = models.OneToOneField(
        ModelVersion, null=True, blank=True, on_delete=models.SET_NULL, related_name="round_of"
    )
    accepted = models.JSONField(null=True, blank=True)
    """The accepted list, in canonical order: [[ordinal, digest, weight], ...]. Written when the round closes; with the
    plan and the base version it determines the version."""
    folded = models.JSONField(null=True, blank=True)
    """Late updates of earlier rounds that count here: [[ordinal, digest, weight, round], ...], in the order of (round,
    ordinal), after those of `accepted`; the weight is after staleness. Written when the round closes."""
    selection = models.JSONField(null=True, blank=True)
    """What selected the cohort, and whom: enough to select again, and find the same."""
    wanted = models.PositiveIntegerField(null=True, blank=True)
    """How many reports close it, where more clients than that were invited."""
    moments_accepted = models.JSONField(null=True, blank=True)
    """SWAG: the accepted list of moments, as `accepted`. Written when the SWAG phase closes."""
    measured = models.JSONField(null=True, blank=True)
    """What its clients measured, once it is done: {kind: {metric: [mean, minimum, maximum, clients]}}."""
    moments_reason = models.TextField(blank=True)
    """Why the version has no moments, where the plan wants some."""
    claim = models.UUIDField(null=True, blank=True)
    claimed_until = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField()
    clock_from = models.DateTimeField(null=True, blank=True)
    """When the training last went on after a pause or a restart: clients could not come before."""
    closed_at = models.DateTimeField(null=True, blank=True)
    aggregated_at = models.DateTimeField(null=True, blank=True)
    combined_at = models.DateTimeField(null=True, blank=True)
    """SWAG: when the version had its moments, or it was found that it gets none."""
    evaluated_at = models.DateTimeField(null=True, blank=True)
    """When the evaluation was over, where the version was calibrated after it."""
    done_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("training", "number", "attempt")
        constraints = (
            models.UniqueConstraint(fields=("training", "number", "attempt"), name="one_row_per_attempt"),
            models.UniqueConstraint(
                fields=("training",),
                condition=Q(state__in=sorted(state.value for state in LIVE_ROUND_STATES)),
                name="one_live_round_per_training",
            ),
            models.UniqueConstraint(
                fields=("training", "number"),
                condition=~Q(state=RoundState.ABANDONED.value),
                name="one_round_per_number",
            ),
            models.CheckConstraint(
                condition=Q(accepted=None) | ~Q(state=RoundState.COLLECTING.value),
                name="accepted_list_only_once_closed",
            ),
            models.CheckConstraint(
                condition=~Q(accepted=None) | Q(state__in=[RoundState.COLLECTING.value, RoundState.ABANDONED.value]),
                name="closed_rounds_have_an_accepted_list",
            ),
        )

    def __str__(self) -> str:
        return f"round {self.number}.{self.attempt}"


class Task(models.Model):
    """What one client is asked to do in one round."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    round = models.ForeignKey(Round, on_delete=models.CASCADE, related_name="tasks")
    participation = models.ForeignKey(Participation, on_delete=models.CASCADE, related_name="tasks")
    kind = models.CharField(max_length=10, choices=_choices(TaskKind))
    state = models.CharField(max_length=10, choices=_choices(TaskState), default=TaskState.OFFERED.value)
    reason = models.CharField(max_length=500, blank=True)
    instance = models.CharField(max_length=64, blank=True)
    """Which of the client's state folders holds the lease."""
    lease_until = models.DateTimeField(null=True, blank=True)
    leased_at = models.DateTimeField(null=True, blank=True)
    downloaded_at = models.DateTimeField(null=True, blank=True)
    """When its client had what it begins from; see `downloads`."""
    failure_counted = models.BooleanField(default=False)
    """Its client's failures hold this one. Let in again after the server lost bytes, it may be lost a second time."""
    source = models.ForeignKey("Update", null=True, blank=True, on_delete=models.SET_NULL, related_name="sent_to")
    """Daisy chaining: the local model to go on from; None: the round's base."""
    uploaded = models.ForeignKey(Blob, null=True, blank=True, on_delete=models.PROTECT, related_name="uploads")
    """The last update whose bytes this client has sent in full. It counts only when it is reported."""
    uploaded_at = models.DateTimeField(null=True, blank=True)
    uploaded_norm = models.FloatField(null=True, blank=True)
    reported_at = models.DateTimeField(null=True, blank=True)
    num_examples = models.BigIntegerField(null=True, blank=True)
    seconds = models.FloatField(null=True, blank=True)
    metrics = models.JSONField(default=dict)
    calibration = models.JSONField(null=True, blank=True)
    """What its client told of the version's calibration (`protocol.calibration`), until all is added up."""
    progress = models.FloatField(null=True, blank=True)
    """As its client last said, 0 to 1."""

    class Meta:
        ordering = ("participation__ordinal",)
        constraints = (
            models.UniqueConstraint(fields=("round", "participation", "kind"), name="one_task_per_client_and_kind"),
            models.CheckConstraint(
                condition=~Q(state=TaskState.LEASED.value) | Q(lease_until__isnull=False), name="a_lease_ends"
            ),
        )
        indexes = (
            models.Index(fields=("round", "kind", "state"), name="tasks_of_a_round"),
            models.Index(fields=("participation", "state"), name="tasks_of_a_client"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def measured(self) -> dict[str, float]:
        """The metrics as the client reported them; PostgreSQL gives large floats of JSON back as whole numbers."""
        return {key: float(value) for key, value in self.metrics.items()}


class Update(models.Model):
    """The accepted report of a TRAIN task (a local model, whose public id is the task's), or of a SWAG task (moments).

    The blob is dropped when the plan no longer keeps it; the row stays.
    """

    task = models.OneToOneField(Task, on_delete=models.CASCADE, related_name="update")
    digest = models.CharField(max_length=64)
    source_digest = models.CharField(max_length=64, blank=True)
    """SHA-256 of the file as it was sent, where it came in another format than `blob` has."""
    size = models.BigIntegerField()
    blob = models.ForeignKey(Blob, null=True, blank=True, on_delete=models.PROTECT, related_name="updates")
    base = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="updates_from")
    num_examples = models.BigIntegerField()
    norm = models.FloatField()
    """L2 norm of (client params - those it started from), params only; of moments the root of the summed variances."""
    cosine = models.FloatField(null=True, blank=True)
    """Of the angle between it and the update that its round came to, both from the round's base, params only; null
    until there is that, and where one of the two is zero."""
    factor = models.FloatField(null=True, blank=True)
    """How much of it is in the update that its round came to: Σ of all, each times its own; null until there is that,
    and where the plan's aggregator goes by rank."""
    verdict = models.CharField(max_length=10, choices=_choices(Verdict), default=Verdict.ACCEPTED.value)
    reason = models.CharField(max_length=500, blank=True)
    folded_into = models.ForeignKey(Round, null=True, blank=True, on_delete=models.SET_NULL, related_name="folds")
    """The later round that a late update counts in; its own round's number tells its staleness."""
    received_at = models.DateTimeField()

    class Meta:
        ordering = ("received_at",)
        constraints = (models.CheckConstraint(condition=Q(num_examples__gte=1), name="update_has_examples"),)

    def __str__(self) -> str:
        return f"update {self.digest[:12]}"


class Event(models.Model):
    """Something that happened, noted in the transaction that made it so; see `services.eventlog`.

    Numbers are given out under the training's lock: in the order of commits, as far as one training is concerned.
    """

    training = models.ForeignKey(Training, on_delete=models.CASCADE, related_name="events", db_index=False)
    participation = models.ForeignKey(
        Participation, null=True, blank=True, on_delete=models.CASCADE, related_name="events", db_index=False
    )
    """Whom it concerns; None: the training, or the round."""
    at = models.DateTimeField()
    kind = models.CharField(max_length=24)
    """An `EventKind`."""
    round = models.PositiveIntegerField(null=True, blank=True)
    """Its number, which outlives attempts at it."""
    attempt = models.PositiveIntegerField(null=True, blank=True)
    reason = models.TextField(blank=True)
    data = models.JSONField(default=dict)

    class Meta:
        ordering = ("id",)
        indexes = (
            # One for each way in which the log is read: all of it, of a round, of a client, of no client.
            models.Index(fields=("training", "id"), name="events_of_a_training"),
            models.Index(fields=("training", "round", "id"), name="events_of_a_round"),
            models.Index(fields=("participation", "id"), name="events_of_a_client"),
            models.Index(fields=("training", "id"), condition=Q(participation=None), name="events_of_no_client"),
        )

    def __str__(self) -> str:
        return f"{self.id} {self.kind}"
