"""What an update costs in each form, and what becomes of the model: digits, five clients, fixed seeds.

    python benchmarks/update_forms.py

Scikit-learn's digits are dealt to five clients, each with more of some digits than of others. They train a perceptron
of one hidden layer by FedAvg, 40 rounds of one epoch each, with real update files: written as the SDK writes them,
read as the server reads them. `bytes/update` is the file; `off by` the largest error of a param in the last round,
beside what the client had; `loss` and `accuracy` are on a fifth of the digits that nobody trains on. Every line begins
from the same params and draws the same batches, so lines differ by their form alone.
"""

import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hansa.core.params import ParamSpec, spec_of
from hansa.formats import encodings, safetensors
from hansa.formats.chunks import FileSource, chunks, flat, read_chunk
from hansa.formats.encodings import Origin
from hansa.protocol.encodings import Encoding

Floats = NDArray[np.float32]
Model = dict[str, Floats]

CLIENTS, ROUNDS, HIDDEN, BATCH, RATE = 5, 40, 128, 16, 0.05
FORMS: Sequence[tuple[str, Encoding]] = (
    ("params, as the model's (float32)", Encoding()),
    ("params, float16", Encoding(dtype="float16")),
    ("params, bfloat16", Encoding(dtype="bfloat16")),
    ("difference, float32", Encoding(content="difference")),
    ("difference, float16", Encoding(content="difference", dtype="float16")),
    ("difference, bfloat16", Encoding(content="difference", dtype="bfloat16")),
    ("difference, bfloat16, last layer", Encoding(content="difference", dtype="bfloat16", params=["out.*"])),
)


@dataclass(frozen=True)
class Digits:
    images: Floats
    labels: NDArray[np.int64]


def main() -> int:
    shares, held = dealt()
    print(f"{'form':34} {'bytes/update':>12} {'of whole':>8} {'off by':>9} {'loss':>8} {'accuracy':>8}")
    whole = 0
    with tempfile.TemporaryDirectory(prefix="hansa-encodings-") as folder:
        for name, encoding in FORMS:
            size, error, model = trained(shares, encoding, Path(folder))
            whole = whole or size
            loss, right = measured(model, held)
            print(f"{name:34} {size:12,} {size / whole:8.0%} {error:9.1e} {loss:8.5f} {right:8.2%}")
    return 0


