"""The client transforms and the aggregator of a plan: their settings, and what they go together with.

A section has the name of its rule in `hansa.core.aggregators.RULES` and, but for `weighting`, its fields. To add a rule
is to add its line there and its section to `AggregatorSection`.
"""

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from hansa.core.aggregators import RULES, Aggregator, ByElement
from hansa.core.aggregators.gram import MOST
from hansa.core.aggregators.shares import Needs
from hansa.rounds.section import Count, Section, UnsoundPlanError

Weighting = Literal["examples", "equal"]
Byzantine = Annotated[int, Meta(ge=0, le=1_000_000)]
Bound = Annotated[float, Meta(gt=0)]


class WeightedMean(Section, frozen=True, tag="weighted_mean", tag_field="kind"):
    """Σ nᵢ·xᵢ / Σ nᵢ (McMahan et al. 2017, arXiv:1602.05629, algorithm 1)."""

    weighting: Weighting = "examples"


class Sum(Section, frozen=True, tag="sum", tag_field="kind"):
    """x + Σ (xᵢ - x), with x the params that the round began from: the clients' differences are added, and no client
    counts less because others take part. For updates that are parts of a whole.
    """


class Median(Section, frozen=True, tag="median", tag_field="kind"):
    """The median of each element (Yin et al. 2018, arXiv:1803.01498, definition 1). It does not know weights."""


class TrimmedMean(Section, frozen=True, tag="trimmed_mean", tag_field="kind"):
    """The mean of each element without its largest and smallest values (Yin et al. 2018, arXiv:1803.01498,
    definition 2). It does not know weights.
    """

    trim: Annotated[float, Meta(ge=0.001, lt=0.5)]
    """The share of the values that is left out on either side: the largest share of clients that may send anything."""


class Krum(Section, frozen=True, tag="krum", tag_field="kind"):
    """The params of the client that has the closest neighbours (Blanchard et al. 2017, arXiv:1703.02757). It does not
    know weights.
    """

    byzantine: Byzantine
    """f: of so many clients whatever they send is borne. A round needs 2f + 3 reports."""


class MultiKrum(Section, frozen=True, tag="multi_krum", tag_field="kind"):
    """The mean of the `keep` clients that have the closest neighbours (Blanchard et al. 2017, arXiv:1703.02757). It
    does not know weights.
    """

    byzantine: Byzantine
    """As for Krum."""
    keep: Count
    """m: of how many the mean is made. A round needs m + f reports, and 2f + 3."""


class GeometricMedian(Section, frozen=True, tag="geometric_median", tag_field="kind"):
    """The point with the least sum of distances to the clients' params: RFA (Pillutla et al. 2022, arXiv:1912.13445).
    What clients with less than half of the weight send is borne.
    """

    weighting: Weighting = "equal"
    """With "examples" a client's weight is what it says of itself."""
    iterations: Annotated[int, Meta(ge=1, le=10_000)] = 100
    """At most: it ends where nothing changes any more."""
    smoothing: Annotated[float, Meta(ge=1e-100)] = 1e-6
    """Distances count as at least so much: the paper's nu."""


class NormBoundedMean(Section, frozen=True, tag="norm_bounded_mean", tag_field="kind"):
    """The mean of updates none of which is longer than `bound` (Sun et al. 2019, arXiv:1911.07963). A client moves the
    version by `bound` times its share of the weight at most.
    """

    bound: Bound
    """M: the largest norm of a client's params minus those it began from."""
    weighting: Weighting = "equal"
    """With "examples" a client's share is what it says of itself."""


AggregatorSection = WeightedMean | Sum | Median | TrimmedMean | Krum | MultiKrum | GeometricMedian | NormBoundedMean


class ClipNorm(Section, frozen=True, tag="clip_norm", tag_field="kind"):
    """Each update, a client's params minus those it began from, is scaled by min(1, C / its norm) before it is
    aggregated: by the server, so it holds for every client.
    """

    bound: Bound
    """C"""


Transforms = Annotated[list[ClipNorm], Meta(max_length=1)]


def rule_of(section: AggregatorSection) -> Aggregator:
    """The rule with these settings.

    >>> rule_of(MultiKrum(byzantine=1, keep=3))
    MultiKrum(byzantine=1, keep=3)
    """
    settings = {name: value for name, value in msgspec.structs.asdict(section).items() if name != "weighting"}
    return RULES[kind_of(section)](**settings)


