"""The classes that pickled modules may be made of."""

import inspect
from collections import OrderedDict
from collections.abc import Callable
from types import ModuleType

import torch
from torch import nn
from torch.nn import functional
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear


def allowed() -> list[Callable[..., object]]:
    """torch.nn's own modules, torchvision's transforms where they are installed, and what their pickles need."""
    found: list[Callable[..., object]] = [OrderedDict, set, torch.Size, *_PARTS]
    for module in (nn, *_transforms()):
        classes = (each for _, each in inspect.getmembers(module, inspect.isclass))
        found += [each for each in classes if issubclass(each, nn.Module) and each not in found]
    return found


def _transforms() -> list[ModuleType]:
    try:
        import torchvision  # noqa: F401  # declares its operators, where its compiled part can be loaded
    except ImportError:
        return []
    except RuntimeError:  # it cannot: the build of torch is another
        _declare_missing_operators()
    try:
        from torchvision.transforms import v2
    except (ImportError, RuntimeError):
        return []
    return [v2]


def _declare_missing_operators() -> None:
    """Declare what torchvision names, and none that is there."""
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            _LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]  # torch declares no types


_PARTS = (NonDynamicallyQuantizableLinear, functional.relu, functional.gelu)
"""What layers of attention are made of, beside torch.nn's public classes."""
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch declares no types
ALLOWED = allowed()
