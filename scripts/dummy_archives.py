"""Writes the two torch archives that `GET /api/dummy/` serves, so that the server needs no torch.

pip install 'hansa[torch]'; python scripts/dummy_archives.py
"""

import io
from pathlib import Path

import torch
from torch import nn

ARCHIVES = Path(__file__).parent.parent / "src" / "hansa" / "server" / "dummy" / "files"
SEED = 0


def classifier() -> nn.Module:
    """Ten classes of grey images of 28 x 28: two convolutions and a linear layer, freshly initialised."""
    torch.manual_seed(SEED)
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(16 * 7 * 7, 10),
        nn.LogSoftmax(dim=1),
    )


def preprocessing() -> nn.Module:
    """From an image file's pixels to what the classifier takes."""
    from torchvision.transforms import v2

    return nn.Sequential(
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Resize((28, 28)),
        v2.Grayscale(),
        v2.Normalize(mean=(0.1307,), std=(0.3081,)),
    )


def declare_missing_operators() -> None:
    """Torchvision registers its meta functions at import, also for operators that a torch without CUDA may not have."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name, arguments in {
        "nms": "Tensor dets, Tensor scores, float iou_threshold",
        "qnms": "Tensor dets, Tensor scores, float iou_threshold",
    }.items():
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}({arguments}) -> Tensor")
    KEPT.append(library)


KEPT: list[torch.library.Library] = []
"""What a Library defines ends with it."""


def write_script(module: nn.Module, path: Path) -> None:
    """Save as TorchScript, without the debug records: they hold the paths of the machine that wrote them."""
    saved = io.BytesIO()
    torch.jit.save(torch.jit.script(module.eval()), saved)
    saved.seek(0)
    reader = torch._C.PyTorchFileReader(saved)
    written_by_itself = ("version", "byteorder", ".data/", ".format_version", ".storage_alignment")
    writer = torch._C.PyTorchFileWriter(str(path))
    for name in reader.get_all_records():
        if not name.endswith(".debug_pkl") and not name.startswith(written_by_itself):
            record = reader.get_record(name)
            writer.write_record(name, record, len(record))
    writer.write_end_of_file()


def main() -> None:
    """Write both."""
    ARCHIVES.mkdir(exist_ok=True)
    write_script(classifier(), ARCHIVES / "classifier.pt")
    declare_missing_operators()
    torch.save(preprocessing(), ARCHIVES / "preprocessing.pt")
    for path in sorted(ARCHIVES.glob("*.pt")):
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
