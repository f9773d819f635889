"""What programs of many kinds answer in a cell, beside what torch answers here."""

import io
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import pytest_asyncio
import torch
from msgspec.structs import replace
from PIL import Image
from torch import nn

from hansa.core.moments import FIRST, SECOND
from hansa.formats import safetensors
from hansa.sandbox.confinement.protections import protections
from hansa.sandbox.framing import MAX_FILES
from hansa.sandbox.messages import (
    BadInput,
    Call,
    EncodedImage,
    Failed,
    Moments,
    Outcome,
    Program,
    Summary,
    Tensor,
    Traced,
    Unsupported,
)
from hansa.sandbox.pool import Pool
from hansa.sandbox.programs.allowed import ALLOWED
from hansa.uncertainty.swag import gaussian
from support.programs import opening

pytestmark = [
    pytest.mark.skipif(bool(protections().missing), reason=f"protections are {protections()}"),
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    async with Pool(1, wall_seconds=10, memory=2**30) as started:
        yield started


async def asked(pool: Pool, call: Call, folder: Path) -> Outcome:
    """Ask with the folder's files; under names that no other test has, as digests would be."""

    def unique(name: str) -> str:
        return f"{folder.name}/{name}"

    named = replace(
        call,
        programs=tuple(Program(unique(each.archive)) for each in call.programs),
        preprocessing=call.preprocessing and unique(call.preprocessing),
        moments=call.moments and replace(call.moments, file=unique(call.moments.file)),
    )
    return await pool.run(named, opening({unique(name): folder / name for name in call.digests}))


def array_of(outcome: Outcome) -> np.ndarray:
    assert isinstance(outcome, Tensor), outcome
    return outcome.array()


LAYERS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "batch norm": (nn.BatchNorm2d(3), (2, 3, 4, 4)),
    "layer norm": (nn.LayerNorm(4), (2, 4)),
    "group norm": (nn.GroupNorm(2, 4), (2, 4, 3)),
    "instance norm": (nn.InstanceNorm2d(3), (2, 3, 4, 4)),
    "pooling": (nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(1)), (1, 2, 8, 8)),
    "upsample": (nn.Upsample(scale_factor=2.0, mode="bilinear"), (1, 2, 4, 4)),
    "transposed convolution": (nn.ConvTranspose2d(2, 3, 3), (1, 2, 4, 4)),
    "1d and 3d": (nn.Sequential(nn.Conv1d(2, 3, 3), nn.Unflatten(1, (3, 1, 1)), nn.Conv3d(3, 2, 1)), (1, 2, 8)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4, padding="same"), (1, 4, 16, 16)),
    "wide convolution": (nn.Conv2d(16, 32, 3), (4, 16, 32, 32)),
    "activations": (
        nn.Sequential(nn.GELU(), nn.SiLU(), nn.ELU(), nn.PReLU(), nn.Softplus(), nn.Hardswish(), nn.LogSoftmax(-1)),
        (2, 4),
    ),
    "transformer": (nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2), (2, 5, 8)),
    "bilinear resize of an odd size": (nn.Upsample(size=(5, 7), mode="bicubic"), (1, 2, 4, 4)),
}


@pytest.mark.parametrize("layer", LAYERS)
async def test_layers_of_every_kind_answer_as_here(pool: Pool, tmp_path: Path, layer: str) -> None:
    module, shape = LAYERS[layer]
    torch.manual_seed(11)
    batch = torch.randn(shape)
    torch.save(module, tmp_path / "module")
    answer = await asked(pool, Call((Program("module"),), (Tensor.of(batch.numpy()),)), tmp_path)
    with torch.no_grad():
        np.testing.assert_allclose(array_of(answer)[0], module.eval()(batch).numpy(), rtol=1e-4, atol=1e-5)


