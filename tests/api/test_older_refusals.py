"""POST /api/models/<id>/: what is refused, and why: files that are no update, fields, and who may not.

Whatever is refused leaves nothing behind, and the right update may follow.
"""

import asyncio

import numpy as np
import pytest
import torch
from safetensors.numpy import save

from hansa.server.lifecycle.bridge import call
from hansa.server.registry.models import Model
from hansa.server.trainings import older_uploads
from hansa.server.trainings.services import trainings
from support.answers import nothing_changes, refused
from support.exchange import Exchange
from support.older import MakesAFolder, Small, accepted, pickled, scripted, send_update
from support.work import small_params, update

MULTIPART = {"content-type": "multipart/form-data; boundary=b"}


# Wrong


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"", "bad_model_file", []),
        (b"hello", "bad_model_file", []),
        (scripted(Small(1.0))[:-30], "bad_model_file", []),
        (pickled(torch.ones(3)), "spec_mismatch", ["lacks"]),
        (pickled(torch.nn.Linear(2, 3)), "spec_mismatch", ["'fc.bias'"]),
        (
            pickled({**Small(1.0).state_dict(), "fc.bias": torch.ones(4)}),
            "spec_mismatch",
            ["'fc.bias'", "(4,)", "(3,)"],
        ),
        (pickled(Small(1.0).double()), "spec_mismatch", ["float64"]),
        (
            pickled({**Small(1.0).state_dict(), "fc.bias": torch.tensor([0, float("nan"), 0])}),
            "not_finite",
            ["'fc.bias'"],
        ),
        (scripted(Small(float("inf"))), "not_finite", ["inf"]),
    ],
    ids=["empty", "text", "cut off", "tensor", "another model", "another shape", "another dtype", "nan", "infinite"],
)
async def test_a_file_that_is_no_update_of_the_model_is_refused_and_the_right_one_may_follow(
    bob, started, content, code, words
):
    async with nothing_changes():
        refused(await send_update(bob, started.model_id, content), 400, code, *words)

    await accepted(bob, started.model_id, scripted(Small(1.0)))


async def test_arrays_that_are_one_in_the_model_must_be_one_in_the_update(bob, started):
    await call(Model.objects.filter(id=started.model_id).update, ties=[["fc.bias", "norm.running_mean"]])
    torn = update()  # they differ by one

    async with nothing_changes():
        answer = await send_update(bob, started.model_id, torn.content)
        refused(answer, 400, "spec_mismatch", "'fc.bias', 'norm.running_mean'", "one array")

    await accepted(bob, started.model_id, update(fc__bias=small_params(1.0)["norm.running_mean"]).content)


@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"fc.weight": evil}, lambda evil: [evil]])
async def test_a_pickle_that_would_act_is_read_and_not_obeyed(bob, started, tmp_path, wrap):
    trap = tmp_path / "trap"

    async with nothing_changes():
        refused(await send_update(bob, started.model_id, pickled(wrap(MakesAFolder(trap)))), 400, "bad_model_file")
    assert not trap.exists()


async def test_a_pickle_that_would_act_beside_a_right_state_does_not(bob, started, tmp_path):
    trap, module = tmp_path / "trap", Small(1.0)
    module.hidden = MakesAFolder(trap)

    await send_update(bob, started.model_id, pickled(module))
    assert not trap.exists()


# Fields


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"round": None}, "round"),
        ({"round": "one"}, "round"),
        ({"round": "0.0"}, "round"),
        ({"round": "-1"}, "round"),
        ({"round": 2**31}, "round"),
        ({"round": ""}, "round"),
        ({"round": "٣"}, "round"),
        ({"sample_size": None}, "sample_size"),
        ({"sample_size": 0}, "sample_size"),
        ({"sample_size": -5}, "sample_size"),
        ({"sample_size": "12.5"}, "sample_size"),
        ({"sample_size": "many"}, "sample_size"),
        ({"sample_size": 2**53 + 1}, "sample_size"),
        ({"metrics": [("", 1.0)]}, "metric_names"),
        ({"metrics": [("x" * 33, 1.0)]}, "metric_names"),
        ({"metrics": [("a\0b", 1.0)]}, "metric_names"),
        ({"metrics": [(f"m{i}", 1.0) for i in range(65)]}, "metric_names"),
        ({"metric_names": "loss"}, "metric_values"),
        ({"metric_values": "0.5"}, "metric_names"),
    ],
)
async def test_a_field_that_is_wrong_is_named(bob, started, fields, field):
    async with nothing_changes():
        answer = await send_update(bob, started.model_id, update().content, **fields)
        assert (answer.status_code, [*answer.json()]) == (400, [field]), answer.text


