"""Monte Carlo dropout: what drops is put into train mode for a while, and nothing else. Gal and Ghahramani 2016."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import nn

from hansa.sandbox.programs.graphs import steps
from hansa.sandbox.programs.loading import ProgramError

_DROPOUTS: Final = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_INSIDE: Final = (nn.MultiheadAttention, nn.RNN, nn.LSTM, nn.GRU)
"""Layers that drop by themselves, by their own mode. A script may not tell how much: then it is taken to do."""
_AROUND: Final = (nn.TransformerEncoderLayer, nn.TransformerEncoder)
"""Layers that in eval mode take a shorter way, past the dropouts within them."""


@contextmanager
def let_drop(module: nn.Module) -> Iterator[None]:
    """Let it drop. Raises ProgramError where nothing would."""
    droppers = [each for each in module.modules() if _drops(each)]
    if not droppers:
        raise ProgramError("the program has no dropout: every pass would be the same. Ask with another method.")
    if isinstance(module, torch.jit.ScriptModule) and not _obeys(module):
        raise ProgramError(
            "the program's dropout was switched off for good when it was traced or frozen. Save it by torch.jit.script."
        )
    around = [each for each in module.modules() if _is_one(each, _AROUND)]
    try:
        for each in (*droppers, *around):
            each.training = True  # by itself: train() would reach the layers within it as well
        yield
    finally:
        module.eval()


def _drops(module: nn.Module) -> bool:
    if _is_one(module, _DROPOUTS):
        return float(getattr(module, "p", 1.0)) > 0
    if _is_one(module, _INSIDE):
        return float(getattr(module, "dropout", 1.0)) > 0 and getattr(module, "num_layers", 2) > 1
    return False


def _is_one(module: nn.Module, classes: tuple[type[nn.Module], ...]) -> bool:
    """Whether it is of one of the classes, or a script of one."""
    return isinstance(module, classes) or getattr(module, "original_name", "") in {each.__name__ for each in classes}


def _obeys(module: torch.jit.ScriptModule) -> bool:
    """Whether any step of a script looks at a mode: in a trace the mode of its time is written down instead."""
    if not hasattr(module, "inlined_graph"):
        return True  # it has no one forward; calling it says so
    return any(step.kind() == "prim::GetAttr" and step.s("name") == "training" for step in steps(module.inlined_graph))