async def test_an_embedding_answers_as_here(pool: Pool, tmp_path: Path) -> None:
    module = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2))
    torch.save(module, tmp_path / "module")
    words = np.array([[0, 4], [2, 1]])
    answer = await asked(pool, Call((Program("module"),), (Tensor.of(words),)), tmp_path)
    np.testing.assert_allclose(array_of(answer)[0], module(torch.from_numpy(words)).detach().numpy(), rtol=1e-6)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.gru = nn.LSTM(3, 4, batch_first=True), nn.GRU(4, 2, batch_first=True)
        self.heads = nn.MultiheadAttention(2, 1, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = self.gru(self.lstm(x)[0])[0]
        found: torch.Tensor = self.heads(steps, steps, steps)[0]
        return found


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
async def test_recurrent_layers_and_attention_in_a_script_answer_as_here(pool: Pool, tmp_path: Path) -> None:
    module, batch = Recurrent().eval(), torch.randn(2, 5, 3)
    torch.jit.script(module).save(str(tmp_path / "module"))  # type: ignore[no-untyped-call]  # torch declares no types
    answer = await asked(pool, Call((Program("module"),), (Tensor.of(batch.numpy()),)), tmp_path)
    with torch.no_grad():
        np.testing.assert_allclose(array_of(answer)[0], module(batch).numpy(), rtol=1e-4, atol=1e-5)


async def test_a_mean_answers_with_a_pass_of_every_member(pool: Pool, tmp_path: Path) -> None:
    members = [nn.Linear(4, 2) for _ in range(3)]
    for number, member in enumerate(members):
        torch.save(member, tmp_path / f"member{number}")
    batch = torch.randn(5, 4)
    call = Call(tuple(Program(f"member{number}") for number in range(3)), (Tensor.of(batch.numpy()),))
    wanted = np.stack([member(batch).detach().numpy() for member in members])
    np.testing.assert_allclose(array_of(await asked(pool, call, tmp_path)), wanted, rtol=1e-5, atol=1e-6)


async def test_a_mean_of_as_many_files_as_may_be_is_asked_and_one_of_more_than_may_be_is_told_so(
    pool: Pool, tmp_path: Path
) -> None:
    names = [f"member{number}" for number in range(MAX_FILES + 1)]
    for name in names:
        torch.save(nn.Identity(), tmp_path / name)
    most = tuple(Program(name) for name in names[:-1])

    found = array_of(await asked(pool, Call(most, (Tensor.of(np.ones((1, 2), np.float32)),)), tmp_path))
    refused = await asked(pool, Call((*most, Program(names[-1])), (Tensor.of(np.ones((1, 2), np.float32)),)), tmp_path)

    assert found.shape == (MAX_FILES, 1, 2)
    assert isinstance(refused, Unsupported)
    assert f"{MAX_FILES + 1} files; at most {MAX_FILES}" in refused.what


async def test_members_of_different_outputs_are_an_error(pool: Pool, tmp_path: Path) -> None:
    for width in (2, 3):
        torch.save(nn.Linear(4, width), tmp_path / f"wide{width}")
    call = Call((Program("wide2"), Program("wide3")), (Tensor.of(np.ones((1, 4), np.float32)),))
    answer = await asked(pool, call, tmp_path)
    assert isinstance(answer, Failed)
    assert "(1, 2), (1, 3)" in answer.detail


async def test_swag_draws_weights_for_every_pass(pool: Pool, tmp_path: Path) -> None:
    net, rng = nn.Linear(3, 2), np.random.default_rng(3)
    torch.save(net, tmp_path / "module")
    first = rng.normal(size=8)
    second = first**2 + rng.uniform(0.1, 0.5, size=8)
    with (tmp_path / "moments").open("wb") as file:
        safetensors.write(file, {FIRST: first.astype(np.float32), SECOND: second.astype(np.float32)})
    batch = np.ones((1, 3), np.float32)
    moments = Moments("moments", ("weight", "bias"))
    call = Call((Program("module"),), (Tensor.of(batch),), moments=moments, passes="swag", samples=3, seed=9)
    found = array_of(await asked(pool, call, tmp_path))
    around = gaussian(first.astype(np.float32).astype(np.float64), second.astype(np.float32).astype(np.float64))
    draws = np.random.default_rng(9)
    for answer in found:
        weights = around.draw(draws)
        wanted = weights[:6].reshape(2, 3) @ batch[0] + weights[6:]
        np.testing.assert_allclose(answer[0], wanted, rtol=1e-4)
    assert len({answer.tobytes() for answer in found}) == 3
    # the next caller gets the model's own weights
    plain = array_of(await asked(pool, Call((Program("module"),), (Tensor.of(batch),)), tmp_path))
    np.testing.assert_allclose(plain[0], net(torch.from_numpy(batch)).detach().numpy(), rtol=1e-5)


def an_image(mode: str, kind: str) -> tuple[bytes, np.ndarray]:
    rng = np.random.default_rng(5)
    shape = (6, 4) if mode == "L" else (6, 4, 3)
    pixels = rng.integers(0, 256, shape, dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    with Image.open(file) as image:  # what a lossy format makes of it
        return file.getvalue(), np.array(image)


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "PNG"), ("RGB", "PNG"), ("RGB", "JPEG"), ("RGB", "BMP"), ("L", "GIF")]
)
async def test_an_image_is_decoded_in_the_cell(pool: Pool, tmp_path: Path, mode: str, kind: str) -> None:
    content, pixels = an_image(mode, kind)
    torch.save(nn.Identity(), tmp_path / "module")
    found = array_of(await asked(pool, Call((Program("module"),), (EncodedImage(content),)), tmp_path))
    channels = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if kind == "GIF":  # has a palette, and comes as colours
        assert found.shape[2:] == (3, 6, 4)
        return
    np.testing.assert_allclose(found[0, 0], channels.astype(np.float32) / 255)