def dealt() -> tuple[list[Digits], Digits]:
    """The clients' digits, and those that nobody trains on."""
    from sklearn.datasets import load_digits  # takes a second to import

    bunch, rng = load_digits(), np.random.default_rng(1)
    images, labels = (bunch.data / 16).astype(np.float32), bunch.target.astype(np.int64)
    order = rng.permutation(len(labels))
    held, rest = order[: len(order) // 5], order[len(order) // 5 :]
    owner = np.array([rng.choice(CLIENTS, p=rng.dirichlet([1.0] * CLIENTS)) for _ in rest])
    skewed = np.where(rng.random(len(rest)) < 0.5, labels[rest] % CLIENTS, owner)
    own = [rest[skewed == client] for client in range(CLIENTS)]
    return [Digits(images[part], labels[part]) for part in own], Digits(images[held], labels[held])


def trained(shares: Sequence[Digits], encoding: Encoding, folder: Path) -> tuple[int, float, Model]:
    """The size of an update, its largest error in the last round, and the model."""
    rng = np.random.default_rng(2)
    model: Model = {
        "hidden.weight": (rng.normal(size=(64, HIDDEN)) / 8).astype(np.float32),
        "hidden.bias": np.zeros(HIDDEN, np.float32),
        "out.weight": (rng.normal(size=(HIDDEN, 10)) / np.sqrt(HIDDEN)).astype(np.float32),
        "out.bias": np.zeros(10, np.float32),
    }
    spec, weights = spec_of(model), [len(share.labels) for share in shares]
    size, error = 0, 0.0
    for number in range(ROUNDS):
        with based(model, folder) as origin:
            locals_ = [learned(model, share, seed=[number, client]) for client, share in enumerate(shares)]
            sent = [written(local, spec, encoding, origin) for local in locals_]
            seen = [read(content, spec, origin, folder) for content in sent]
        size = max(map(len, sent))
        error = max(
            float(np.abs(one[name] - local[name]).max())
            for one, local in zip(seen, locals_, strict=True)
            for name in encodings.selected(list(model), encoding.params)
        )
        mean = {name: np.average([one[name] for one in seen], axis=0, weights=weights) for name in model}
        model = {name: array.astype(np.float32) for name, array in mean.items()}
    return size, error, model


@contextmanager
def based(model: Model, folder: Path) -> Iterator[Origin]:
    """The version that a round begins from, in a file."""
    path = folder / "base.safetensors"
    with path.open("wb") as file:
        layout = safetensors.write(file, model)
    with FileSource(path) as source:
        yield Origin("0" * 64, source, layout)


def written(local: Model, spec: ParamSpec, encoding: Encoding, origin: Origin) -> bytes:
    stream = io.BytesIO()
    if encoding == Encoding():
        safetensors.write(stream, local)
    else:
        encodings.write(stream, local, spec, encoding, origin)
    return stream.getvalue()


def read(content: bytes, spec: ParamSpec, origin: Origin, folder: Path) -> dict[str, NDArray[np.float64]]:
    """The params that an update stands for, in float64."""
    path = folder / "update.safetensors"
    path.write_bytes(content)
    layout, form = encodings.read_layout(io.BytesIO(content), len(content))
    found = {array.name: np.empty(array.shape) for array in spec}
    with FileSource(path) as source:
        for chunk in chunks(spec):
            room, base = bytearray(sum(segment.nbytes for segment in chunk)), None
            if encodings.needs_base(layout, form, chunk):
                ours = bytearray(len(room))
                read_chunk(origin.source, origin.layout, chunk, ours)
                base = flat(chunk, ours)
            out = np.empty(sum(segment.size for segment in chunk))
            encodings.fill(out, encodings.parts(source, layout, chunk, room), form, base)
            start = 0
            for segment in chunk:
                found[segment.name].reshape(-1)[segment.start : segment.stop] = out[start : start + segment.size]
                start += segment.size
    return found


def learned(model: Model, share: Digits, *, seed: Sequence[int]) -> Model:
    """One epoch of gradient descent on softmax's cross-entropy."""
    params = {name: array.astype(np.float32) for name, array in model.items()}
    order = np.random.default_rng(seed).permutation(len(share.labels))
    for batch in np.array_split(order, max(1, len(order) // BATCH)):
        images = share.images[batch]
        hidden, logits = outputs(params, images)
        errors = np.exp(logits - logits.max(axis=1, keepdims=True))
        errors /= errors.sum(axis=1, keepdims=True)
        errors[np.arange(len(batch)), share.labels[batch]] -= 1
        errors /= len(batch)
        behind = (errors @ params["out.weight"].T) * (hidden > 0)
        steps = {
            "out.weight": hidden.T @ errors,
            "out.bias": errors.sum(axis=0),
            "hidden.weight": images.T @ behind,
            "hidden.bias": behind.sum(axis=0),
        }
        params = {name: (array - RATE * steps[name]).astype(np.float32) for name, array in params.items()}
    return params


def measured(model: Model, held: Digits) -> tuple[float, float]:
    """Cross-entropy, and the share that is right."""
    logits = outputs(model, held.images)[1].astype(np.float64)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    loss = -logs[np.arange(len(held.labels)), held.labels].mean()
    return float(loss), float(np.mean(np.argmax(logits, axis=1) == held.labels))


def outputs(params: Model, images: Floats) -> tuple[Floats, Floats]:
    hidden = np.maximum(images @ params["hidden.weight"] + params["hidden.bias"], 0)
    return hidden, hidden @ params["out.weight"] + params["out.bias"]


if __name__ == "__main__":
    sys.exit(main())
