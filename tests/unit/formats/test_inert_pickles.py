"""A pickle describes; nothing in it is imported, called or executed, and what it claims costs nothing."""

import contextlib
import pickle
import time
import tracemalloc
from pathlib import Path

import pytest
import torch

from hansa.formats import modelfile
from hansa.formats.archives import machine
from hansa.formats.archives.machine import read_pickle
from hansa.formats.archives.placeholders import Global, Made, Pairs, made_by, pairs_of
from hansa.formats.errors import BadModelFileError
from support.pickled import (
    EMPTY_DICT,
    EMPTY_LIST,
    EMPTY_TUPLE,
    MARK,
    NONE,
    PROTO,
    STOP,
    called,
    dict_of,
    harmful,
    integer,
    module,
    name,
    storage,
    tensor,
    text,
    tuple_of,
    whole,
)
from support.torchmodels import ConvNet, arrays_of, quiet, saved, scripted, written
from support.torchzip import Entry, changed, entries_of, packed

MIB = 2**20


def refused(content: bytes) -> str:
    with pytest.raises(BadModelFileError) as caught:
        read_pickle(content, "the pickle")
    assert len(str(caught.value)) < 2000
    return str(caught.value)


def with_pickle(content: bytes) -> bytes:
    return packed([Entry("data.pkl", content), Entry("data/0", bytes(16)), Entry("version", b"3\n")])


def refused_file(folder: Path, content: bytes) -> str:
    with pytest.raises(BadModelFileError) as caught:
        arrays_of(written(folder, with_pickle(content)))
    assert len(str(caught.value)) < 2000
    return str(caught.value)


