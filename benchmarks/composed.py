"""What `--rule` asks for: the aggregator and the server step of a plan, and where such a training must end."""

import argparse
import json
from collections.abc import Sequence
from math import sqrt
from typing import Any

import numpy as np

from hansa.core.aggregators import RULES
from hansa.core.server_steps import STEPS, State
from hansa.rounds.plan import Plan, UnsoundPlanError, parse
from hansa.rounds.rules import NormBoundedMean, Sum
from hansa.rounds.steps import step_of

Section = dict[str, Any]  # Any: any JSON
HELP = """the aggregator, or the server step, with its settings: krum:byzantine=1, adam:server_lr=0.01; once for each of
the two"""


def section(text: str) -> tuple[str, Section]:
    """The part of a plan that a word names: `aggregator` or `server_step`, and what it holds."""
    kind, _, settings = text.partition(":")
    seam = "aggregator" if kind in RULES else "server_step"
    if kind not in {*RULES, *STEPS}:
        raise argparse.ArgumentTypeError(f"{kind!r}; wanted is one of {', '.join([*RULES, *STEPS])}")
    pairs = [setting.partition("=") for setting in settings.split(",") if setting]
    said = {"kind": kind, **{name: json.loads(value) for name, _, value in pairs}}
    try:
        parse({"rounds": 1, seam: said})
    except UnsoundPlanError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return seam, said


def moved(plan: Plan, step: float, *, clients: int, params: int) -> float:
    """How far every param is from where it began, if in each round every client has added `step` to each."""
    update = step
    if isinstance(plan.aggregator, Sum):
        update *= clients
    elif isinstance(plan.aggregator, NormBoundedMean):
        update *= min(1.0, plan.aggregator.bound / (step * sqrt(params)))
    server, far = step_of(plan.server_step), 0.0
    if server is None:
        return plan.rounds * update
    state: State = {name: np.full(1, value) for name, value in server.initial().items()}
    for _ in range(plan.rounds):
        by, state = server.step(np.array([update]), state)
        far += float(by[0])
    return far


def named(sections: Sequence[tuple[str, Section]]) -> str:
    """For people."""
    return ", ".join(" ".join(map(str, said.values())) for _, said in sections) or "weighted_mean"
