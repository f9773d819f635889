"""A training's record as people read it: what it is, who takes part, and how each client stands in a round."""

from collections.abc import Iterator, Sequence
from datetime import datetime

from rich.table import Table
from rich.text import Text

from hansa.cli import output
from hansa.cli.output import Column, right
from hansa.cli.words import ago, size
from hansa.client.plaintext import clean
from hansa.protocol.trainings import Round, TaskInfo, Training
from hansa.rounds.plan import Cohort, Fold, Participation, Plan, UnsoundPlanError, parse
from hansa.rounds.rules import WeightedMean, described, knows_examples
from hansa.rounds.states import TaskState
from hansa.rounds.steps import Identity
from hansa.rounds.uncertainty import Calibration


def summary(training: Training) -> Table:
    """Its parts, and the plan in a line; the whole plan is in the JSON."""
    return output.facts(
        [
            ("id", training.id),
            ("model", f"{training.model}, version {training.version}"),
            ("method", method_line(training)),
            ("plan", plan_line(training)),
            ("seed", f"{training.seed}"),
            ("created", _time(training.created_at)),
            ("started", _time(training.started_at)),
            ("finished", _time(training.finished_at)),
        ]
    )


def method_line(training: Training) -> str:
    """How it aggregates, and what its answers will know of their uncertainty; with the older platform's letter."""
    uncertainty = training.uncertainty_method
    asked = f", uncertainty by {uncertainty}" if uncertainty != "NONE" else ", no uncertainty method"
    return f"{training.aggregation_method}{asked} (state {training.state})"


def plan_line(training: Training) -> str:
    """The plan as a person would tell it; what is as usual is left out."""
    try:
        plan = parse(training.plan)
    except UnsoundPlanError:  # a newer server's plan: its JSON says it all
        return "of another version; see --json"
    client, closing = plan.client, plan.closing
    parts = [
        f"{plan.rounds} rounds",
        *_rule_words(plan),
        f"{client.epochs} local epochs" if client.epochs > 1 else "",
        f"learning rate {client.client_lr:g}" if client.client_lr is not None else "",
        f"momentum {client.momentum:g}" if client.momentum is not None else "",
        f"proximal term {client.proximal_mu:g}" if client.proximal_mu else "",
        *_cohort_words(plan.cohort),
        f"quorum {closing.quorum}" if closing.quorum is not None else "",
        f"deadline {closing.deadline_seconds:g} s" if closing.deadline_seconds is not None else "",
        f"at least {closing.min_reports} reports" if closing.min_reports is not None else "",
        f"late updates count (1 + rounds late)^-{plan.late.exponent:g}, up to {plan.late.max_staleness} late"
        if isinstance(plan.late, Fold)
        else "",
        *_participation_words(plan.participation),
        *_calibration_words(plan.uncertainty.calibration),
    ]
    return ", ".join(part for part in parts if part)


def _rule_words(plan: Plan) -> Iterator[str]:
    for transform in plan.transforms:
        yield f"updates no longer than {transform.bound:g}"
    weighted = "weighted by examples" if knows_examples(plan.aggregator) else ""
    if isinstance(plan.aggregator, WeightedMean):
        yield f"mean {weighted}" if weighted else "equal mean"
    else:
        yield f"aggregator {described(plan.aggregator)} {weighted}".rstrip()
    if not isinstance(plan.server_step, Identity):
        yield f"server step {described(plan.server_step)}"


def _calibration_words(wanted: Calibration) -> Iterator[str]:
    if wanted.temperature:
        yield "versions get a temperature"
    if wanted.scores is not None:
        yield f"{'intervals' if wanted.scores == 'residual' else 'sets'} of a level by the score {wanted.scores}"


def _cohort_words(cohort: Cohort) -> list[str]:
    selection = {"uniform": "", "by_examples": "selected by examples", "round_robin": "selected in turn"}
    return [
        f"cohort {cohort.size}" if cohort.size is not None else "",
        f"cohort {cohort.fraction:.0%}" if cohort.fraction is not None else "",
        f"{cohort.over_selection:.0%} more invited" if cohort.over_selection else "",
        selection[cohort.selection],
    ]