PLACES = {
    "instead of the model": lambda harm: harm,
    "in a list": lambda harm: EMPTY_LIST + harm + b"a",
    "as an array": lambda harm: dict_of({"w": harm}),
    "as a name": lambda harm: EMPTY_DICT + harm + tensor() + b"s",
    "as a storage": lambda harm: dict_of({"w": tensor(stored=harm + b"Q")}),
    "as a class of storages": lambda harm: dict_of({"w": tensor(stored=storage(kind=harm))}),
    "as a shape": lambda harm: dict_of({"w": tensor(shape=harm)}),
    "as an offset": lambda harm: dict_of({"w": tensor(offset=harm)}),
    "as a function": lambda harm: dict_of({"w": harm + EMPTY_TUPLE + b"R"}),
    "as a class": lambda harm: module({"_parameters": EMPTY_DICT, "_modules": EMPTY_DICT}, kind=harm),
    "as a param": lambda harm: module({"_parameters": dict_of({"w": harm}), "_modules": EMPTY_DICT}),
    "as all params": lambda harm: module({"_parameters": harm, "_modules": EMPTY_DICT}),
    "as a submodule": lambda harm: module({"_parameters": EMPTY_DICT, "_modules": dict_of({"a": harm})}),
    "as the state": lambda harm: name("net", "Net") + EMPTY_TUPLE + b"\x81" + harm + b"b",
    "before the model, thrown away": lambda harm: harm + b"0" + dict_of({"w": tensor()}),
    "beside the state": lambda harm: module(
        {"_parameters": dict_of({"w": tensor()}), "_modules": EMPTY_DICT, "hook": harm}
    ),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_reduce_that_makes_a_folder_makes_none(place: str, protocol: int, tmp_path: Path) -> None:
    target = tmp_path / "made"
    harm = harmful(target, protocol)
    pickle.loads(PROTO + harm + STOP)  # noqa: S301  # the proof that it would
    assert target.exists()
    target.rmdir()
    path = written(tmp_path, with_pickle(whole(PLACES[place](harm))))
    for look in (arrays_of, modelfile.read_tensor):
        try:
            look(path)
        except BadModelFileError as error:
            assert len(str(error)) < 2000  # noqa: PT017  # read, without it, or refused
    assert not target.exists()


@pytest.mark.parametrize("entry", ["data.pkl", "constants.pkl", "code/__torch__/support/torchmodels.py"])
def test_a_script_with_harm_in_an_entry_does_none(entry: str, tmp_path: Path) -> None:
    target = tmp_path / "made"
    entries = changed(entries_of(scripted(ConvNet())), entry, content=PROTO + harmful(target, 2) + STOP)
    path = written(tmp_path, packed(entries))
    with contextlib.suppress(BadModelFileError):
        arrays_of(path)
    assert not target.exists()


def test_what_is_called_becomes_a_name_and_its_arguments() -> None:
    value = read_pickle(whole(called("os", "system", text("rm"))), "the pickle")
    assert isinstance(value, Made)
    assert made_by(value) == "os.system"
    assert value.args == ("rm",)
    assert isinstance(value.callee, Global)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_values_of_every_protocol_are_themselves(protocol: int) -> None:
    values: list[object] = [None, True, False, 0, 255, 256, 65536, -1, 2**31, -(2**40), 1.5, "text", "é" * 300]
    values += [(), (1,), (1, 2, 3, 4), [[]]]
    assert read_pickle(pickle.dumps(values, protocol), "the pickle") == values


def test_a_dictionary_keeps_its_pairs_in_order_and_those_that_come_twice() -> None:
    value = read_pickle(whole(EMPTY_DICT + MARK + text("a") + NONE + text("a") + integer(1) + b"u"), "the pickle")
    assert isinstance(value, Pairs)
    assert pairs_of(value) == [("a", None), ("a", 1)]


@pytest.mark.parametrize(
    ("instruction", "known"),
    [
        (b"i", "INST"),
        (b"o", "OBJ"),
        (b"P", "PERSID"),
        (b"\x82", "EXT1"),
        (b"I", "INT"),
        (b"\x97", "NEXT_BUFFER"),
        (b"\x8b", "LONG4"),
    ],
)
def test_an_instruction_torch_does_not_write_is_refused_by_name(instruction: bytes, known: str) -> None:
    assert f"the instruction {known} at byte 2, which torch does not write" in refused(PROTO + instruction + b"0\n.")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "ends in the middle"),
        (PROTO, "ends in the middle"),
        (b"\x80\x01N.", "pickle protocol 1; 2 to 5"),
        (whole(b""), "describes 0 values"),
        (whole(NONE + NONE), "describes 2 values"),
        (whole(NONE) + b"more", "ends at byte 4, but has 8"),
        (whole(b"t"), "back to a mark that it never set"),
        (whole(MARK + NONE + b"0" + b"0"), "empty stack"),
        (whole(NONE + MARK + b"0t"), "back to a mark"),
        (whole(b"h\x05"), "refers to value 5, which it never kept"),
        (whole(b"q\x05"), "looks at an empty stack"),
        (whole(b"X\xff\xff\xff\xff"), "a string of 4,294,967,295 bytes"),
        (whole(b"\x8d" + b"\xff" * 8), "a string of 18,446,744,073,709,551,615 bytes"),
        (whole(b"\x8a\xff"), "an integer of 255 bytes"),
        (whole(b"X\x02\x00\x00\x00\xff\xff"), "not utf-8"),
        (whole(b"X\x03\x00\x00\x00\xed\xa0\x80"), "not utf-8"),
        (whole(b"cos"), "a name without end"),
        (whole(name("os", "a\0b")), "names a class by 'a\\x00b', before byte 10: it holds characters that cannot"),
        (whole(name("os", "")), "names a class by '', before byte 7: it is empty"),
        (whole(name("m" * 513, "a")), "it has 513 characters, the limit is 512"),
        (whole(text("os") + text("a" * 513) + b"\x93"), "it has 513 characters, the limit is 512"),
        (whole(NONE + NONE + b"\x93"), "names a class by something that is not text"),
        (whole(NONE + NONE + b"b"), "gives a state to what has none"),
        (whole(module({}) + EMPTY_DICT + b"b"), "or has one already"),
        (whole(NONE + NONE + b"a"), "appends to what is no list"),
        (whole(NONE + NONE + NONE + b"s"), "sets items of what is no dictionary"),
        (whole(EMPTY_DICT + MARK + NONE + b"u"), "or half an item"),
        (whole(NONE + MARK + b"\x90"), "adds items to what is no set"),
        (whole(b"\xff"), "the byte 0xff where an instruction stands"),
    ],
)
def test_what_is_no_pickle_is_refused_with_the_place(content: bytes, what: str) -> None:
    assert what in refused(content)


