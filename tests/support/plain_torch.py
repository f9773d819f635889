"""Programs run by torch in the process of the test, by nobody's rules: what the sandbox's answers must be like."""

import io
import os
from collections.abc import Mapping

import numpy as np
import torch
from PIL import Image as Pillow
from safetensors.torch import load
from torch import nn

from hansa.core.moments import FIRST, SECOND
from hansa.core.params import Array
from hansa.server.inference.errors import ProgramError
from hansa.server.inference.programs import Program
from hansa.server.inference.runner import Job
from hansa.server.registry.statistics import Executed, ExecutedLayer


class PlainTorch:
    """Runs what is asked. Only for programs that were made here."""

    async def outputs(self, job: Job) -> Array:
        """As the papers say, one pass after the other."""
        nets = [_net(program, job.descriptors) for program in job.model.programs]
        torch.manual_seed(job.seed)
        try:
            with torch.no_grad():
                inputs = _prepared(job)
                passes = {"mc_dropout": _dropped, "swag": _drawn}.get(job.model.way.method)
                made = [net(inputs) for net in nets] if passes is None else passes(nets[0], inputs, job)
        except RuntimeError as error:
            raise ProgramError(str(error)) from error
        return torch.stack(made).numpy()

    async def summary(self, job: Job) -> Executed:
        """Outputs of all modules, and the multiplications of linear layers."""
        net = _net(job.model.programs[0], job.descriptors)
        layers: dict[str, ExecutedLayer] = {}
        for path, module in net.named_modules():

            def seen(module, given, made, path=path):
                macs = module.weight.numel() * len(made) if isinstance(module, nn.Linear) else 0
                layers[path] = ExecutedLayer(tuple(given[0].shape), tuple(made.shape), macs)

            module.register_forward_hook(seen)
        net(torch.from_numpy(job.inputs))
        return Executed(layers)


def _content(digest: str, descriptors: Mapping[str, int]) -> bytes:
    descriptor = descriptors[digest]
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _net(program: Program, descriptors: Mapping[str, int]) -> nn.Module:
    content = _content(program.archive.digest, descriptors)
    net = _loaded(content)
    if program.params is not None:
        net.load_state_dict(load(_content(program.params.digest, descriptors)))
    return net.eval()


def _loaded(content: bytes) -> nn.Module:
    stream = io.BytesIO(content)
    net: nn.Module = torch.jit.load(stream) if b"constants.pkl" in content else torch.load(stream, weights_only=False)
    return net


def _prepared(job: Job) -> torch.Tensor:
    pipeline = job.model.preprocessing
    if isinstance(job.inputs, np.ndarray):
        tensor = torch.from_numpy(job.inputs)
    else:
        tensor = torch.stack([_pixels(image.content) for image in job.inputs])
        tensor = tensor if pipeline is not None else tensor.float() / 255
    return tensor if pipeline is None else _loaded(_content(pipeline.digest, job.descriptors))(tensor)


def _pixels(content: bytes) -> torch.Tensor:
    """A grey image as C x H x W."""
    return torch.from_numpy(np.array(Pillow.open(io.BytesIO(content))))[None]


def _dropped(net: nn.Module, inputs: torch.Tensor, job: Job) -> list[torch.Tensor]:
    for module in net.modules():
        if "dropout" in str(getattr(module, "original_name", type(module).__name__)).lower():
            module.train()
    return [net(inputs) for _ in range(job.model.way.samples)]


def _drawn(net: nn.Module, inputs: torch.Tensor, job: Job) -> list[torch.Tensor]:
    assert job.model.moments is not None
    moments = load(_content(job.model.moments.file.digest, job.descriptors))
    first, second = moments[FIRST], moments[SECOND]
    deviation = (second - first**2).clamp(min=0).sqrt()
    made = []
    for _ in range(job.model.way.samples):
        weights = first + deviation * torch.randn(len(first), dtype=torch.float64)
        nn.utils.vector_to_parameters(weights.float(), net.parameters())
        made.append(net(inputs))
    return made
