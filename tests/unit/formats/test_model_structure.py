"""What is shown of a model's modules agrees with what torch counts, and with torchinfo's words."""

from pathlib import Path

import pytest
import torch
from torch import nn

from hansa.formats import modelfile
from hansa.formats.errors import BadModelFileError
from hansa.formats.modelfile import LayerInfo, totals
from support.torchmodels import ZOO, ConvNet, Tied, quiet, saved, saved_script, scripted, traced, written


def structure(path: Path) -> tuple[LayerInfo, ...]:
    with modelfile.open_model(path) as file:
        assert file.structure is not None
        return file.structure


def counted(module: nn.Module) -> tuple[int, int, int]:
    params = list(module.parameters())
    return (
        sum(param.numel() for param in params),
        sum(param.numel() for param in params if param.requires_grad),
        sum(param.numel() * param.element_size() for param in params),
    )


def figures(layer: LayerInfo) -> tuple[int, int, int]:
    return layer.num_params, layer.trainable_params, layer.param_bytes


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("how", ["pickled", "scripted"])
def test_every_module_counts_as_in_torch(name: str, how: str, tmp_path: Path) -> None:
    model = ZOO[name][0]()
    layers = structure(written(tmp_path, saved(model) if how == "pickled" else scripted(model)))
    modules = dict(model.named_modules(remove_duplicate=False))
    assert {layer.path: figures(layer) for layer in layers} == {
        path: counted(module) for path, module in modules.items()
    }
    assert {layer.path: layer.class_name for layer in layers} == {
        path: type(module).__name__ for path, module in modules.items()
    }
    assert {layer.path: layer.is_leaf_layer for layer in layers} == {
        path: not any(module.children()) for path, module in modules.items()
    }


def test_layers_come_depth_first_with_their_depths_and_names(tmp_path: Path) -> None:
    layers = structure(written(tmp_path, saved(ConvNet())))
    assert [(layer.path, layer.var_name, layer.depth, layer.depth_index) for layer in layers] == [
        ("", "ConvNet", 0, 1),
        ("features", "features", 1, 1),
        ("features.0", "0", 2, 1),
        ("features.1", "1", 2, 2),
        ("features.2", "2", 2, 3),
        ("features.3", "3", 2, 4),
        ("head", "head", 1, 2),
    ]


def test_kernel_sizes_are_lists_of_what_the_module_says(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, (3, 5)), nn.MaxPool2d(2), nn.Conv1d(2, 2, 7), nn.Linear(2, 2))
    wanted = [None, (3, 5), (2,), (7,), None]
    assert [layer.kernel_size for layer in structure(written(tmp_path, saved(model)))] == wanted
    assert [layer.kernel_size for layer in structure(written(tmp_path, scripted(model)))] == wanted


def test_a_trace_keeps_classes_and_counts_but_no_kernel_sizes(tmp_path: Path) -> None:
    make, inputs = ZOO["conv net"]
    layers = structure(written(tmp_path, traced(make().eval(), inputs)))
    assert [layer.class_name for layer in layers][:3] == ["ConvNet", "Sequential", "Conv2d"]
    assert figures(layers[0]) == counted(make())
    assert {layer.kernel_size for layer in layers} == {None}


def test_totals_count_an_array_once_whatever_its_names(tmp_path: Path) -> None:
    model = Tied()
    found = totals(structure(written(tmp_path, saved(model))))
    assert (found.total_params, found.trainable_params, found.total_param_bytes) == counted(model)
    assert found.total_params == 5 * 5 + 5 + 5 + 5 * 5 + 5


def test_frozen_params_are_not_trained(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    for content in (saved(model), scripted(model)):
        layers = structure(written(tmp_path, content))
        assert [layer.trainable_params for layer in layers] == [6, 0, 6]
        assert not any(layer.contains_lazy_param for layer in layers)


def test_a_model_whose_params_are_not_initialised_is_refused(tmp_path: Path) -> None:
    with quiet():
        path = written(tmp_path, saved(nn.Sequential(nn.LazyLinear(3))))
    with pytest.raises(BadModelFileError, match=r"'0.weight' is not initialised yet: run the model once"):
        modelfile.open_model(path)


def test_a_script_that_was_frozen_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with quiet():
        frozen = torch.jit.freeze(torch.jit.script(ConvNet().eval()))
    with pytest.raises(BadModelFileError, match=r"torch.jit.freeze has made constants of them, save the model before"):
        modelfile.open_model(written(tmp_path, saved_script(frozen)))


def test_a_module_without_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadModelFileError, match=r"nothing to learn. Save one that has some."):
        modelfile.open_model(written(tmp_path, saved(nn.Sequential(nn.ReLU()))))
