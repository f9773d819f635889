"""Writes the first inputs of the corpus: `python tests/fuzz/seeds.py`. Needs torch; run it when torch writes anew."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402  # after the path
from torch import nn  # noqa: E402

from support.torchmodels import saved, scripted  # noqa: E402
from support.torchzip import Entry, Layout, entries_of, of_era, packed  # noqa: E402


def main() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1))
    tensors = {"t": torch.zeros(2, 3).t(), "n": torch.zeros(2, dtype=torch.int64), "e": torch.zeros(0)}
    state = saved(tensors)
    seeds = {
        "file-state-dict": b"f" + state,
        "file-zip64": b"f" + of_era(state, "zip64 everywhere"),
        "file-plain-headers": b"f" + of_era(state, "no descriptors"),
        "file-tiny": b"f" + packed([Entry("data.pkl", b"\x80\x02}.")], Layout(alignment=1)),
        "file-tensor": b"f" + saved(torch.zeros(3)),
        "file-script": b"f" + scripted(nn.Linear(1, 1)),
        "pickle-module": b"p" + _pickle(saved(model)),
        "pickle-state-dict": b"p" + _pickle(state),
        "pickle-state-dict-protocol-5": b"p" + _pickle(saved(tensors, pickle_protocol=5)),
        "pickle-parameter": b"p" + _pickle(saved(nn.Parameter(torch.zeros(3)))),
        "script-linear": b"s"
        + _pickle(scripted(nn.Linear(1, 1))).replace(b"__torch__.torch.nn.modules.linear\nLinear", b"__torch__\nNet"),
        "code-conv": b"c"
        + next(entry.content for entry in entries_of(scripted(nn.Conv2d(1, 1, 1))) if entry.name.endswith("conv.py")),
    }
    for name, content in seeds.items():
        (HERE / "corpus" / name).write_bytes(content)


def _pickle(content: bytes) -> bytes:
    return next(entry.content for entry in entries_of(content) if entry.name == "data.pkl")


if __name__ == "__main__":
    main()