async def test_all_that_is_wrong_is_named_at_once(bob, started):
    async with nothing_changes():
        answer = await bob.post(f"/api/models/{started.model_id}/", data={"round": "x"}, files={"other": b""})
    assert (answer.status_code, {*answer.json()}) == (400, {"round", "sample_size", "model_file"})


async def test_names_and_values_of_metrics_are_paired(bob, started):
    data = {"round": "0", "sample_size": "1", "metric_names": ["loss", "accuracy"], "metric_values": ["1"]}
    async with nothing_changes():
        answer = await bob.post(f"/api/models/{started.model_id}/", data=data, files={"model_file": update().content})
    assert (answer.status_code, [*answer.json()]) == (400, ["metric_values"])


@pytest.mark.parametrize("media_type", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
async def test_only_multipart_is_taken(bob, started, media_type):
    answer = await bob.post(f"/api/models/{started.model_id}/", content=b"{}", headers={"Content-Type": media_type})
    refused(answer, 415, "unsupported_media_type", "multipart/form-data")


# Who may


async def test_to_a_stranger_there_is_no_such_model(mallory, started):
    async with nothing_changes():
        refused(await send_update(mallory, started.model_id, update().content), 404, "not_found")


async def test_the_actor_takes_no_part(alice, started):
    async with nothing_changes():
        answer = await send_update(alice, started.model_id, update().content)
        refused(answer, 403, "permission_denied", f"not a participant of training {started.id}")


async def test_who_was_removed_no_longer_knows_the_model(bob, started):
    await call(trainings.remove_clients, training_id=started.id, clients=[bob.user])
    async with nothing_changes():
        refused(await send_update(bob, started.model_id, update().content), 404, "not_found")


async def test_a_model_without_a_training_takes_no_updates(alice, model):
    async with nothing_changes():
        refused(await send_update(alice, model.id, update().content), 404, "not_found", "has no training")


async def test_the_right_is_checked_before_a_byte_is_read(mallory, started, handler):
    exchange = Exchange(handler, mallory, "POST", f"/api/models/{started.model_id}/", MULTIPART)
    await exchange.finished()
    assert (exchange.status, exchange.asked) == (404, 0)


async def test_what_can_be_no_update_is_refused_before_a_byte_is_read(bob, started, handler):
    headers = {**MULTIPART, "content-length": str(17 * 2**20)}
    exchange = Exchange(handler, bob, "POST", f"/api/models/{started.model_id}/", headers)
    await exchange.finished()
    assert (exchange.status, exchange.json["code"], exchange.asked) == (413, "too_large", 0)


async def test_a_client_that_breaks_off_leaves_nothing_behind(bob, started, handler):
    exchange = Exchange(handler, bob, "POST", f"/api/models/{started.model_id}/", MULTIPART)
    async with nothing_changes():
        exchange.send(b'--b\r\nContent-Disposition: form-data; name="model_file"; filename="x"\r\n\r\n' + bytes(2**20))
        exchange.disconnect()
        await exchange.finished()
    assert exchange.status is None


async def test_a_client_that_goes_while_its_update_is_looked_at_leaves_nothing_behind(
    bob, started, handler, monkeypatch
):
    url, files = f"/api/models/{started.model_id}/", {"model_file": scripted(Small(1.0))}
    whole = bob.build_request("POST", url, data={"round": "0", "sample_size": "1"}, files=files)
    exchange = Exchange(handler, bob, "POST", url, dict(whole.headers))
    loop, rewrite_model = asyncio.get_running_loop(), older_uploads.rewrite_model

    def rewrite(*arguments):
        loop.call_soon_threadsafe(exchange.task.cancel)
        rewrite_model(*arguments)

    monkeypatch.setattr(older_uploads, "rewrite_model", rewrite)
    async with nothing_changes():
        exchange.send(whole.read(), last=True)
        await exchange.finished()


async def test_on_a_full_disk_nothing_half_written_stays(bob, started, small_disk):
    large = {**small_params(1.0), "padding": np.zeros(2**19, np.float32)}
    async with nothing_changes():
        refused(await send_update(bob, started.model_id, save(large)), 507, "insufficient_storage")