def peak(content: bytes) -> float:
    """MiB that reading takes at most, whatever comes of it."""
    tracemalloc.start()
    try:
        read_pickle(content, "the pickle")
    except BadModelFileError:
        pass
    finally:
        result = tracemalloc.get_traced_memory()[1] / MIB
        tracemalloc.stop()
    return result


FLOODS = (
    *(EMPTY_DICT, EMPTY_LIST, b"\x8f", NONE + b"\x85", b")R", b"J\0\0\1\0", b"X\0\0\0\0", b"cos\nsystem\n", MARK, NONE),
    *(b"\x94", EMPTY_TUPLE + b"\x94", EMPTY_LIST + b"\x94", b"}NNs\x94"),
)


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_objects_takes_at_most_192_bytes_for_each(flood: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MAX_OBJECTS", 50_000)
    monkeypatch.setattr(machine, "MAX_OPCODES", 200_000)
    content = PROTO + NONE * 2 + flood * 200_000
    assert peak(content) < 50_000 * 192 / MIB


@pytest.mark.parametrize(
    "content",
    [
        b"\x94" * 30,
        b"".join(b"q%c" % at for at in range(30)),
        EMPTY_LIST + b"Na" * 30,
        EMPTY_LIST + MARK + NONE * 30 + b"e",
        EMPTY_DICT + b"NK\0s" * 30,
        EMPTY_DICT + MARK + NONE * 60 + b"u",
        b"\x8f(" + NONE * 30 + b"\x90",
    ],
)
def test_what_is_kept_and_what_containers_hold_counts_as_objects(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "MAX_OBJECTS", 30)
    assert "describes more than 30 objects" in refused(PROTO + EMPTY_LIST + content + EMPTY_LIST + STOP)


def test_one_great_dictionary_shared_by_all_tensors_is_looked_through_once(tmp_path: Path) -> None:
    great = EMPTY_DICT + MARK + NONE * 200_000 + b"uq\0" + b"0"
    arguments = (storage(), integer(0), tuple_of(integer(4)), tuple_of(integer(1)), b"\x89", EMPTY_DICT, NONE, b"h\0")
    marked = called("torch._utils", "_rebuild_tensor_v3", *arguments)
    path = written(tmp_path, with_pickle(whole(great + dict_of({f"w{number}": marked for number in range(3000)}))))
    started = time.process_time()
    assert len(arrays_of(path)) == 3000
    assert time.process_time() - started < 30


@pytest.mark.parametrize("part", ["shape", "strides"])
def test_a_great_list_shared_by_all_tensors_is_no_shape(part: str, tmp_path: Path) -> None:
    great = EMPTY_LIST + MARK + b"K\1" * 100_000 + b"e"
    assert "at most 32" in refused_file(tmp_path, whole(dict_of({"w": tensor(**{part: great})})))


def test_a_call_with_more_arguments_than_torch_gives_is_no_tensor(tmp_path: Path) -> None:
    surplus = called("torch._utils", "_rebuild_tensor_v2", storage(), integer(0), *[EMPTY_TUPLE] * 15)
    assert "not a tensor that can be read" in refused_file(tmp_path, whole(dict_of({"w": surplus})))


def test_a_memo_index_is_a_name_and_no_size() -> None:
    bomb = b"".join(NONE + b"r" + (2**32 - 1 - index).to_bytes(4, "little") + b"0" for index in range(1000))
    assert peak(whole(bomb + NONE)) < 1


def test_a_dag_that_would_print_or_compare_to_billions_costs_what_was_written() -> None:
    doubled = EMPTY_LIST + b"".join(b"q\x00h\x00\x86" for _ in range(10_000))
    assert peak(whole(doubled)) < 8


NESTS = {
    "tuples": (EMPTY_TUPLE, b"\x85"),
    "lists": (EMPTY_LIST, b"q\0]h\0a"),
    "dictionaries": (EMPTY_DICT, b"q\0}Nh\0s"),
    "calls": (EMPTY_TUPLE, b"q\0N\x85q\1h\1h\0R"),
}


@pytest.mark.parametrize("nest", NESTS)
def test_a_pickle_may_nest_as_deep_as_it_likes(nest: str, tmp_path: Path) -> None:
    innermost, around = NESTS[nest]
    content = whole(MARK + innermost + around * 50_000 + b"t")
    read_pickle(content, "the pickle")
    assert "holds a tuple" in refused_file(tmp_path, content)


def test_an_object_in_itself_is_read_once(tmp_path: Path) -> None:
    loop = EMPTY_LIST + b"q\x00h\x00a"
    assert isinstance(read_pickle(whole(loop), "the pickle"), list)
    itself = (
        name("net", "Net")
        + EMPTY_TUPLE
        + b"\x81q\x00"
        + dict_of({"_parameters": EMPTY_DICT, "_modules": dict_of({"a": b"h\x00"})})
        + b"b"
    )
    assert "lies in more than 100 modules, or in itself" in refused_file(tmp_path, whole(itself))


def test_modules_used_twice_within_modules_used_twice_are_too_many(tmp_path: Path) -> None:
    inner = module({"_parameters": dict_of({"w": tensor()}), "_modules": EMPTY_DICT}) + b"q\x00"
    for _ in range(40):
        inner += (
            b"0" + module({"_parameters": EMPTY_DICT, "_modules": dict_of({"a": b"h\x00", "b": b"h\x00"})}) + b"q\x00"
        )
    started = time.process_time()
    assert "more than 10,000 modules" in refused_file(tmp_path, whole(inner))
    assert time.process_time() - started < 30


def test_too_many_instructions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "MAX_OPCODES", 1000)
    assert "more than 1,000 instructions" in refused(PROTO + b"N0" * 1000 + NONE + STOP)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (tensor(shape=tuple_of(integer(5))), "leaves its storage of 16 bytes"),
        (tensor(offset=integer(1)), "leaves its storage"),
        (tensor(offset=integer(-1)), "begins at element -1"),
        (tensor(offset=NONE), "begins at element nothing"),
        (tensor(strides=tuple_of(integer(-1))), "not integers from 0 on"),
        (tensor(shape=tuple_of(integer(-4))), "not integers from 0 on"),
        (tensor(shape=tuple_of(integer(2**62))), "leaves its storage"),
        (tensor(shape=tuple_of(b"\x88")), "not integers from 0 on"),
        (tensor(strides=EMPTY_TUPLE), "1 dimensions, 0 strides"),
        (tensor(shape=tuple_of(*[integer(1)] * 33), strides=tuple_of(*[integer(1)] * 33)), "at most 32"),
        (tensor(stored=storage(count=5)), "has 16 bytes; the storage of 'w' should have 20"),
        (tensor(stored=storage(count=-1)), "not described as torch does"),
        (tensor(stored=storage(key="9")), "which the archive lacks"),
        (tensor(stored=storage(key="9\0")), r"should be in 'data/9\x00', which the archive lacks"),
        (
            tensor(stored=storage(kind=name("torch", "BoolStorage"))),
            "dtype 'BoolStorage', which a model cannot hold (truth",
        ),
        (tensor(stored=storage(kind=name("torch", "BFloat16Storage"))), "model.float()"),
        (tensor(stored=storage(kind=name("torch", "ComplexFloatStorage"))), "complex numbers"),
        (tensor(stored=storage(kind=name("torch", "QInt8Storage"))), "quantised"),
        (tensor(stored=storage(kind=name("torch", "SurpriseStorage"))), "save it as float32"),
        (
            tensor(version="v9"),
            "a dictionary with torch._utils._rebuild_tensor_v9",
        ),
        (called("torch._utils", "_rebuild_tensor_v2"), "not a tensor that can be read"),
        (
            called(
                "torch._tensor",
                "_rebuild_from_type_v2",
                name("torch._utils", "_rebuild_tensor_v2"),
                name("mine", "Sub"),
                EMPTY_TUPLE,
                NONE,
            ),
            "the name mine.Sub, whose meaning is unknown",
        ),
        (NONE, "a dictionary with nothing under 'w'"),
        (EMPTY_DICT, "a dictionary with a dictionary under 'w'"),
    ],
)
def test_an_array_that_cannot_be_one_is_refused_with_the_reason(value: bytes, what: str, tmp_path: Path) -> None:
    message = refused_file(tmp_path, whole(dict_of({"w": value})))
    assert what in message
    assert message.endswith(".")


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: torch.tensor([True]), "truth values have no mean"),
        (lambda: torch.ones(2, dtype=torch.bfloat16), "model.float()"),
        (lambda: torch.ones(2, dtype=torch.complex64), "complex numbers"),
        (lambda: torch.ones(2, dtype=torch.float8_e4m3fn), "model.float()"),
        (lambda: torch.eye(2).to_sparse(), "sparse: save tensor.to_dense()"),
        (lambda: torch.eye(2).to_sparse_csr(), "sparse: save tensor.to_dense()"),
        (lambda: torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8), "quantised"),
        (lambda: torch.ones(2, device="meta"), "on the meta device"),
        (lambda: torch.complex(torch.ones(2), torch.ones(2)).conj().imag, "resolve_neg()"),
    ],
)
def test_tensors_of_torch_that_have_no_mean_are_refused(make: object, what: str, tmp_path: Path) -> None:
    with quiet():
        path = written(tmp_path, saved({"w": make()}))
    with pytest.raises(BadModelFileError, match="'w'") as caught:
        arrays_of(path)
    assert what in str(caught.value)


