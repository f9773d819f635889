"""What the torch at hand writes is read as torch itself would name and number it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hansa.core.params import Kind
from hansa.formats import modelfile
from hansa.formats.modelfile import Flavour
from support.torchmodels import (
    ZOO,
    ConvNet,
    Peculiar,
    Tied,
    arrays_of,
    assert_same,
    loaded_script,
    saved,
    saved_script,
    scripted,
    state_of,
    traced,
    written,
)
from support.torchzip import changed, entries_of, packed


def kinds(path: Path) -> dict[str, Kind]:
    with modelfile.open_model(path) as file:
        return {array.name: array.kind for array in file.spec()}


def kinds_in(model: nn.Module) -> dict[str, Kind]:
    params = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return {name: Kind.PARAM if name in params else Kind.BUFFER for name in model.state_dict()}


@pytest.mark.parametrize("name", ZOO)
def test_a_pickled_module_is_its_state_dict(name: str, tmp_path: Path) -> None:
    model = ZOO[name][0]()
    path = written(tmp_path, saved(model))
    assert_same(arrays_of(path), state_of(model))
    assert kinds(path) == kinds_in(model)


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_scripted_module_is_its_state_dict(name: str, mode: str, tmp_path: Path) -> None:
    path = written(tmp_path, scripted(ZOO[name][0]().train(mode == "train")))
    loaded = loaded_script(path)
    assert_same(arrays_of(path), state_of(loaded))
    assert kinds(path) == kinds_in(loaded)


@pytest.mark.parametrize("name", sorted(ZOO.keys() - {"containers"}))
def test_a_traced_module_is_its_state_dict(name: str, tmp_path: Path) -> None:
    make, inputs = ZOO[name]
    path = written(tmp_path, traced(make().eval(), inputs))
    assert_same(arrays_of(path), state_of(loaded_script(path)))


def test_a_script_that_was_loaded_and_scripted_again_has_the_same_names(tmp_path: Path) -> None:
    first = written(tmp_path, scripted(ConvNet()))
    again = written(tmp_path, saved_script(loaded_script(first)), "again.pt")
    assert_same(arrays_of(again), arrays_of(first))
    assert kinds(again) == kinds(first)


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_state_dict_is_read_in_every_protocol_and_does_not_know_its_buffers(
    name: str, protocol: int, tmp_path: Path
) -> None:
    model = ZOO[name][0]()
    path = written(tmp_path, saved(model.state_dict(), pickle_protocol=protocol))
    assert_same(arrays_of(path), state_of(model))
    assert set(kinds(path).values()) == {Kind.PARAM}
    with modelfile.open_model(path) as file:
        assert file.flavour is Flavour.STATE_DICT
        assert not file.kinds_known
        assert file.structure is None


def test_arrays_in_chunks_of_any_size_are_the_same(tmp_path: Path) -> None:
    model = Peculiar()
    path = written(tmp_path, saved(model))
    for max_bytes in (8, 24, 100, 2**16):
        assert_same(arrays_of(path, max_bytes), state_of(model))


def test_names_of_one_array_are_ties(tmp_path: Path) -> None:
    path = written(tmp_path, saved(Tied()))
    with modelfile.open_model(path) as file:
        assert file.ties == (
            ("again.bias", "once.bias"),
            ("again.weight", "once.weight"),
            ("decoder.weight", "encoder.weight"),
        )
        assert file.overlap is None


def test_the_caller_says_what_the_file_does_not(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    buffers = frozenset({"1.running_mean", "1.running_var", "1.num_batches_tracked"})
    with modelfile.open_model(written(tmp_path, saved(model.state_dict()))) as file:
        assert {array.name for array in file.spec(buffers) if array.kind is Kind.BUFFER} == buffers
        with pytest.raises(modelfile.BadModelFileError, match="'bias' should be a buffer, but the file holds no"):
            file.spec(frozenset({"bias"}))
    with modelfile.open_model(written(tmp_path, saved(model))) as file:
        assert file.kinds_known
        assert file.spec(frozenset({"0.weight"})) == file.spec()


def test_a_tensor_is_no_model_and_comes_back(tmp_path: Path) -> None:
    tensor = torch.rand(30, 40).t()
    path = written(tmp_path, saved(tensor))
    found = modelfile.read_tensor(path)
    assert (found.shape, found.dtype, found.size) == ((40, 30), "float32", 1200)
    assert np.array_equal(found.read().reshape(found.shape), tensor.numpy())
    assert np.array_equal(found.read(35, 1001), tensor.numpy().reshape(-1)[35:1001])
    with modelfile.open_model(path) as file, pytest.raises(modelfile.BadModelFileError, match="a single tensor"):
        file.spec()


class WithAttributes(nn.Module):
    """torch.nn.Buffer and params that carry attributes are pickled in a way of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.kept = nn.Buffer(torch.ones(2))
        self.lost = nn.Buffer(torch.ones(2), persistent=False)
        self.param = nn.Parameter(torch.rand(3))
        self.param.note = "an attribute"


def test_arrays_with_attributes_are_read(tmp_path: Path) -> None:
    model = WithAttributes()
    path = written(tmp_path, saved(model))
    assert_same(arrays_of(path), state_of(model))
    assert kinds(path) == {"kept": Kind.BUFFER, "param": Kind.PARAM}


@pytest.mark.parametrize("name", ZOO)
def test_params_come_in_the_order_of_parameters(name: str, tmp_path: Path) -> None:
    model = ZOO[name][0]()
    wanted = [held for held, _ in model.named_parameters(remove_duplicate=False)]
    for content in (saved(model), scripted(model)):
        with modelfile.open_model(written(tmp_path, content)) as file:
            assert list(file.param_order) == wanted
    with modelfile.open_model(written(tmp_path, saved(model.state_dict()))) as file:
        assert file.param_order == (), "a state dict does not say which of its arrays are params"


def test_a_tensor_whose_checksum_is_wrong_is_refused_before_its_first_number(tmp_path: Path) -> None:
    damaged = packed(changed(entries_of(saved(torch.rand(50))), "data/0", crc=1))
    with pytest.raises(modelfile.BadModelFileError, match="'archive/data/0' in the archive is damaged"):
        modelfile.read_tensor(written(tmp_path, damaged))
