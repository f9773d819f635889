"""Model files over HTTP: whole, resumed, damaged."""

import hashlib

import pytest
from scripted_server import cut_download, cut_upload

from hansa.client import ApiError, DamagedDownload, Unreachable
from hansa.client.transfer import bytes_held, fetch, send

PATH = "/api/models/model/versions/0/params/"


@pytest.fixture
def promised(server):
    server.model = bytes(range(256)) * 20_000  # five blocks
    return {"digest": hashlib.sha256(server.model).hexdigest(), "size": len(server.model)}


def test_a_file_appears_whole(server, transport, promised, tmp_path):
    seen = []
    fetch(transport, PATH, tmp_path / "model", **promised, moving=lambda done, size: seen.append((done, size)))
    assert (tmp_path / "model").read_bytes() == server.model
    assert [file.name for file in tmp_path.iterdir()] == ["model"]
    assert seen == sorted(seen)
    assert seen[-1] == (promised["size"], promised["size"])


def test_a_download_that_broke_off_goes_on_where_it_was(server, transport, promised, tmp_path):
    asked = []
    server.fail_once("GET", "/params/", cut_download(after=3_000_001))
    with pytest.raises(Unreachable):
        fetch(transport, PATH, tmp_path / "model", **promised)
    assert not (tmp_path / "model").exists()

    server.fail_once("GET", "/params/", lambda handler: asked.append(dict(handler.headers)))
    fetch(transport, PATH, tmp_path / "model", **promised)

    assert (tmp_path / "model").read_bytes() == server.model
    assert asked[0]["If-Range"] == f'"{promised["digest"]}"'
    assert asked[0]["Range"] == "bytes=3000001-"


def test_a_server_may_send_the_whole_where_a_part_was_asked_for(server, transport, promised, tmp_path):
    server.fail_once("GET", "/params/", cut_download(after=2**20))
    with pytest.raises(Unreachable):
        fetch(transport, PATH, tmp_path / "model", **promised)

    def forget_range(handler):
        del handler.headers["Range"]

    server.fail_once("GET", "/params/", forget_range)
    fetch(transport, PATH, tmp_path / "model", **promised)
    assert (tmp_path / "model").read_bytes() == server.model


@pytest.mark.parametrize("damage", [lambda data: b"x" + data[1:], lambda data: data + b"x"])
def test_wrong_bytes_are_thrown_away(server, transport, promised, tmp_path, damage):
    good, server.model = server.model, damage(server.model)
    with pytest.raises(DamagedDownload):
        fetch(transport, PATH, tmp_path / "model", **promised)
    assert not (tmp_path / "model").exists()

    server.model = good
    fetch(transport, PATH, tmp_path / "model", **promised)
    assert (tmp_path / "model").read_bytes() == good


def test_an_upload_goes_on_from_what_the_server_holds(server, transport, tmp_path):
    content = bytes(range(256)) * 10_000
    source = tmp_path / "update"
    source.write_bytes(content)
    path = f"/api/tasks/1/update/{hashlib.sha256(content).hexdigest()}/"

    server.fail_once("PUT", "/update/", cut_upload(after=1_234_567))
    with pytest.raises(Unreachable):
        send(transport, path, source, start=0, size=len(content))

    assert bytes_held(transport, path) == 1_234_567
    seen = []
    receipt = send(
        transport, path, source, start=1_234_567, size=len(content), moving=lambda done, _: seen.append(done)
    )
    assert receipt.size == len(content)
    assert min(seen) > 1_234_567
    assert seen[-1] == len(content)


def test_an_upload_that_begins_elsewhere_is_refused_with_its_code(transport, tmp_path):
    (tmp_path / "update").write_bytes(b"12345678")
    path = f"/api/tasks/1/update/{'0' * 64}/"
    with pytest.raises(ApiError) as refusal:
        send(transport, path, tmp_path / "update", start=4, size=8)
    assert refusal.value.code == "upload_offset"
