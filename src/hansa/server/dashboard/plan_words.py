"""A plan in words: what will happen, for people who were not there when it was written. Pure."""

from collections.abc import Iterator, Sequence

from hansa.rounds import rules, steps
from hansa.rounds.encoding import offered
from hansa.rounds.plan import Fold, Plan
from hansa.rounds.rules import AggregatorSection, knows_examples
from hansa.rounds.steps import ServerStepSection
from hansa.server.dashboard.charts import number


def told(plan: Plan) -> Sequence[str]:
    """A sentence for each thing that the plan decides, and none for what it leaves as it is.

    >>> from hansa.rounds.plan import fedprox
    >>> for sentence in told(fedprox(rounds=3, mu=0.1)): print(sentence)
    3 rounds; each asks all participants to train.
    A client trains for 1 epoch. Its steps are held near the version it began from (FedProx, μ = 0.1).
    A round waits for every client that is alive.
    The new version is the mean of the clients' params, weighted by their examples (FedAvg).
    The clients test every version on their own data.
    """
    return [
        *_rounds(plan),
        *_client(plan),
        *_encoding(plan),
        *_closing(plan),
        *_aggregation(plan),
        *_evaluation(plan),
        *_uncertainty(plan),
        *_keeping(plan),
    ]


def _rounds(plan: Plan) -> Iterator[str]:
    cohort = plan.cohort
    who = "all participants"
    if cohort.size is not None:
        who = f"{cohort.size} of the participants"
    elif cohort.fraction is not None and cohort.fraction < 1:
        who = f"{cohort.fraction:.0%} of the participants"
    drawn = {
        "uniform": "drawn with equal chances",
        "by_examples": "drawn in proportion to their examples",
        "round_robin": "in turn",
    }[cohort.selection]
    drawn = "" if who == "all participants" else f", {drawn},"
    yield f"{_count(plan.rounds, 'round')}; each asks {who}{drawn} to train."
    if cohort.over_selection:
        yield f"{cohort.over_selection:.0%} more are invited, and the slowest are not waited for."
    there = plan.participation
    if there.min_to_start > 1 or there.min_to_go_on > 1:
        yield (
            f"It begins when {_count(there.min_to_start, 'client')} are there, and pauses by itself while there are "
            f"fewer than {there.min_to_go_on}."
        )
    if there.exclude_after is not None:
        yield f"A client that fails {_count(there.exclude_after, 'time')} in a row is asked no more."


def _client(plan: Plan) -> Iterator[str]:
    client = plan.client
    parts = [f"A client trains for {_count(client.epochs, 'epoch')}"]
    if client.client_lr is not None:
        parts.append(f"with a learning rate of {number(client.client_lr)}")
    if client.momentum is not None:
        parts.append(f"and a momentum of {number(client.momentum)}")
    sentence = " ".join(parts) + "."
    if client.proximal_mu:
        sentence += (
            " Its steps are held near the version it began from "
            f"(FedProx, \N{GREEK SMALL LETTER MU} = {number(client.proximal_mu)})."
        )
    yield sentence


def _encoding(plan: Plan) -> Iterator[str]:
    encoding = offered(plan.encoding)
    if encoding is None:
        return
    what = "the params" if encoding.params is None else f"the params {', '.join(encoding.params)} alone"
    what = f"what has changed in {what}" if encoding.content == "difference" else what
    yield f"A client sends {what}{'' if encoding.dtype == 'as_model' else f', as {encoding.dtype}'}."


def _closing(plan: Plan) -> Iterator[str]:
    closing = plan.closing
    sentence = "A round waits for every client that is alive"
    if closing.quorum is not None:
        sentence = f"A round closes when {closing.quorum} have reported"
    if closing.deadline_seconds is not None:
        sentence += f", and at most {number(closing.deadline_seconds)} s from when the first took its task"
    yield sentence + "."
    if closing.min_reports is not None:
        yield f"With fewer than {_count(closing.min_reports, 'report')} it is begun anew."
    if isinstance(plan.late, Fold):
        yield (
            f"An update that comes up to {_count(plan.late.max_staleness, 'round')} late counts in a later one, with "
            f"its weight times (1 + staleness)^-{number(plan.late.exponent)}."
        )


