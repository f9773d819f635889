"""The rules that a plan may name, once each, with settings that a cohort of seven is enough for.

Whoever adds a rule adds its section here, and all that is asked of every rule is asked of it.
"""

from collections.abc import Sequence
from typing import Any, Final

SECTIONS: Final[Sequence[dict[str, Any]]] = (  # Any: JSON
    {"kind": "weighted_mean"},
    {"kind": "sum"},
    {"kind": "norm_bounded_mean", "bound": 2.0, "weighting": "examples"},
    {"kind": "median"},
    {"kind": "trimmed_mean", "trim": 0.3},
    {"kind": "krum", "byzantine": 2},
    {"kind": "multi_krum", "byzantine": 1, "keep": 3},
    {"kind": "geometric_median", "weighting": "examples", "iterations": 20},
)
