"""Draws the pictures of docs/explanation/uncertainty.md, and prints every figure that the page names.

pip install -e '.[dev]'; python scripts/uncertainty_pictures.py

A small net learns 250 of scikit-learn's 1,797 digits: few, so that it becomes too sure of itself. What it says of
others is then judged by Hansa's own functions. Seeds are fixed; another release of torch may draw other numbers from
them. One net proves little about calibration: that picture is of ten, each of which learned other digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from hansa.uncertainty import calibration, temperature
from hansa.uncertainty.calibration import Tally
from hansa.uncertainty.conformal import examples_needed, prediction_sets, set_coverage, threshold
from hansa.uncertainty.decomposition import Information, information
from hansa.uncertainty.probabilities import Floats, Labels, Outputs
from hansa.uncertainty.scores import least_ambiguous, of_labels
from hansa.uncertainty.sketches import Grid, sketch_of

try:
    import matplotlib as mpl
except ModuleNotFoundError as missing:
    raise SystemExit("matplotlib is not installed; it draws the pictures: pip install -e '.[dev]'") from missing

mpl.use("agg")

from matplotlib import pyplot as plt  # after the choice of a backend that opens no windows
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Images = NDArray[np.float32]

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
LARGEST = 100_000
"""Bytes of a picture."""
SEED = 1
TRAIN, TEMPER, SCORE = 250, 300, 400
CLIENTS, SKEW, LEVEL = 5, 0.3, 0.9
PASSES, DEALS, FEW = 50, 10, 10
LETTERS = "ACEFHJKLMNPRTUVWXY"
"""Capitals, but for those that might be read as a digit."""
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold")
BEFORE, AFTER, INK, PALE = "#c2571a", "#1f6f8b", "#333333", "#b9c0c7"
STYLE: dict[str, Any] = {  # Any: texts, numbers and truths, as matplotlib has them
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
}


@dataclass(frozen=True)
class Digits:
    """Images (n, 8, 8) from 0 to 1, what they show, and which client has them."""

    images: Images
    labels: Labels
    owners: NDArray[np.int64]


@dataclass(frozen=True)
class Reliability:
    """The same digits before and after: how sure nets are, and how often rightly."""

    temperatures: tuple[float, ...]
    before: Tally
    after: Tally


@dataclass(frozen=True)
class Kind:
    """Inputs of one kind, and what the passes say of them."""

    name: str
    images: Images
    known: Information


def main() -> None:
    """Everything, from the digits to the files."""
    torch.set_num_threads(1)  # with one thread the same seed gives the same bits
    rng = np.random.default_rng(SEED)
    train, _, score, test = dealt(rng)
    net = trained(train, SEED)
    kinds = [
        Kind(name, images, asked_often(net, images))
        for name, images in {
            "digits it has not seen": test.images,
            "capital letters": letters(),
            "inverted digits": 1 - test.images,
            "pixels shuffled": scrambled(test.images, rng),
            "noise": rng.random(test.images.shape, np.float32),
        }.items()
    ]
    several = [of_deal(seed) for seed in range(SEED, SEED + DEALS)]
    tell_reliability(several)
    tell_sets(net, several[0].temperatures[0], score, test)
    tell_kinds(kinds)
    with plt.style.context(STYLE):
        save(reliability_picture(together(several)), "reliability")
        save(entropy_picture(kinds), "entropy")


def dealt(rng: np.random.Generator) -> list[Digits]:
    """To train with, to find the temperature, to count scores and to test; five clients hold unequal digits."""
    bunch = load_digits()
    images, labels = (bunch.images / 16).astype(np.float32), bunch.target.astype(np.int64)
    shares = rng.dirichlet(np.full(CLIENTS, SKEW), 10).cumsum(axis=1)[:, :-1]
    owners = (rng.random((len(labels), 1)) > shares[labels]).sum(axis=1)
    parts = np.split(rng.permutation(len(labels)), np.cumsum([TRAIN, TEMPER, SCORE]))
    return [Digits(images[part], labels[part], owners[part]) for part in parts]


def trained(digits: Digits, seed: int) -> nn.Module:
    """A net with dropout, trained until it knows its 250 digits by heart; in eval mode."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Linear(128, 10),
    )
    images, labels = torch.from_numpy(digits.images), torch.from_numpy(digits.labels)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    batches = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
    for _ in range(150):
        for inputs, answers in batches:
            optimizer.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(net(inputs), answers))
            optimizer.step()
    return net.eval()


def logits(net: nn.Module, images: Images) -> Floats:
    """(n, 10), in the mode that the net is in."""
    with torch.no_grad():
        return np.asarray(net(torch.from_numpy(images)), np.float64)


def asked_often(net: nn.Module, images: Images) -> Information:
    """MC dropout: passes with dropout left on."""
    torch.manual_seed(SEED)
    net.train()
    passes = np.stack([logits(net, images) for _ in range(PASSES)])
    net.eval()
    return information(passes, Outputs.LOGITS)


