"""What a call computes: the outputs of every program in every pass."""

import io
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from PIL import Image
from torch import nn

from hansa.core.moments import FIRST, SECOND
from hansa.core.params import Array
from hansa.sandbox.messages import Call, EncodedImage, Tensor
from hansa.sandbox.programs.loading import ProgramError, arrays
from hansa.uncertainty.swag import Gaussian, gaussian

MAX_PIXELS = 50_000_000
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses at twice the figure, and warns between
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def batch_of(inputs: Sequence[Tensor | EncodedImage], preprocessing: nn.Module | None) -> torch.Tensor:
    """The inputs as one batch. Raises ProgramError where they do not fit together."""
    if len(inputs) == 1 and isinstance(inputs[0], Tensor):
        return _preprocessed(torch.from_numpy(inputs[0].array().copy()), preprocessing)
    parts = [_preprocessed(_element(each, raw=preprocessing is not None), preprocessing) for each in inputs]
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) != 1:
        raise ProgramError(f"the inputs have shapes {sorted(shapes)[:5]}; those of a batch have one. Send them alone.")
    return torch.cat(parts)


def _element(part: Tensor | EncodedImage, *, raw: bool) -> torch.Tensor:
    """One element of a batch, as a batch of one; an image as uint8 if `raw`, else as float32 within [0, 1]."""
    if isinstance(part, Tensor):
        return torch.from_numpy(part.array().copy()).unsqueeze(0)
    with Image.open(io.BytesIO(part.content)) as image:
        pixels = np.array(image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB"))
    channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    tensor = torch.from_numpy(np.ascontiguousarray(channels)).unsqueeze(0)
    return tensor if raw else tensor.float() / 255


def _preprocessed(part: torch.Tensor, preprocessing: nn.Module | None) -> torch.Tensor:
    return part if preprocessing is None else _tensor(preprocessing(part))


def outputs(call: Call, programs: Sequence[nn.Module], batch: torch.Tensor, files: Mapping[str, int]) -> Array:
    """The outputs of all passes, (N, B, …). Generators begin at the call's seed, whatever was computed before.

    Under SWAG every pass has weights of its own and the version's batch-norm statistics: without data they cannot be
    computed anew for each draw, as Maddox et al. 2019 do.
    """
    torch.manual_seed(call.seed)
    found = [one.detach() for module in programs for one in _passes(call, module, batch, files)]
    if len({tuple(each.shape) for each in found}) != 1:
        raise ProgramError(f"the passes have outputs of shapes {sorted({tuple(each.shape) for each in found})[:5]}")
    stacked = torch.stack(found)
    wide = torch.float64 if stacked.dtype == torch.float64 else torch.float32
    array: Array = stacked.to(wide).contiguous().numpy()
    return array


def _passes(call: Call, module: nn.Module, batch: torch.Tensor, files: Mapping[str, int]) -> Iterator[torch.Tensor]:
    if call.passes == "one":
        yield _tensor(module(batch.clone()))
    elif call.passes == "dropout":
        _let_drop(module)
        yield from (_tensor(module(batch.clone())) for _ in range(call.samples))
        module.eval()
    elif call.moments is not None:
        held = arrays(files[call.moments.file])
        first, second = (np.asarray(held[name], np.float64) for name in (FIRST, SECOND))
        around, rng = gaussian(first, second), np.random.default_rng(call.seed)
        yield from (_drawn(module, around, rng, call.moments.order, batch) for _ in range(call.samples))


def _let_drop(module: nn.Module) -> None:
    """Put the dropouts, and nothing else, into train mode. Raises ProgramError without any."""
    names = {each.__name__ for each in _DROPOUTS}
    dropouts = [
        each for each in module.modules() if isinstance(each, _DROPOUTS) or getattr(each, "original_name", "") in names
    ]
    if not dropouts:
        raise ProgramError("the program has no dropout: every pass would be the same. Ask with another method.")
    for each in dropouts:
        each.train()


def _drawn(
    module: nn.Module, around: Gaussian, rng: np.random.Generator, order: Sequence[str], batch: torch.Tensor
) -> torch.Tensor:
    own = module.state_dict()
    if missing := [name for name in order if name not in own]:
        raise ProgramError(f"the moments have {missing[0]!r}, which the program has not")
    if (length := sum(own[name].numel() for name in order)) != around.mean.size:
        raise ProgramError(f"the moments are of {around.mean.size} numbers; the program has {length}")
    weights, start = torch.from_numpy(around.draw(rng)), 0
    with torch.no_grad():
        for name in order:
            target = own[name]
            target.copy_(weights[start : start + target.numel()].view(target.shape))
            start += target.numel()
    return _tensor(module(batch.clone()))


def _tensor(found: object) -> torch.Tensor:
    if not isinstance(found, torch.Tensor):
        raise ProgramError(f"the program returns {type(found).__name__}; wanted is one tensor")
    return found
