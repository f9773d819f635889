"""Writes the two torch archives with which `hansa demo --fill` fills a server, so that it needs no torch.

pip install 'hansa[torch]'; PYTHONPATH=scripts python scripts/demo_archives.py
"""

from pathlib import Path

import torch
from dummy_archives import write_script
from torch import nn
from torch.nn import functional

from hansa.simulation.demo.perceptron import DROPOUT, HIDDEN
from hansa.simulation.demo.shapes import NAMES, SIDE

ARCHIVES = Path(__file__).parent.parent / "src" / "hansa" / "simulation" / "demo" / "files"
SEED = 1241


def classifier() -> nn.Module:
    """What `perceptron` trains: its arrays have the same names."""
    torch.manual_seed(SEED)
    return nn.Sequential(
        nn.Flatten(), nn.Linear(SIDE * SIDE, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, len(NAMES))
    )


class Drawing(nn.Module):
    """A picture of any size and colour as a small one, light on dark."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102  # torch's own
        grey = x.float().mean(dim=1, keepdim=True) / 255
        is_dark_on_light = grey.mean(dim=(2, 3), keepdim=True) > 0.5
        return functional.adaptive_avg_pool2d(torch.where(is_dark_on_light, 1 - grey, grey), 12)


def main() -> None:
    """Write both."""
    ARCHIVES.mkdir(exist_ok=True)
    write_script(classifier(), ARCHIVES / "shapes.pt")
    write_script(Drawing(), ARCHIVES / "shapes-preprocessing.pt")
    for path in sorted(ARCHIVES.glob("*.pt")):
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
