"""The part of a plan that says how the uncertainty of answers is told."""

from typing import Literal

from hansa.protocol.calibration import ScoreRule
from hansa.rounds.section import Count, Section, UnsoundPlanError


class Calibration(Section, frozen=True):
    """How far a version's confidence is borne out, told by the clients from their own examples. Only counts leave them.

    Clients that cannot tell are done without: the version is then calibrated by fewer, or not at all, and says so.
    """

    temperature: bool = False
    """With each evaluation the clients report their losses on a grid of temperatures; the version gets the one that
    suits all of them best (Guo et al. 2017, arXiv:1706.04599). For models whose outputs are logits of classes."""
    scores: ScoreRule | None = None
    """After each evaluation the clients report conformal scores under that temperature, as counts on a grid; with them
    the version answers with sets or intervals that hold the truth as often as is asked (Lu et al. 2023,
    arXiv:2305.17564). lac, aps: sets of classes. residual: intervals of numbers."""


class Uncertainty(Section, frozen=True):
    """How the uncertainty of a prediction is told from the model. Answers use it; SWAG and calibration are work for the
    clients.
    """

    method: Literal["none", "ensemble", "snapshots", "mc_dropout", "swag"] = "none"
    """swag: after each aggregation the clients report the moments of the weights around the version (Maddox et al.
    2019, arXiv:1902.02476), and the server averages them."""
    samples: Count = 10
    """Passes of one answer, where the method draws them: mc_dropout, swag. Of snapshots, how many of the last versions
    answer together."""
    softmax: bool = False
    """mc_dropout: apply softmax to the output of each pass."""
    calibration: Calibration = Calibration()


def check_calibration(uncertainty: Uncertainty, *, every: int) -> None:
    """Refuse what no client could calibrate; `every`: the plan's `evaluation.every`."""
    wanted = uncertainty.calibration
    if (wanted.temperature or wanted.scores) and every == 0:
        raise UnsoundPlanError(
            "plan: uncertainty.calibration is asked for, but evaluation.every is 0, and versions are calibrated when "
            "they have been evaluated. Raise evaluation.every, or leave uncertainty.calibration out."
        )
    if wanted.temperature and wanted.scores == "residual":
        raise UnsoundPlanError(
            "plan: uncertainty.calibration has temperature, which is for logits of classes, and scores 'residual', "
            "which are for numbers. Leave temperature out, or take the scores 'lac' or 'aps'."
        )