def _aggregation(plan: Plan) -> Iterator[str]:
    for transform in plan.transforms:
        yield f"An update longer than {number(transform.bound)} is scaled down to that norm before it counts."
    if isinstance(plan.server_step, steps.Identity):
        yield f"The new version is {_rule(plan.aggregator)}."
    else:
        yield f"What is aimed at is {_rule(plan.aggregator)}. {_step(plan.server_step)}"
    if plan.daisy_chain is not None:
        yield (
            f"Between, local models travel from client to client: only every {plan.daisy_chain.period}th round makes a "
            "version (daisy chaining)."
        )


def _rule(rule: AggregatorSection) -> str:
    weighted = "weighted by their examples" if knows_examples(rule) else "each alike"
    match rule:
        case rules.WeightedMean():
            return f"the mean of the clients' params, {weighted}{' (FedAvg)' if knows_examples(rule) else ''}"
        case rules.Sum():
            return "the one before with all clients' differences added to it"
        case rules.Median():
            return "the median of the clients' params, element by element"
        case rules.TrimmedMean():
            return (
                f"the mean of the clients' params, element by element, without the {number(100 * rule.trim)} % largest "
                "and smallest values (trimmed mean)"
            )
        case rules.Krum():
            return (
                "the params of the client that has the closest neighbours; "
                f"{_count(rule.byzantine, 'client')} may send anything (Krum)"
            )
        case rules.MultiKrum():
            return (
                f"the mean of the {_count(rule.keep, 'client')} that have the closest neighbours; "
                f"{rule.byzantine} may send anything (multi-Krum)"
            )
        case rules.GeometricMedian():
            return f"the geometric median of the clients' params, {weighted} (RFA)"
        case rules.NormBoundedMean():
            return f"the mean of the clients' params, {weighted}, no update longer than {number(rule.bound)}"


def _step(step: ServerStepSection) -> str:
    """How the server goes from one version toward what the aggregator gives."""
    match step:
        case steps.Identity():
            return ""
        case steps.Sgd():
            return f"The server goes {number(step.server_lr)} times as far from the version before."
        case steps.Momentum():
            return (
                f"The server goes {number(step.server_lr)} times as far from the version before, with a momentum of "
                f"{number(step.momentum)} from earlier rounds (FedAvgM)."
            )
        case steps.Adagrad() | steps.Adam() | steps.Yogi():
            name = {steps.Adagrad: "FedAdagrad", steps.Adam: "FedAdam", steps.Yogi: "FedYogi"}[type(step)]
            return (
                f"The server goes toward it at a learning rate of {number(step.server_lr)}, with smaller steps for "
                f"params that changed much in earlier rounds ({name})."
            )


def _evaluation(plan: Plan) -> Iterator[str]:
    every = plan.evaluation.every
    if not every:
        yield "Nobody tests the versions."
    else:
        which = "every version" if every == 1 else f"one version in {every}, and the last,"
        yield f"The clients test {which} on their own data."


def _uncertainty(plan: Plan) -> Iterator[str]:
    method, passes = plan.uncertainty.method, _count(plan.uncertainty.samples, "pass", "passes")
    if method == "swag":
        yield f"After each version the clients gather the moments of its params; an answer takes {passes} (SWAG)."
    elif method == "mc_dropout":
        yield f"An answer takes {passes} with dropout switched on (MC dropout)."
    elif method == "ensemble":
        yield "An answer is that of all members of the mean (deep ensemble)."
    elif method == "snapshots":
        yield f"The last {_count(plan.uncertainty.samples, 'version')} answer together (snapshot ensemble)."
    calibration = plan.uncertainty.calibration
    if calibration.temperature:
        yield "With each test the clients tell how sure the version should be; it gets one temperature for all."
    if calibration.scores is not None:
        what = "intervals" if calibration.scores == "residual" else "sets of classes"
        yield f"After each test the clients count their scores ({calibration.scores}), for {what} of a given level."


def _keeping(plan: Plan) -> Iterator[str]:
    if plan.keep_updates:
        yield f"The clients' updates are kept for {_count(plan.keep_updates, 'round')}."
    if plan.seed is not None:
        yield f"What is drawn is drawn from the seed {plan.seed}."


def _count(many: int, noun: str, plural: str = "") -> str:
    return f"{many:,} {noun if many == 1 else plural or noun + 's'}"
