"""However a small file multiplies what it describes, it is read in bounded time and memory, or refused."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hansa.formats import modelfile
from hansa.formats.archives import budget, scriptcode, torchfile, tree
from hansa.formats.errors import BadModelFileError
from hansa.formats.modelfile import LayerInfo
from support.pickled import EMPTY_DICT, EMPTY_TUPLE, MARK, dict_of, integer, module, name, tensor, text, tuple_of, whole
from support.torchmodels import written
from support.torchzip import DEFLATED, Entry, packed

MAX_JSON = 6 * 2**20
"""Bytes of what a server keeps of the layers, at most."""


def with_pickle(content: bytes, *others: Entry) -> bytes:
    pickled = Entry("data.pkl", content, DEFLATED)
    return packed([pickled, *others, Entry("data/0", bytes(16)), Entry("version", b"3\n")])


def net(children: bytes = EMPTY_DICT, kind: str = "Net", **attributes: bytes) -> bytes:
    """A module with one param."""
    return module({"_parameters": dict_of({"w": tensor()}), "_modules": children, **attributes}, kind=name("net", kind))


def kept(value: bytes) -> bytes:
    """Kept for later, and taken off the stack."""
    return value + b"q\x000"


def members(names: list[str], each: bytes = b"h\x00") -> bytes:
    return EMPTY_DICT + MARK + b"".join(text(name) + each for name in names) + b"u"


def structure(folder: Path, content: bytes) -> tuple[LayerInfo, ...]:
    with modelfile.open_model(written(folder, content)) as file:
        assert file.structure is not None
        return file.structure


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(BadModelFileError) as caught:
        structure(folder, content)
    assert len(str(caught.value)) < 1000
    return str(caught.value)


def test_the_layers_of_the_largest_model_take_a_few_megabytes(tmp_path: Path) -> None:
    numbers = [f"a_child_of_a_usual_name_{number}" for number in range(tree.MAX_LAYERS - 1)]
    layers = structure(tmp_path, with_pickle(whole(kept(net(kind="C" * 40)) + net(members(numbers)))))
    assert len(layers) == tree.MAX_LAYERS
    assert len(json.dumps(msgspec.to_builtins(layers))) < MAX_JSON


@pytest.mark.parametrize("count", [tree.MAX_LAYERS, 30_000])
def test_more_layers_are_refused(count: int, tmp_path: Path) -> None:
    content = whole(kept(net()) + net(members([str(number) for number in range(count)])))
    assert "more than 10,000 modules" in refusal(tmp_path, with_pickle(content))


def test_a_long_class_that_many_layers_share_is_refused(tmp_path: Path) -> None:
    content = whole(kept(net(kind="C" * 512)) + net(members([str(number) for number in range(3000)])))
    assert "take more than 1,048,576 bytes" in refusal(tmp_path, with_pickle(content))


@pytest.mark.parametrize(
    ("child", "what"),
    [
        ("x" * 513, "it has 513 characters, the limit is 512"),
        ("", "it is empty"),
        ("a\0", "cannot be printed"),
        ("a\u202eb", "cannot be printed"),
    ],
)
def test_a_module_has_a_name_that_can_be_kept(child: str, what: str, tmp_path: Path) -> None:
    message = refusal(tmp_path, with_pickle(whole(kept(net()) + net(members([child])))))
    assert what in message
    assert message.isprintable()


def test_names_within_names_are_bounded_together(tmp_path: Path) -> None:
    inner = net()
    for _ in range(6):
        inner = net(dict_of({"x" * 100: inner}))
    assert "characters, the limit is 512" in refusal(tmp_path, with_pickle(whole(inner)))


@pytest.mark.parametrize("length", [-1, 2**31, 2**70])
@pytest.mark.parametrize("wrap", [lambda size: size, tuple_of, lambda size: tuple_of(*[size] * 8)])
def test_a_kernel_of_no_possible_size_is_not_told(length: int, wrap: Callable[[bytes], bytes], tmp_path: Path) -> None:
    (layer,) = structure(tmp_path, with_pickle(whole(net(kernel_size=wrap(integer(length))))))
    assert layer.kernel_size is None


def test_one_great_dictionary_shared_by_all_modules_is_refused_soon(tmp_path: Path) -> None:
    great = EMPTY_DICT + MARK + b"".join(text(f"b{number}") + b"N" for number in range(20_000)) + b"uq\x010"
    child = net(_buffers=b"h\x01")
    content = whole(great + net(EMPTY_DICT + MARK + b"".join(text(str(n)) + child for n in range(3000)) + b"u"))
    started = time.process_time()
    assert "more than 200,000 members of modules" in refusal(tmp_path, with_pickle(content))
    assert time.process_time() - started < 20


CONSTANTS = Entry("constants.pkl", b"\x80\x02).")


def script(children: dict[str, bytes] | None = None, kind: tuple[str, str] = ("__torch__", "Net")) -> bytes:
    return module({"w": tensor(), **(children or {})}, kind=name(*kind))


def code(file: str, text: str) -> Entry:
    return Entry(f"code/{file}.py", text.encode(), DEFLATED)


NET = 'class Net(Module):\n  __parameters__ = ["w", ]\n'


def test_code_that_no_object_refers_to_is_not_read(tmp_path: Path) -> None:
    broken = Entry("code/other.py", b"no deflated stream", DEFLATED, size=10**9)
    layers = structure(tmp_path, with_pickle(whole(script()), CONSTANTS, code("__torch__", NET), broken))
    assert [layer.class_name for layer in layers] == ["Net"]


def test_all_code_together_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchfile, "MAX_CODE", 1000)
    files = [code(f"__torch__/f{number}", NET + "#" * 300) for number in range(4)]
    children = {str(number): script(kind=(f"__torch__.f{number}", "Net")) for number in range(4)}
    content = with_pickle(whole(script(children)), CONSTANTS, code("__torch__", NET), *files)
    assert "bytes; at most" in refusal(tmp_path, content)
    few = {key: child for key, child in children.items() if key < "2"}
    assert len(structure(tmp_path, with_pickle(whole(script(few)), CONSTANTS, code("__torch__", NET), *files))) == 3


@pytest.mark.parametrize(
    "declared",
    [
        "".join(f"class C{number}(Module):\n" for number in range(60)),
        "class Other(Module):\n  __parameters__ = [" + '"p", ' * 60 + "]\n",
        "class Other(Module):\n  __buffers__ = [" + '"p", ' * 60 + "]\n",
    ],
)
def test_classes_and_names_in_code_are_bounded(declared: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = with_pickle(whole(script()), CONSTANTS, code("__torch__", NET + declared))
    assert len(structure(tmp_path, content)) == 1
    monkeypatch.setattr("hansa.formats.archives.scripts.MAX_DECLARED", 50)
    assert scriptcode.MAX_DECLARED > 50
    assert "more than 50 classes and names in its code" in refusal(tmp_path, content)


def test_attributes_that_scripts_share_are_bounded(tmp_path: Path) -> None:
    attributes = EMPTY_DICT + MARK + b"".join(text(f"a{n}") + b"N" for n in range(20_000)) + text("w") + tensor()
    shared = attributes + b"uq\x010"
    child = name("__torch__", "Net") + EMPTY_TUPLE + b"\x81h\x01b"
    children = {str(number): child for number in range(budget.MAX_MEMBERS // 20_000 + 1)}
    content = with_pickle(whole(shared + script(children)), CONSTANTS, code("__torch__", NET))
    assert "more than 200,000 members of modules" in refusal(tmp_path, content)
