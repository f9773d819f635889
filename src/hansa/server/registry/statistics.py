"""A model's statistics, in the words of torchinfo: from the layers that its archive told of when it came, and from one
run of its program, as soon as there was one.
"""

from collections.abc import Sequence
from math import prod

import msgspec

from hansa.formats.modelfile import LayerInfo, totals
from hansa.protocol import models as wire
from hansa.server.registry.models import Model

FLOAT32_BYTES = 4


class ExecutedLayer(msgspec.Struct, frozen=True):
    """What one run told of one module; None where it was not told."""

    input_size: tuple[int, ...] | None = None
    output_size: tuple[int, ...] | None = None
    macs: int | None = None
    """Multiplications with an addition."""


class Executed(msgspec.Struct, frozen=True):
    """What one run of a model told, by the paths of its modules."""

    layers: dict[str, ExecutedLayer]


NOT_RUN = Executed({})


def structure_as_json(structure: Sequence[LayerInfo] | None) -> object:
    """What `Model.structure` stores."""
    return msgspec.to_builtins(structure)


def stats_of(model: Model) -> wire.Stats | None:
    """The statistics; None without an input shape, and of a model whose file told no layers. Reads no blob."""
    if not model.structure or model.input_shape is None:
        return None
    structure = msgspec.convert(model.structure, tuple[LayerInfo, ...])
    size = [dimension or 1 for dimension in model.input_shape]
    sums = totals(structure)
    executed = msgspec.convert(model.executed, Executed) if model.executed is not None else NOT_RUN
    layers = [_layer(number, layer, executed) for number, layer in enumerate(structure)]
    leaves = [layer for layer in layers if layer.is_leaf_layer and layer.executed]
    return wire.Stats(
        input_size=[size],
        total_input=prod(size) * FLOAT32_BYTES,
        total_mult_adds=sum(leaf.macs or 0 for leaf in leaves) if leaves else None,
        # twice, as torchinfo counts it: for the gradients
        total_output_bytes=sum(2 * (leaf.output_bytes or 0) for leaf in leaves if leaf.num_params) if leaves else None,
        total_param_bytes=sums.total_param_bytes,
        total_params=sums.total_params,
        trainable_params=sums.trainable_params,
        summary_list=layers,
    )


def _layer(number: int, layer: LayerInfo, executed: Executed) -> wire.LayerStats:
    seen = executed.layers.get(layer.path)
    output = None if seen is None else seen.output_size
    return wire.LayerStats(
        layer_id=number,
        class_name=layer.class_name,
        depth=layer.depth,
        depth_index=layer.depth_index,
        executed=None if seen is None else True,
        var_name=layer.var_name,
        is_leaf_layer=layer.is_leaf_layer,
        contains_lazy_param=layer.contains_lazy_param,
        is_recursive=None,
        input_size=None if seen is None or seen.input_size is None else list(seen.input_size),
        output_size=None if output is None else list(output),
        kernel_size=None if layer.kernel_size is None else list(layer.kernel_size),
        trainable_params=layer.trainable_params,
        num_params=layer.num_params,
        param_bytes=layer.param_bytes,
        output_bytes=None if output is None else prod(output) * FLOAT32_BYTES,
        macs=None if seen is None else seen.macs,
    )
