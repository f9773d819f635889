"""A model's statistics, in the words of torchinfo, from the layers that its archive told of when it came."""

from collections.abc import Sequence
from math import prod

import msgspec

from hansa.formats.modelfile import LayerInfo, totals
from hansa.protocol import models as wire
from hansa.server.registry.models import Model

FLOAT32_BYTES = 4


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
    return wire.Stats(
        input_size=[size],
        total_input=prod(size) * FLOAT32_BYTES,
        total_mult_adds=None,
        total_output_bytes=None,
        total_param_bytes=sums.total_param_bytes,
        total_params=sums.total_params,
        trainable_params=sums.trainable_params,
        summary_list=[_layer(number, layer) for number, layer in enumerate(structure)],
    )


def _layer(number: int, layer: LayerInfo) -> wire.LayerStats:
    return wire.LayerStats(
        layer_id=number,
        class_name=layer.class_name,
        depth=layer.depth,
        depth_index=layer.depth_index,
        executed=None,
        var_name=layer.var_name,
        is_leaf_layer=layer.is_leaf_layer,
        contains_lazy_param=layer.contains_lazy_param,
        is_recursive=None,
        input_size=None,
        output_size=None,
        kernel_size=None if layer.kernel_size is None else list(layer.kernel_size),
        trainable_params=layer.trainable_params,
        num_params=layer.num_params,
        param_bytes=layer.param_bytes,
        output_bytes=None,
        macs=None,
    )