def _participation_words(participation: Participation) -> list[str]:
    start, go_on, failures = participation.min_to_start, participation.min_to_go_on, participation.exclude_after
    return [
        f"starts with {start} clients there" if start > 1 else "",
        f"goes on with {go_on}" if go_on > 1 else "",
        f"excludes after {failures} failures in a row" if failures is not None else "",
    ]


def participants(training: Training, newest: Round | None, now: datetime) -> Table:
    """Who takes part, and how each stands in the newest round."""
    tasks_by_client: dict[str, TaskInfo] = {task.client: task for task in newest.tasks} if newest else {}
    columns = [right("#"), Column("client", give="cut"), Column("asked for work"), Column("newest round", give="cut")]
    rows = []
    for client in sorted(training.clients, key=lambda each: each.ordinal):
        task = tasks_by_client.get(client.id)
        standing = f"{task.kind}: {task.state}" if task else ""
        rows.append(
            (
                f"{client.ordinal}",
                client.username,
                ago(client.last_seen, now),
                "left the training" if not client.active else "excluded" if client.excluded else standing,
            )
        )
    return output.table(columns, rows)


def exclusions(training: Training) -> list[str]:
    """Who is asked no more and why, a line for each, and what to do about it."""
    out = [client for client in training.clients if client.active and client.excluded]
    told = [f"{client.username} is excluded: {client.excluded}" for client in out]
    names = ",".join(client.username for client in out)
    again = f"When that is mended: hansa trainings add-clients {training.name or training.id} {names}"
    return [*told, again] if out else []


def troubles(newest: Round | None) -> list[str]:
    """Why clients failed in a round or were lost, a line for each: what a person has to mend.

    Participants are not told each other's reasons; they get the lines that are about themselves.
    """
    gone = [task for task in newest.tasks if task.state in (TaskState.FAILED, TaskState.LOST)] if newest else []
    return [
        f"{task.username} {'failed' if task.state == TaskState.FAILED else 'was lost'} ({task.kind}): {task.reason}"
        for task in sorted(gone, key=lambda each: (each.kind != "train", each.ordinal))
        if task.reason
    ]


def round_headline(shown: Round) -> Text:
    """Which round, which attempt, how far."""
    attempt = f", attempt {shown.attempt}" if shown.attempt > 1 else ""
    version = (
        f"version {shown.base_version} → {shown.version}"
        if shown.version is not None
        else (f"from version {shown.base_version}")
    )
    wanted = f"  {shown.wanted} of {shown.cohort} wanted" if shown.wanted is not None else ""
    return Text.assemble((f"round {shown.number}{attempt}", "bold"), f"  {clean(shown.state)}  {version}{wanted}")


def reasons(shown: Round) -> list[str]:
    """Why it has closed, if that is another reason than that of its state; then that one."""
    closed = shown.closing_reason
    return [f"closed: {closed}", shown.reason] if closed and closed not in shown.reason else [shown.reason]


def earlier_attempts(rounds: Sequence[Round], shown: Round) -> list[str]:
    """Why the attempts before the one shown came to nothing, the newest first, after an empty line."""
    vain = [each for each in rounds if each.number == shown.number and each.attempt < shown.attempt]
    newest_first = sorted(vain, key=lambda each: -each.attempt)
    told = [f"attempt {each.attempt} {each.state}: {each.reason or 'no reason is known'}" for each in newest_first]
    return ["", *told] if told else []


def tasks(shown: Round) -> Table:
    """How each client stands: what became of its task, and what it counts for."""
    columns = [
        Column("client", give="cut"),
        Column("task"),
        Column("state"),
        right("examples"),
        right("weight"),
        right("norm"),
        right("sent"),
        Column("why", give="wrap"),
    ]
    rows = [
        (
            task.username,
            task.kind,
            "late" if task.late else task.state,
            f"{task.num_examples:,}" if task.num_examples is not None else "",
            f"{task.weight:.4f}" if task.weight is not None else "",
            f"{task.norm:.4g}" if task.norm is not None else "",
            size(task.bytes),
            f"counts in round {task.counts_in}" if task.counts_in else task.reason or task.verdict or "",
        )
        for task in sorted(shown.tasks, key=lambda each: (each.kind != "train", each.ordinal))
    ]
    return output.table(columns, rows)


def _time(iso: str | None) -> str:
    return iso[:19].replace("T", " ") if iso else ""