def sixteen_bits() -> Image.Image:
    return Image.fromarray(np.full((6, 4), 0x80FF, np.uint16))


IMAGES = {
    "of 16 bits": (sixteen_bits, 1, 0x80 / 255),
    "grey with alpha": (lambda: Image.new("LA", (4, 6), (51, 7)), 2, 51 / 255),
    "colour with alpha": (lambda: Image.new("RGBA", (4, 6), (51, 1, 2, 7)), 4, 51 / 255),
    "of a palette": (lambda: Image.new("RGB", (4, 6), (51, 1, 2)).convert("P", palette=Image.Palette.WEB), 3, 51 / 255),
}
"""Each with its channels, and its first value."""


@pytest.mark.parametrize("kind", IMAGES)
async def test_an_image_that_is_not_of_the_models_shape_is_refused_and_told_how(
    pool: Pool, tmp_path: Path, kind: str
) -> None:
    made, channels, value = IMAGES[kind]
    file = io.BytesIO()
    made().save(file, "PNG")
    torch.save(nn.Identity(), tmp_path / "module")
    call = Call((Program("module"),), (EncodedImage(file.getvalue()),), shape=(None, channels, 6, 4))

    found = array_of(await asked(pool, call, tmp_path))
    of_one = array_of(await asked(pool, msgspec.structs.replace(call, shape=(channels, 6, 4)), tmp_path))
    refused = await asked(pool, msgspec.structs.replace(call, shape=(None, 5, 6, 4)), tmp_path)

    assert found.shape[1:] == (1, channels, 6, 4)
    assert found.flat[0] == pytest.approx(value)
    assert (of_one == found).all()
    assert isinstance(refused, BadInput)
    assert f"[1, {channels}, 6, 4]" in refused.detail
    assert "input_shape is [any, 5, 6, 4]" in refused.detail


async def test_what_is_no_image_is_told(pool: Pool, tmp_path: Path) -> None:
    torch.save(nn.Identity(), tmp_path / "module")
    answer = await asked(pool, Call((Program("module"),), (EncodedImage(b"no image at all"),)), tmp_path)
    assert isinstance(answer, BadInput)
    assert "image" in answer.detail
    assert "0x" not in answer.detail


