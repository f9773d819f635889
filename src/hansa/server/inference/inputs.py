"""The parts of a batch as what a program is given: one array, or images."""

from collections.abc import Sequence

import numpy as np
from rest_framework.exceptions import ValidationError

from hansa.core.params import Array
from hansa.server.inference.decoding import Image, Input, check_shape
from hansa.server.inference.errors import FIELD, InputError
from hansa.server.inference.programs import Asked


def gathered(parts: Sequence[Input], model: Asked) -> Array | list[Image]:
    """All parts together. What is given to the model without preprocessing is compared with its `input_shape`.

    Arrays are joined along their first dimension, each being a batch by itself. Raises ValidationError.
    """
    images = [part for part in parts if isinstance(part, Image)]
    if len(images) == len(parts):
        return images
    if images:
        raise ValidationError({FIELD: ["Some parts are images and some are numbers; send the one or the other."]})
    arrays = [part for part in parts if not isinstance(part, Image)]
    try:
        array = arrays[0] if len(arrays) == 1 else _joined(arrays)
        if model.preprocessing is None and model.input_shape is not None:
            check_shape(array, model.input_shape)
    except InputError as error:
        raise ValidationError({FIELD: [str(error)]}) from error
    return array


def _joined(arrays: Sequence[Array]) -> Array:
    first = arrays[0]
    for number, array in enumerate(arrays):
        if array.ndim == 0 or array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
            raise InputError(
                f"Part {number} is {array.dtype} of shape {list(array.shape)}, part 0 {first.dtype} of shape "
                f"{list(first.shape)}; wanted are parts that differ in their first dimension only."
            )
    return np.concatenate(arrays)
