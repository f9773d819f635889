"""The model that is trained: a small network of two convolutions, 9,930 params."""

from torch import nn


def model() -> nn.Module:
    """Grey images of 8 x 8 pixels in, one score per digit out."""
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 4 * 4, 10),
    )