def test_arrays_that_claim_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    wide = tensor(shape=tuple_of(integer(10**9)), strides=tuple_of(integer(0)))
    assert "the arrays take 4,000,000,000 bytes, the file has" in refused_file(tmp_path, whole(dict_of({"w": wide})))


def test_names_are_text_that_can_be_shown_and_come_once(tmp_path: Path) -> None:
    numbered = EMPTY_DICT + integer(1) + tensor() + b"s"
    assert "a dictionary with a number as a key" in refused_file(tmp_path, whole(numbered))
    assert "it is empty" in refused_file(tmp_path, whole(dict_of({"": tensor()})))
    assert "cannot be printed" in refused_file(tmp_path, whole(dict_of({"a\n": tensor()})))
    twice = EMPTY_DICT + MARK + (text("w") + tensor()) * 2 + b"u"
    assert "two arrays are named 'w'" in refused_file(tmp_path, whole(twice))
    assert "has a name twice" in refused_file(tmp_path, whole(module({"_parameters": twice, "_modules": EMPTY_DICT})))


def test_a_checkpoint_with_more_than_a_state_dict_says_what_to_save(tmp_path: Path) -> None:
    message = refused_file(tmp_path, whole(dict_of({"model": dict_of({"w": tensor()}), "epoch": integer(3)})))
    assert "a dictionary with a dictionary under 'model'" in message
    assert "Save model.state_dict() alone" in message