def reliability(net: nn.Module, temper: Digits, test: Digits) -> Reliability:
    """Each client tells its loss sums; nothing else is used to find the temperature."""
    told = logits(net, temper.images)
    own = [temper.owners == client for client in range(CLIENTS)]
    sums = [temperature.loss_sums(told[mine], temper.labels[mine]) for mine in own]
    best = temperature.best(temperature.merged(sums)).value
    before, after = (
        calibration.tally(temperature.tempered(logits(net, test.images), value), test.labels) for value in (1.0, best)
    )
    return Reliability((best,), before, after)


def of_deal(seed: int) -> Reliability:
    """Of one more net, that learned other digits."""
    train, temper, _, test = dealt(np.random.default_rng(seed))
    return reliability(trained(train, seed), temper, test)


def together(several: Sequence[Reliability]) -> Reliability:
    """Of all their answers, each at the temperature of its net."""
    return Reliability(
        tuple(value for found in several for value in found.temperatures),
        calibration.merged(found.before for found in several),
        calibration.merged(found.after for found in several),
    )


def scrambled(images: Images, rng: np.random.Generator) -> Images:
    """The same greys in other places: the pixels of every image in one new order."""
    order = rng.permutation(64)
    return images.reshape(-1, 64)[:, order].reshape(-1, 8, 8)


def letters() -> Images:
    """Capital letters in matplotlib's own fonts, as large as the digits are and as coarse."""
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    fonts = [ImageFont.truetype(str(folder / f"{name}.ttf"), 96) for name in FONTS]
    return np.stack([_letter(letter, font) for font in fonts for letter in LETTERS])


def _letter(letter: str, font: ImageFont.FreeTypeFont) -> Images:
    sheet = Image.new("L", (256, 256))
    ImageDraw.Draw(sheet).text((64, 64), letter, fill=255, font=font)
    cut = sheet.crop(sheet.getbbox())
    width = max(3, min(8, round(8 * cut.width / cut.height)))
    small = np.asarray(cut.resize((width, 8), Image.Resampling.BOX), np.float32) / 255
    left = (8 - width) // 2
    return np.pad(small, ((0, 0), (left, 8 - width - left)))


def reliability_picture(found: Reliability) -> Figure:
    """Two diagrams side by side, and how many digits each point stands for."""
    figure, axes = plt.subplots(
        2, 2, figsize=(7.6, 4.6), height_ratios=(4, 1), sharex=True, sharey="row", layout="constrained"
    )
    sides = (("As trained", BEFORE, found.before), ("With the temperature", AFTER, found.after))
    for column, (name, colour, told) in enumerate(sides):
        above, below = axes[:, column]
        _reliability(above, told, colour)
        above.set_title(name, loc="left", fontweight="bold")
        bins = calibration.reliability_diagram(told)
        below.bar([(b.low + b.high) / 2 for b in bins], [b.examples for b in bins], 0.052, color=colour)
        below.set_yscale("log")
        below.set_yticks([1, 10, 100, 1000, 10_000], ["1", "10", "100", "1,000", "10,000"])
        below.minorticks_off()
        below.set_xlabel("confidence: probability of the likeliest digit")
    axes[0, 0].set_ylabel("accuracy: how often it was right")
    axes[1, 0].set_ylabel("answers\n(log scale)")
    return figure


def _reliability(axes: Axes, told: Tally, colour: str) -> None:
    bins = [found for found in calibration.reliability_diagram(told) if found.examples]
    right = np.array([found.accuracy for found in bins])
    sure = np.array([found.confidence for found in bins])
    few = np.array([found.examples < FEW for found in bins])
    axes.plot([0, 1], [0, 1], color=PALE, linestyle="--", label="as sure as it is right")
    error = calibration.calibration_error(told)
    line = axes.plot(sure[~few], right[~few], color=colour, marker="o", markersize=5, linewidth=1.2)[0]
    line.set_label(f"the nets: ECE {error:.3f}")
    axes.plot(
        sure[few], right[few], "o", color=colour, fillstyle="none", clip_on=False, label=f"fewer than {FEW} answers"
    )
    axes.set(xlim=(0, 1.01), ylim=(0, 1.03))
    axes.legend(loc="upper left", frameon=False)


def entropy_picture(kinds: Sequence[Kind]) -> Figure:
    """A row for each kind of input: four examples, and how its entropies are spread."""
    figure = plt.figure(figsize=(7.6, 5.0), layout="constrained")
    grid = figure.add_gridspec(len(kinds), 3, width_ratios=(1.25, 2, 2))
    columns = (("predictive entropy", "predictive_entropy"), ("mutual information", "mutual_information"))
    for row, kind in enumerate(kinds):
        colour = AFTER if row == 0 else BEFORE
        _examples(figure.add_subplot(grid[row, 0]), kind)
        for column, (title, field) in enumerate(columns, start=1):
            axes = figure.add_subplot(grid[row, column])
            _distribution(axes, getattr(kind.known, field), colour, last=row == len(kinds) - 1)
            if row == 0:
                axes.set_title(title.capitalize(), loc="left", fontweight="bold")
    return figure