@pytest.mark.skipif(not any("torchvision" in each.__module__ for each in ALLOWED), reason="no torchvision here")
async def test_preprocessing_of_torchvisions_transforms_prepares_images_of_any_size(pool: Pool, tmp_path: Path) -> None:
    from torchvision.transforms import v2

    pipeline = v2.Compose(
        [v2.Resize((5, 5)), v2.CenterCrop(4), v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5], [0.2])]
    )
    torch.save(pipeline, tmp_path / "pipeline")
    torch.save(nn.Flatten(), tmp_path / "module")
    content, pixels = an_image("L", "PNG")
    call = Call((Program("module"),), (EncodedImage(content), EncodedImage(content)), preprocessing="pipeline")
    wanted = pipeline(torch.from_numpy(pixels)[None, None]).flatten().numpy()
    np.testing.assert_allclose(array_of(await asked(pool, call, tmp_path))[0], np.stack([wanted, wanted]), atol=1e-5)


class Suppresses(nn.Module):
    def forward(self, boxes: torch.Tensor) -> torch.Tensor:
        return torch.nonzero(boxes)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
async def test_an_operator_that_is_not_known_is_named(pool: Pool, tmp_path: Path) -> None:
    torch.jit.script(Suppresses()).save(str(tmp_path / "whole"))  # type: ignore[no-untyped-call]  # torch declares no types
    with zipfile.ZipFile(tmp_path / "whole") as whole, zipfile.ZipFile(tmp_path / "module", "w") as module:
        for name in whole.namelist():
            module.writestr(name, whole.read(name).replace(b"torch.nonzero(", b"ops.strange.cull("))
    answer = await asked(pool, Call((Program("module"),), (Tensor.of(np.ones((1, 4), np.float32)),)), tmp_path)
    assert isinstance(answer, Unsupported), answer
    assert "strange::cull" in answer.what


async def test_a_function_in_a_pickle_is_named_without_advice_how_to_allow_it(pool: Pool, tmp_path: Path) -> None:
    module = nn.Linear(2, 2)
    module.extra = os.getcwd  # type: ignore[assignment]  # anything may be put into a pickle
    torch.save(module, tmp_path / "module")
    answer = await asked(pool, Call((Program("module"),), (Tensor.of(np.ones((1, 2), np.float32)),)), tmp_path)
    assert isinstance(answer, Unsupported), answer
    assert "getcwd" in answer.what
    assert len(answer.what) < 200


async def test_a_summary_tells_shapes_and_multiplications_of_every_module(pool: Pool, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Sequential(nn.Linear(8, 3)))
    torch.save(net, tmp_path / "module")
    batch = np.ones((5, 1, 4, 4), np.float32)
    answer = await asked(pool, Call((Program("module"),), (Tensor.of(batch),), passes="summary"), tmp_path)
    assert isinstance(answer, Summary), answer
    assert answer.layers == {
        "": Traced((5, 1, 4, 4), (5, 3), None),
        "0": Traced((5, 1, 4, 4), (5, 2, 2, 2), 20 * 5 * 4),
        "1": Traced((5, 2, 2, 2), (5, 8), 0),
        "2": Traced((5, 8), (5, 3), None),
        "2.0": Traced((5, 8), (5, 3), 27 * 5),
    }


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
async def test_a_script_that_is_a_chain_tells_as_much_as_the_module_it_was_made_of(pool: Pool, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Dropout(), nn.Sequential(nn.Linear(8, 3), nn.ReLU()))
    torch.save(net, tmp_path / "module")
    torch.jit.script(net).save(str(tmp_path / "script"))  # type: ignore[no-untyped-call]  # torch declares no types
    batch = (Tensor.of(np.ones((5, 1, 4, 4), np.float32)),)

    of_module = await asked(pool, Call((Program("module"),), batch, passes="summary"), tmp_path)
    of_script = await asked(pool, Call((Program("script"),), batch, passes="summary"), tmp_path)

    assert isinstance(of_script, Summary), of_script
    assert of_script.layers["3.0"] == Traced((5, 8), (5, 3), 27 * 5)
    assert of_script == of_module


