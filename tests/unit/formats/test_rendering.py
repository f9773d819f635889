"""A version goes into the archive in which the model was made, and torch loads it as it loaded that one."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hansa.core.params import Kind
from hansa.formats import modelfile, safetensors
from hansa.formats.errors import BadModelFileError, SpecMismatchError
from support.torchmodels import (
    ZOO,
    ConvNet,
    Peculiar,
    Tied,
    arrays_of,
    assert_same,
    loaded_script,
    quiet,
    saved,
    scripted,
    state_of,
    traced,
    written,
)
from support.torchzip import ERAS, entries_of, of_era


def version_of(template: Path, seed: int = 1) -> tuple[Path, dict[str, np.ndarray]]:
    """Other numbers for the model of the template, the same ones for names that are tied."""
    rng = np.random.default_rng(seed)
    with modelfile.open_model(template) as file:
        spec, ties = file.spec(), file.ties
    arrays = {array.name: (rng.random(array.shape) * 100).astype(array.dtype).reshape(array.shape) for array in spec}
    for group in ties:
        arrays |= dict.fromkeys(group, arrays[group[0]])
    path = template.with_suffix(".safetensors")
    with path.open("wb") as out:
        safetensors.write(out, arrays, frozenset(array.name for array in spec if array.kind is Kind.BUFFER))
    return path, arrays


def rendered(template: Path, version: Path) -> Path:
    path = template.with_suffix(".rendered")
    with path.open("wb") as out:
        modelfile.render(template, version, out)
    return path


@pytest.mark.parametrize("name", ZOO)
def test_a_pickled_module_is_rendered_and_torch_loads_it(name: str, tmp_path: Path) -> None:
    make, inputs = ZOO[name]
    template = written(tmp_path, saved(make().eval()))
    version, arrays = version_of(template)
    path = rendered(template, version)
    assert_same(arrays_of(path), arrays)
    loaded = torch.load(path, weights_only=False)
    assert_same(state_of(loaded), arrays)
    loaded(inputs)


@pytest.mark.parametrize("name", ZOO)
def test_a_script_is_rendered_and_torch_loads_it(name: str, tmp_path: Path) -> None:
    make, inputs = ZOO[name]
    template = written(tmp_path, scripted(make().eval()))
    version, arrays = version_of(template)
    path = rendered(template, version)
    assert_same(arrays_of(path), arrays)
    loaded = loaded_script(path)
    assert_same(state_of(loaded), arrays)
    with quiet():
        loaded(inputs)


def test_a_trace_and_a_state_dict_are_rendered(tmp_path: Path) -> None:
    make, inputs = ZOO["conv net"]
    template = written(tmp_path, traced(make().eval(), inputs))
    version, arrays = version_of(template)
    assert_same(state_of(loaded_script(rendered(template, version))), arrays)
    template = written(tmp_path, saved(make().state_dict()), "state.pt")
    version, arrays = version_of(template)
    loaded = torch.load(rendered(template, version), weights_only=True)
    assert_same({name: tensor.numpy() for name, tensor in loaded.items()}, arrays)


@pytest.mark.parametrize("era", ERAS)
def test_every_layout_is_rendered_with_checksums_that_hold(era: str, tmp_path: Path) -> None:
    template = written(tmp_path, of_era(saved(Peculiar().state_dict()), era))
    version, arrays = version_of(template)
    path = rendered(template, version)
    assert path.stat().st_size == template.stat().st_size
    assert_same(arrays_of(path), arrays)
    if era != "no checksums":
        assert [entry.name for entry in entries_of(path.read_bytes())] == [
            entry.name for entry in entries_of(template.read_bytes())
        ], "zipfile compares every checksum that it meets"


def test_nothing_but_the_state_changes(tmp_path: Path) -> None:
    model = Peculiar()
    template = written(tmp_path, saved(model))
    version, _ = version_of(template)
    path = rendered(template, version)
    before = {entry.name: entry.content for entry in entries_of(template.read_bytes())}
    after = {entry.name: entry.content for entry in entries_of(path.read_bytes())}
    assert before["data.pkl"] == after["data.pkl"]
    loaded = torch.load(path, weights_only=False)
    assert loaded.attribute.tolist() == model.attribute.tolist(), "no state, so as it was"
    assert loaded.temporary.tolist() == model.temporary.tolist()
    storage = loaded.view.untyped_storage()
    rest = torch.tensor([], dtype=torch.float32).set_(storage)
    assert rest[:3].tolist() == [0, 1, 2], "what lies around a view stays"
    assert rest[7:].tolist() == list(range(7, 20))


def test_the_same_version_makes_the_same_bytes_and_its_own_numbers_make_the_template(tmp_path: Path) -> None:
    model = Tied()
    template = written(tmp_path, saved(model))
    version, _ = version_of(template)
    assert rendered(template, version).read_bytes() == rendered(template, version).read_bytes()
    with version.open("wb") as out:
        safetensors.write(out, state_of(model))
    assert rendered(template, version).read_bytes() == template.read_bytes()


def test_of_tied_names_that_differ_the_first_is_taken(tmp_path: Path) -> None:
    template = written(tmp_path, saved(Tied()))
    version, arrays = version_of(template)
    arrays["encoder.weight"] = arrays["decoder.weight"] + 1
    with version.open("wb") as out:
        safetensors.write(out, arrays)
    assert_same(arrays_of(rendered(template, version)), arrays | {"encoder.weight": arrays["decoder.weight"]})


def test_a_version_of_another_model_is_refused(tmp_path: Path) -> None:
    template = written(tmp_path, saved(nn.Linear(3, 2)))
    with (tmp_path / "v.safetensors").open("wb") as out:
        safetensors.write(out, state_of(nn.Linear(2, 3)))
    with pytest.raises(SpecMismatchError, match=r"shape \(3, 2\) for 'weight'; the model has \(2, 3\)"):
        modelfile.render(template, tmp_path / "v.safetensors", io.BytesIO())


def test_a_safetensors_template_is_the_version_itself(tmp_path: Path) -> None:
    model = ConvNet()
    template, version = tmp_path / "template.safetensors", tmp_path / "v.safetensors"
    for path, add in ((template, 0), (version, 1)):
        with path.open("wb") as out:
            safetensors.write(
                out, {name: array + np.array(add, array.dtype) for name, array in state_of(model).items()}
            )
    assert rendered(template, version).read_bytes() == version.read_bytes()


def sharing(**arrays: torch.Tensor) -> bytes:
    return saved(arrays)


BASE = torch.arange(24.0)


@pytest.mark.parametrize(
    ("arrays", "which"),
    [
        ({"a": BASE[:10], "b": BASE[9:]}, "the arrays 'a' and 'b'"),
        ({"a": BASE.view(4, 6), "b": BASE.view(4, 6).t()}, "the arrays 'a' and 'b'"),
        ({"a": BASE.view(4, 6)[:, :3], "b": BASE.view(4, 6)[:, 3:]}, "the arrays 'a' and 'b'"),
        ({"a": BASE[:1].expand(5)}, "elements of 'a'"),
        ({"a": BASE.as_strided((4, 4), (2, 1))}, "elements of 'a'"),
    ],
)
def test_arrays_that_share_bytes_are_read_but_no_template(
    arrays: dict[str, torch.Tensor], which: str, tmp_path: Path
) -> None:
    path = written(tmp_path, sharing(**arrays))
    assert_same(arrays_of(path), {name: tensor.numpy() for name, tensor in arrays.items()})
    with modelfile.open_model(path) as file:
        assert file.overlap is not None
        with pytest.raises(BadModelFileError, match=which) as caught:
            modelfile.check_renderable(file)
    assert "p.data = p.data.clone()" in str(caught.value)
    with pytest.raises(BadModelFileError, match=which):
        modelfile.render(path, version_of(path)[0], io.BytesIO())


def test_neighbours_in_one_storage_are_rendered(tmp_path: Path) -> None:
    path = written(tmp_path, sharing(a=BASE[:10], b=BASE[10:20].view(2, 5).t(), c=BASE[21:23]))
    version, arrays = version_of(path)
    assert_same(arrays_of(rendered(path, version)), arrays)


@pytest.mark.slow
@pytest.mark.parametrize("strides", ["c", "transposed", "stepped"])
def test_large_arrays_are_rendered_window_by_window(strides: str, tmp_path: Path) -> None:
    tensor = torch.zeros(1500, 2500)
    tensor = {"c": tensor, "transposed": tensor.t(), "stepped": tensor[::3, ::2]}[strides]
    template = written(tmp_path, saved({"w": tensor, "b": torch.zeros(3)}))
    version, arrays = version_of(template)
    tracemalloc.start()
    path = rendered(template, version)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert_same(arrays_of(path, 2**20), arrays)
    assert peak < 13 * 2**20, "a window, its numbers and what they are read through; the array has 15 MB"


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3, 4)])
def test_a_tensor_written_without_torch_is_one_to_torch(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = (np.random.default_rng(2).random(shape) * 100).astype(dtype)
    with (tmp_path / "t.pt").open("wb") as out:
        modelfile.write_tensor(out, array)
    tensor = torch.load(tmp_path / "t.pt", weights_only=True)
    assert (tensor.shape, tensor.numpy().dtype) == (array.shape, array.dtype)
    assert np.array_equal(tensor.numpy(), array)
    found = modelfile.read_tensor(tmp_path / "t.pt")
    assert (found.shape, found.dtype) == (shape, dtype)
    assert np.array_equal(found.read().reshape(shape), array)


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64"])
def test_newer_dtypes_are_written_as_newer_torch_does(dtype: str, tmp_path: Path) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3)[:, ::-1]
    with (tmp_path / "t.pt").open("wb") as out:
        modelfile.write_tensor(out, array)
    assert np.array_equal(torch.load(tmp_path / "t.pt", weights_only=True).numpy(), array)
    assert np.array_equal(modelfile.read_tensor(tmp_path / "t.pt").read(), array.reshape(-1))


def test_a_tensor_cannot_have_any_dtype(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the array has dtype complex128"):
        modelfile.write_tensor(io.BytesIO(), np.ones(2, complex))


def test_a_model_is_no_tensor(tmp_path: Path) -> None:
    with pytest.raises(BadModelFileError, match="holds a state dict; wanted is one tensor"):
        modelfile.read_tensor(written(tmp_path, saved({"w": torch.ones(2)})))