def kind_of(section: Section) -> str:
    """By what name a plan asks for it."""
    return str(section.__struct_config__.tag)


def knows_examples(section: AggregatorSection) -> bool:
    """Whether an update weighs as much as its client has examples; if not, all weigh 1.

    >>> knows_examples(WeightedMean()), knows_examples(Median())
    (True, False)
    """
    match section:
        case WeightedMean(weighting=weighting) | GeometricMedian(weighting=weighting):
            return weighting == "examples"
        case NormBoundedMean(weighting=weighting):
            return weighting == "examples"
    return False


def is_plain_mean(section: AggregatorSection, transforms: Sequence[ClipNorm]) -> bool:
    """Whether an update's share is its part of all weights, whatever is in it."""
    return isinstance(section, WeightedMean) and not transforms


def described(section: Section) -> str:
    """For messages: kind and settings.

    >>> described(Krum(byzantine=2))
    "'krum' with byzantine 2"
    """
    settings = msgspec.structs.asdict(section).items()
    said = " and ".join(f"{name} {value}" for name, value in settings if name != "weighting")
    return f"{kind_of(section)!r}" + (f" with {said}" if said else "")


def numbers_of(path: str, section: Section) -> dict[str, float]:
    """The settings that have a fraction, by their path in the plan."""
    settings = msgspec.structs.asdict(section).items()
    return {f"{path}.{name}": value for name, value in settings if isinstance(value, float)}


def check_numbers_of_reports(section: AggregatorSection, promised: Sequence[tuple[str, int | None]]) -> None:
    """Refuse a round that could close with fewer reports than the rule needs; `promised`: path and number."""
    least = rule_of(section).least
    for path, count in promised:
        if count is not None and count < least:
            raise UnsoundPlanError(
                f"plan: {path} is {count}, but the aggregator {described(section)} needs {least} reports. Raise {path} "
                f"to {least} or more, or take an aggregator that needs fewer."
            )


def check_matrix(section: AggregatorSection, size: int, said: str) -> None:
    """Refuse a cohort whose clients are compared each with each, where that takes more memory than a server has."""
    rule = rule_of(section)
    if size > MOST and not isinstance(rule, ByElement) and rule.needs is Needs.PRODUCTS:
        raise UnsoundPlanError(
            f"plan: {said} {size:,}, but the aggregator {described(section)} compares every client with every other, "
            f"in memory that grows with the square of the cohort: {MOST:,} clients are the most. Give cohort.size "
            f"{MOST:,} or less, or take 'median' or 'trimmed_mean', which bear hostile clients as well."
        )


def check_company(
    section: AggregatorSection, transforms: Sequence[ClipNorm], *, chained: bool, folds: bool, moments: bool, drawn: str
) -> None:
    """Refuse what would break what the rule promises: daisy chains, late updates that count, SWAG, a selection."""
    for part in [*([] if isinstance(section, WeightedMean) else [section]), *transforms]:
        what = f"the {'transform' if isinstance(part, ClipNorm) else 'aggregator'} {described(part)}"
        if chained:
            raise UnsoundPlanError(
                f"plan: {what} stands in a daisy chain, where a local model holds the work of every client that "
                "had it, and so no update is one client's. Take the aggregator 'weighted_mean' without transforms, or "
                "leave daisy_chain out."
            )
        if folds:
            raise UnsoundPlanError(
                f"plan: {what} goes with late updates that count (late has kind 'fold'), which began from an "
                "older version and are no measure of this round's. Give late the kind 'discard', or take the "
                "aggregator 'weighted_mean' without transforms."
            )
        if moments and not isinstance(part, Sum):
            raise UnsoundPlanError(
                f"plan: {what} goes with the uncertainty method 'swag', whose moments are averaged as they come: a "
                "client that the version does not follow would carry them away. Take another method, or the "
                "aggregator 'weighted_mean' without transforms."
            )
    if drawn == "by_examples" and isinstance(section, ROBUST):
        raise UnsoundPlanError(
            f"plan: cohort.selection is 'by_examples' with the aggregator {described(section)}: who says that it has "
            "many examples would be in every cohort, and the aggregator bears only so many clients that send anything. "
            "Take the selection 'uniform' or 'round_robin'."
        )


ROBUST: Final = (Median, TrimmedMean, Krum, MultiKrum, GeometricMedian)
"""Rules that bear a number of clients that send anything."""