def _examples(axes: Axes, kind: Kind) -> None:
    gap = np.full((8, 1), np.nan, np.float32)  # white
    chosen = islice(cycle(kind.images), 3, 3 + 4 * 7, 7)
    strip = np.hstack([piece for image in chosen for piece in (1 - image, gap)])[:, :-1]
    axes.imshow(strip, cmap="gray", vmin=0, vmax=1)
    axes.set_title(kind.name, fontsize=9, loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _distribution(axes: Axes, nats: Floats, colour: str, *, last: bool) -> None:
    most, middle = np.log(10), float(np.median(nats))
    edges = np.linspace(0, most, 31)
    shares, _ = np.histogram(nats, edges)
    axes.stairs(shares / shares.max(), edges, fill=True, color=colour, alpha=0.55)
    axes.axvline(middle, color=colour, linewidth=1.5)
    axes.text(most, 0.95, f"median {middle:.2f}", color=colour, ha="right", va="top")
    axes.set(xlim=(0, most), ylim=(0, 1.05))
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks([0, 0.5, 1, 1.5, most], ["0", "0.5", "1", "1.5", "ln 10"] if last else [])
    if last:
        axes.set_xlabel("nats")


def tell_reliability(several: Sequence[Reliability]) -> None:
    """The figures of the first picture, and those of the nets one by one."""
    whole = together(several)
    low, high = min(whole.temperatures), max(whole.temperatures)
    print(
        f"{len(several)} nets, temperatures {low:.2f} to {high:.2f}, accuracy {calibration.accuracy(whole.before):.3f}"
    )
    for name, told in (("as trained", whole.before), ("tempered", whole.after)):
        mean = sum(told.confidences) / told.count / 2**calibration.BITS
        error, brier = calibration.calibration_error(told), calibration.brier_score(told)
        print(f"  {name}: {told.count} answers, mean confidence {mean:.3f}, ECE {error:.4f}, Brier score {brier:.4f}")
    each = [[calibration.calibration_error(told) for told in (found.before, found.after)] for found in several]
    before, after = np.transpose(each)
    print(f"  one by one: mean ECE {before.mean():.3f}, then {after.mean():.3f}; lower in {(after < before).sum()}")


def tell_sets(net: nn.Module, value: float, score: Digits, test: Digits) -> None:
    """What clients' sketches make of a level, by the rule of the least ambiguous sets."""

    def scores(digits: Digits) -> Floats:
        return least_ambiguous(temperature.tempered(logits(net, digits.images), value))

    own = of_labels(scores(score), score.labels)
    sketches = [sketch_of(own[score.owners == client], Grid.UNIT) for client in range(CLIENTS)]
    for level in (LEVEL, 0.99):
        limit = threshold(sketches, round(1 - level, 6))
        sets = prediction_sets(scores(test), limit)
        whole = set_coverage(sets, test.labels)
        held = sets.members[np.arange(len(test.labels)), test.labels]
        shares = [float(held[test.owners == client].mean()) for client in range(CLIENTS)]
        needed = examples_needed(CLIENTS, limit.alpha)
        print(
            f"level {level:g}: up to {limit.value}; {limit.examples} scores of {needed} needed; excess {limit.excess}"
        )
        print(f"  {whole.share:.3f} held, {whole.mean_size:.2f} in a set, {whole.empty} of {whole.examples} empty")
        print(f"  by client {', '.join(f'{share:.3f}' for share in shares)}")


def tell_kinds(kinds: Sequence[Kind]) -> None:
    """The figures of the second picture."""
    print(f"medians over {PASSES} passes, in nats:")
    for kind in kinds:
        known = kind.known
        parts = (known.predictive_entropy, known.expected_entropy, known.mutual_information)
        medians = ", ".join(f"{np.median(part):.2f}" for part in parts)
        low = float((known.predictive_entropy < 0.1).mean())
        print(f"  {kind.name} ({len(kind.images)}): predictive, expected, mutual {medians}; below 0.1: {low:.0%}")


def save(figure: Figure, name: str) -> None:
    """Among the pictures of the documentation, if it is not too large."""
    path = PICTURES / f"{name}.png"
    figure.savefig(path, dpi=130, metadata={"Software": None})
    plt.close(figure)
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes")
    if size > LARGEST:
        raise SystemExit(f"{path.name} has {size:,} bytes; at most {LARGEST:,} are wanted. Lower its dpi.")


if __name__ == "__main__":
    main()
