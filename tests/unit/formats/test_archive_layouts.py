"""Every layout torch has written since 1.6 is read; whatever could be read in two ways is not."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.serialization import config

from hansa.formats import modelfile
from hansa.formats.errors import BadModelFileError
from support.torchmodels import ConvNet, arrays_of, assert_same, loaded_script, saved, scripted, state_of, written
from support.torchzip import DEFLATED, ERAS, Entry, Layout, changed, entries_of, of_era, packed, without


@pytest.fixture(scope="module")
def model() -> ConvNet:
    return ConvNet()


@pytest.fixture(scope="module")
def plain(model: ConvNet) -> bytes:
    return saved(model.state_dict())


def refusal(folder: Path, content: bytes) -> str:
    with pytest.raises(BadModelFileError) as caught:
        arrays_of(written(folder, content))
    assert caught.value.code == "bad_model_file"
    return str(caught.value)


@pytest.mark.parametrize("era", ERAS)
def test_a_state_dict_is_read_in_every_layout(era: str, model: ConvNet, plain: bytes, tmp_path: Path) -> None:
    path = written(tmp_path, of_era(plain, era))
    assert_same(arrays_of(path), state_of(model))


@pytest.mark.parametrize("era", sorted(ERAS.keys() - {"unsigned descriptors"}))
def test_torch_itself_reads_what_the_writer_of_these_tests_writes(
    era: str, model: ConvNet, plain: bytes, tmp_path: Path
) -> None:
    path = written(tmp_path, of_era(plain, era))
    loaded = torch.load(path, weights_only=True)
    assert_same({name: tensor.numpy() for name, tensor in loaded.items()}, state_of(model))


@pytest.mark.parametrize("era", ERAS)
def test_a_script_is_read_in_every_layout(era: str, model: ConvNet, tmp_path: Path) -> None:
    script = written(tmp_path, scripted(model), "script.pt")
    path = written(tmp_path, of_era(script.read_bytes(), era))
    assert_same(arrays_of(path), state_of(loaded_script(script)))


@pytest.mark.parametrize("computed", [True, False])
@pytest.mark.parametrize("alignment", [64, 4096])
def test_torchs_own_options_change_nothing(computed: bool, alignment: int, model: ConvNet, tmp_path: Path) -> None:
    with config.patch({"save.compute_crc32": computed, "save.storage_alignment": alignment}):
        path = written(tmp_path, saved(model))
    assert_same(arrays_of(path), state_of(model))


def test_a_big_endian_file_is_read(tmp_path: Path) -> None:
    numbers = {"w": torch.rand(3, 4), "n": torch.arange(5), "t": torch.rand(3, 4).t(), "o": torch.ones(3).byte()}
    entries = entries_of(saved(numbers))
    swapped = [
        Entry(entry.name, np.frombuffer(entry.content, dtype).byteswap().tobytes())
        for entry, dtype in zip(
            [entry for entry in entries if entry.name.startswith("data/")], ("f4", "i8", "f4", "u1"), strict=True
        )
    ]
    names = [entry.name for entry in swapped]
    big = packed([*changed(without(entries, *names), "byteorder", content=b"big"), *swapped])
    assert_same(arrays_of(written(tmp_path, big)), {name: tensor.numpy() for name, tensor in numbers.items()})


@pytest.mark.parametrize("kind", ["contiguous", "transposed"])
def test_a_storage_whose_checksum_is_wrong_is_refused(kind: str, tmp_path: Path) -> None:
    tensor = torch.rand(50, 60)
    entries = entries_of(saved({"w": tensor if kind == "contiguous" else tensor.t()}))
    damaged = changed(entries, "data/0", crc=12345)
    assert refusal(tmp_path, packed(damaged)).startswith("'archive/data/0' in the archive is damaged: its checksum")


def test_a_flipped_bit_in_a_storage_is_found(plain: bytes, tmp_path: Path) -> None:
    entries = entries_of(plain)
    at = plain.index(max((entry.content for entry in entries if entry.name.startswith("data/")), key=len))
    flipped = bytearray(plain)
    flipped[at] ^= 1
    assert "is damaged" in refusal(tmp_path, bytes(flipped))


def test_a_storage_of_which_only_a_view_is_used_is_checked_whole(tmp_path: Path) -> None:
    entries = entries_of(saved({"w": torch.arange(100.0)[10:20]}))
    content = bytearray(packed(entries))
    at = content.index(np.arange(100, dtype=np.float32).tobytes())
    content[at + 396] ^= 1
    assert "is damaged" in refusal(tmp_path, bytes(content))


def test_a_file_without_checksums_is_told_by_their_all_being_zero(plain: bytes, tmp_path: Path) -> None:
    entries = entries_of(plain)
    assert arrays_of(written(tmp_path, packed(entries, Layout(checksums=False))))
    one_zero = changed(entries, "data/0", crc=0)
    assert "is damaged" in refusal(tmp_path, packed(one_zero))


def test_a_damaged_pickle_is_refused(plain: bytes, tmp_path: Path) -> None:
    assert "'archive/data.pkl' in the archive is damaged" in refusal(
        tmp_path, packed(changed(entries_of(plain), "data.pkl", crc=1))
    )


def test_a_deflated_pickle_is_inflated_and_a_deflated_storage_is_not(
    model: ConvNet, plain: bytes, tmp_path: Path
) -> None:
    entries = entries_of(plain)
    assert_same(arrays_of(written(tmp_path, packed(changed(entries, "data.pkl", method=DEFLATED)))), state_of(model))
    packed_again = packed(changed(entries, "data/0", method=DEFLATED))
    assert refusal(tmp_path, packed_again).startswith("'archive/data/0' in the archive is compressed; torch stores")


def test_a_pickle_that_inflates_to_more_than_it_says_is_refused(plain: bytes, tmp_path: Path) -> None:
    bomb = changed(entries_of(plain), "data.pkl", content=bytes(10**6), method=DEFLATED, size=1000)
    assert "does not inflate to the 1,000 bytes" in refusal(tmp_path, packed(bomb))


def test_a_pickle_beyond_the_limit_is_not_inflated(plain: bytes, tmp_path: Path) -> None:
    bomb = changed(entries_of(plain), "data.pkl", content=bytes(17 * 2**20), method=DEFLATED)
    assert "has 17,825,792 bytes; at most 16,777,216 are read" in refusal(tmp_path, packed(bomb))


def test_names_that_come_twice_are_refused(plain: bytes, tmp_path: Path) -> None:
    entries = entries_of(plain)
    twice = [*entries, next(entry for entry in entries if entry.name == "data/0")]
    assert "'archive/data/0' comes twice" in refusal(tmp_path, packed(twice))


def test_entries_that_overlap_are_refused(plain: bytes, tmp_path: Path) -> None:
    entries = entries_of(plain)
    grown = changed(entries, "data/0", compressed=200, size=200)
    assert "overlaps" in refusal(tmp_path, packed(grown))


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("described in two ways", {"local_name": "data/9"}),
        ("described in two ways", {"header_at": 3}),
        ("do not fit into the file", {"header_at": 10**6}),
        ("do not fit into the file", {"compressed": 10**8, "size": 10**8}),
        ("do not fit into the file", {"size": 5}),
        ("encrypted, on another disk, or compressed by method 0", {"flags": 1}),
        ("encrypted, on another disk, or compressed by method 0", {"disk": 1}),
        ("compressed by method 12", {"method": 12}),
    ],
)
def test_entries_that_are_not_what_they_seem_are_refused(
    what: str, changes: dict[str, object], plain: bytes, tmp_path: Path
) -> None:
    assert what in refusal(tmp_path, packed(changed(entries_of(plain), "data/0", **changes)))


def test_entries_in_several_folders_are_refused(plain: bytes, tmp_path: Path) -> None:
    moved = bytearray(plain).replace(b"archive/data/0", b"archivE/data/0")
    assert "is not in the folder 'archive/'" in refusal(tmp_path, bytes(moved))


def test_a_missing_storage_is_named(plain: bytes, tmp_path: Path) -> None:
    assert "should be in 'data/0', which the archive lacks" in refusal(
        tmp_path, packed(without(entries_of(plain), "data/0"))
    )


def test_a_storage_of_another_size_is_refused(plain: bytes, tmp_path: Path) -> None:
    shorter = changed(entries_of(saved({"w": torch.rand(9)})), "data/0", content=bytes(8))
    assert "has 8 bytes; the storage of 'w' should have 36" in refusal(tmp_path, packed(shorter))


@pytest.mark.parametrize("cut", [1, 10, 22, 100, 1000])
def test_a_file_that_is_cut_off_is_refused(cut: int, plain: bytes, tmp_path: Path) -> None:
    assert "cut off" in refusal(tmp_path, plain[:-cut])


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file has 0 bytes"),
        (b"PK\x03\x04", "too few for a zip archive"),
        (b"\x80\x04N.", "a bare pickle, which is never read"),
        (b"<!DOCTYPE html><html>", "a web page or XML"),
        (b"\x1f\x8b" + bytes(50), "a gzip file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "an HDF5 file"),
        (b"\x93NUMPY" + bytes(50), "one NumPy array"),
        (b"a letter to you", "begins with 'a letter to you', as no model file does; wanted is safetensors, or what"),
    ],
)
def test_other_files_are_told_by_their_beginning(content: bytes, what: str, tmp_path: Path) -> None:
    assert what in refusal(tmp_path, content)


def test_a_file_of_the_time_before_torch_1_6_is_told_and_what_to_do(tmp_path: Path) -> None:
    message = refusal(tmp_path, saved(ConvNet(), _use_new_zipfile_serialization=False))
    assert "before torch 1.6" in message
    assert "save it again" in message


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    assert "has no 'data.pkl', so torch did not write it" in refusal(
        tmp_path, packed([Entry("arr_0.npy", b"\x93NUMPY")])
    )


def test_something_added_before_or_behind_an_archive_is_refused(plain: bytes, tmp_path: Path) -> None:
    assert "something was added" in refusal(tmp_path, plain + b"more")
    assert "as its locator says" in refusal(tmp_path, plain[:4] + bytes(50) + plain[4:])
    short = packed(entries_of(plain))
    assert "something was added before it" in refusal(tmp_path, short[:4] + bytes(50) + short[4:])
    assert "does not end with the end of its directory" in refusal(
        tmp_path, packed(entries_of(plain), Layout(comment=b"hello"))
    )


def test_two_end_records_that_disagree_are_refused(plain: bytes, tmp_path: Path) -> None:
    content = bytearray(packed(entries_of(plain), Layout(zip64_end=True)))
    struct.pack_into("<2H", content, len(content) - 14, 1, 1)
    assert "the two end records of the archive disagree" in refusal(tmp_path, bytes(content))


def test_a_directory_that_claims_millions_of_entries_costs_nothing(plain: bytes, tmp_path: Path) -> None:
    content = bytearray(packed(entries_of(plain), Layout(zip64_end=True)))
    at = content.index(b"PK\x06\x06")
    struct.pack_into("<2Q", content, at + 24, 2**40, 2**40)
    assert "list 1099511627776 entries, but ends" in refusal(tmp_path, bytes(content))


def test_sizes_of_zip64_that_are_missing_are_refused(plain: bytes, tmp_path: Path) -> None:
    content = bytearray(packed(entries_of(plain), Layout(zip64_entries=True)))
    at = content.index(b"PK\x01\x02")
    name_length = struct.unpack_from("<H", content, at + 28)[0]
    struct.pack_into("<H", content, at + 46 + name_length, 7)
    assert "has no zip64 sizes, but says that it has" in refusal(tmp_path, bytes(content))


def test_a_byte_order_that_is_none_is_refused(plain: bytes, tmp_path: Path) -> None:
    assert "byte order is b'middle'" in refusal(
        tmp_path, packed(changed(entries_of(plain), "byteorder", content=b"middle"))
    )


def test_a_safetensors_file_behind_the_same_interface(tmp_path: Path) -> None:
    from hansa.formats import safetensors

    with (tmp_path / "model.safetensors").open("wb") as file:
        safetensors.write(file, {"w": np.ones((2, 3)), "b": np.arange(3)}, frozenset({"b"}))
    path = tmp_path / "model.safetensors"
    assert_same(arrays_of(path), {"w": np.ones((2, 3)), "b": np.arange(3)})
    with modelfile.open_model(path) as file:
        assert (file.flavour, file.ties, file.overlap, file.structure) == ("safetensors", (), None, None)
        assert file.kinds_known
        assert [array.kind for array in file.arrays] == ["buffer", "param"]
