"""What was sent, as a batch: tensors as they are, images decoded here, where faults of decoders do no harm."""

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import nn

from hansa.core.params import Array
from hansa.sandbox.messages import EncodedImage, Tensor
from hansa.sandbox.programs.loading import tensor

MAX_PIXELS: Final = 50_000_000
FORMATS: Final = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses at twice the figure, and warns between
_AS_THEY_ARE: Final = ("L", "LA", "RGB", "RGBA")


class InputsError(Exception):
    """What was sent makes no batch, whatever the program: what was seen, what is wanted."""


def batch_of(
    inputs: Sequence[Tensor | EncodedImage],
    preprocessing: nn.Module | None,
    shape: Sequence[int | None] | None = None,
) -> torch.Tensor:
    """The inputs as one batch; of the shape that is given, if they are not preprocessed. Raises InputsError."""
    if len(inputs) == 1 and isinstance(inputs[0], Tensor):
        return _preprocessed(torch.from_numpy(inputs[0].array().copy()), preprocessing)
    raw = preprocessing is not None
    parts = [_preprocessed(_element(number, each, raw=raw), preprocessing) for number, each in enumerate(inputs)]
    shapes = {tuple(part.shape[1:]) for part in parts}
    if len(shapes) != 1:
        raise InputsError(
            f"The inputs have shapes {sorted(shapes, key=str)[:5]} after decoding and preprocessing; those of a batch "
            "have one. Send them alone."
        )
    batch = torch.cat(parts)
    if preprocessing is None and shape is not None and not _fits(batch, shape):
        wanted = ", ".join("any" if length is None else str(length) for length in shape)
        raise InputsError(
            f"The images are a batch of shape {list(batch.shape)} (images, channels, height, width); the model's "
            f"input_shape is [{wanted}]. Send such images, or give the model a preprocessing that makes them so."
        )
    return batch


def _fits(batch: torch.Tensor, shape: Sequence[int | None]) -> bool:
    """Whether the batch has the shape, or each image of it: older models declare the one or the other."""
    seen = batch.shape if batch.ndim == len(shape) else batch.shape[1:]
    pairs = zip(seen, shape, strict=False)
    return len(seen) == len(shape) and all(wanted is None or wanted == length for length, wanted in pairs)


def _element(number: int, part: Tensor | EncodedImage, *, raw: bool) -> torch.Tensor:
    """One element of a batch, as a batch of one; an image as uint8 if `raw`, else as float32 within [0, 1]."""
    if isinstance(part, Tensor):
        return torch.from_numpy(part.array().copy()).unsqueeze(0)
    try:
        with Image.open(io.BytesIO(part.content), formats=FORMATS) as image:
            seen = pixels(image)
    except UnidentifiedImageError as error:  # its own words tell an address in memory
        raise InputsError(
            f"Part {number} begins as an image, and is none that is read. Wanted is a whole file."
        ) from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputsError(f"Part {number} is an image that cannot be read: {error}. Wanted is a whole file.") from error
    decoded = torch.from_numpy(seen).unsqueeze(0)
    return decoded if raw else decoded.float() / 255


def pixels(image: Image.Image) -> Array:
    """(C, H, W), uint8: 1 channel of grey, 2 with alpha, 3 of colour, 4 with alpha.

    A palette is looked up; of 16 bits the upper 8 are kept; everything else becomes red, green and blue.
    """
    if image.mode.startswith("I"):
        found: Array = (np.clip(np.asarray(image).astype(np.int64), 0, 0xFFFF) >> 8).astype(np.uint8)
    else:
        found = np.asarray(image if image.mode in _AS_THEY_ARE else image.convert(_channels(image)))
    channels = found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
    return np.array(channels, order="C")


def _channels(image: Image.Image) -> str:
    if image.mode == "1":
        return "L"
    return "RGBA" if image.mode == "P" and "transparency" in image.info else "RGB"


def _preprocessed(part: torch.Tensor, preprocessing: nn.Module | None) -> torch.Tensor:
    return part if preprocessing is None else tensor(preprocessing(part))