class Doubled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = 2 * self.inner(x)
        return found


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
async def test_a_script_that_reckons_by_itself_tells_the_shapes_of_the_whole(pool: Pool, tmp_path: Path) -> None:
    torch.jit.script(nn.Sequential(Doubled())).save(str(tmp_path / "module"))  # type: ignore[no-untyped-call]  # as above
    call = Call((Program("module"),), (Tensor.of(np.ones((1, 4), np.float32)),), passes="summary")
    assert await asked(pool, call, tmp_path) == Summary({"": Traced((1, 4), (1, 2), None)})


class First(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.inner(x)[0]
        return found


class Attends(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.MultiheadAttention(8, 2, dropout=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.heads(x, x, x)[0]
        return found


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", ["transformer", "script of a transformer", "recurrent", "attention"])
async def test_dropout_within_layers_drops(pool: Pool, tmp_path: Path, kind: str) -> None:
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.5, batch_first=True)
    module: nn.Module = {
        "transformer": nn.TransformerEncoder(layer, 2),
        "script of a transformer": nn.TransformerEncoder(layer, 2),
        "recurrent": First(nn.LSTM(8, 16, num_layers=2, dropout=0.5)),
        "attention": Attends(),
    }[kind]
    if kind == "transformer":
        torch.save(module, tmp_path / "module")
    else:
        torch.jit.script(module).save(str(tmp_path / "module"))  # type: ignore[no-untyped-call]  # torch declares no types
    batch = Tensor.of(torch.randn(1 if kind != "recurrent" else 4, 5, 8).numpy())
    plain = array_of(await asked(pool, Call((Program("module"),), (batch,)), tmp_path))
    passes = array_of(await asked(pool, Call((Program("module"),), (batch,), passes="dropout", samples=4), tmp_path))
    assert len({each.tobytes() for each in passes}) == 4
    again = array_of(await asked(pool, Call((Program("module"),), (batch,)), tmp_path))
    np.testing.assert_array_equal(plain, again)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_dropout_that_a_trace_switched_off_is_refused(pool: Pool, tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5)).eval()
    torch.jit.trace(net, torch.ones(1, 4)).save(str(tmp_path / "module"))  # type: ignore[no-untyped-call]  # torch declares no types
    call = Call((Program("module"),), (Tensor.of(np.ones((1, 4), np.float32)),), passes="dropout", samples=3)
    answer = await asked(pool, call, tmp_path)
    assert isinstance(answer, Failed), answer
    assert "traced or frozen" in answer.detail


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
async def test_chance_in_the_preprocessing_and_in_the_passes_is_not_the_same(pool: Pool, tmp_path: Path) -> None:
    for name in ("module", "noise"):
        torch.jit.script(Noise()).save(str(tmp_path / name))  # type: ignore[no-untyped-call]  # torch declares no types
    call = Call((Program("module"),), (Tensor.of(np.zeros((1, 4), np.float32)),), preprocessing="noise", seed=5)
    found = array_of(await asked(pool, call, tmp_path)).ravel()
    torch.manual_seed(5)
    assert not np.isclose(found, 2 * torch.rand(4).numpy()).any()


class Noise(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand(4)


async def test_swag_leaves_whole_numbers_as_they_are(pool: Pool, tmp_path: Path) -> None:
    net = nn.BatchNorm1d(2, affine=False)
    torch.save(nn.Sequential(net), tmp_path / "module")
    numbers = np.array([0, 0, 1, 1, 7.9], np.float32)
    with (tmp_path / "moments").open("wb") as file:
        safetensors.write(file, {FIRST: numbers, SECOND: numbers**2})
    order = ("0.running_mean", "0.running_var", "0.num_batches_tracked")
    call = Call(
        (Program("module"),),
        (Tensor.of(np.ones((1, 2), np.float32)),),
        moments=Moments("moments", order),
        passes="swag",
        samples=2,
    )
    np.testing.assert_allclose(array_of(await asked(pool, call, tmp_path)), 1, rtol=1e-4)
