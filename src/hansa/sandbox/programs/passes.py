"""What a call computes: the outputs of every program in every pass."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import nn

from hansa.core.moments import FIRST, SECOND
from hansa.core.params import Array
from hansa.sandbox.messages import Call
from hansa.sandbox.programs.dropouts import let_drop
from hansa.sandbox.programs.loading import ProgramError, arrays, tensor
from hansa.uncertainty.swag import Gaussian, gaussian


def outputs(call: Call, programs: Sequence[nn.Module], batch: torch.Tensor, files: Mapping[str, int]) -> Array:
    """The outputs of all passes, (N, B, …). Generators begin at the call's seed, whatever was computed before.

    Under SWAG every pass has weights of its own and the version's batch-norm statistics: without data they cannot be
    computed anew for each draw, as Maddox et al. 2019 do.
    """
    torch.default_generator.manual_seed(_stream(call.seed))
    found = [one.detach() for module in programs for one in _passes(call, module, batch, files)]
    if len({tuple(each.shape) for each in found}) != 1:
        raise ProgramError(f"the passes have outputs of shapes {sorted({tuple(each.shape) for each in found})[:5]}")
    stacked = torch.stack(found)
    wide = torch.float64 if stacked.dtype == torch.float64 else torch.float32
    array: Array = stacked.to(wide).contiguous().numpy()
    return array


def _passes(call: Call, module: nn.Module, batch: torch.Tensor, files: Mapping[str, int]) -> Iterator[torch.Tensor]:
    if call.passes == "one":
        yield tensor(module(batch.clone()))
    elif call.passes == "dropout":
        with let_drop(module):
            yield from (tensor(module(batch.clone())) for _ in range(call.samples))
    elif call.moments is not None:
        held = arrays(files[call.moments.file])
        first, second = (np.asarray(held[name], np.float64) for name in (FIRST, SECOND))
        around, rng = gaussian(first, second), np.random.default_rng(call.seed)
        yield from (_drawn(module, around, rng, call.moments.order, batch) for _ in range(call.samples))


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
            if target.is_floating_point():  # whole numbers stay the version's: between two there is nothing to draw
                target.copy_(weights[start : start + target.numel()].view(target.shape))
            start += target.numel()
    return tensor(module(batch.clone()))


def _stream(seed: int) -> int:
    """The seed of the passes: of a stream other than the preprocessing's, which begins at the call's own."""
    return int(np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)[0])
