"""PUT /api/tasks/<id>/update/<sha256>/ in a training that offers a form: what is taken, and what is refused."""

import io

import numpy as np
import pytest
from safetensors.numpy import load

from hansa.core.params import spec_of
from hansa.formats import encodings, safetensors
from hansa.formats.chunks import FileSource
from hansa.formats.encodings import FORM_KEY, Origin
from hansa.protocol.encodings import Encoding
from hansa.protocol.tasks import Upload
from hansa.server.blobs import store
from hansa.server.lifecycle.bridge import call, read
from hansa.server.trainings.models import Round, Task, Update
from support.answers import nothing_changes, refused, shown
from support.federation import take
from support.work import (
    BUFFERS,
    File,
    add_up,
    file_of,
    lease,
    report_of,
    settle,
    small_params,
    start,
    update,
    upload_and_report,
)

OFFERED = Encoding(content="difference", dtype="bfloat16", params=["fc.*"])
PLAN = {"content": "difference", "dtype": "bfloat16", "params": ["fc.*"]}


@pytest.fixture
async def offering(bob, carol, make_training):
    """A training of two rounds that offers it."""
    return await call(lambda: start(make_training(bob, carol, rounds=2, encoding=PLAN)))


@pytest.fixture
async def task(bob, offering):
    """Bob's first."""
    return await call(lease, bob)


def encoded(base, params, encoding=OFFERED):
    """The update that makes `params` of the file `base`."""
    path, stream = store.path_of(base), io.BytesIO()
    with path.open("rb") as file:
        layout = safetensors.read_layout(file, path.stat().st_size)
    with FileSource(path) as source:
        spec = spec_of(params, buffers=BUFFERS)
        encodings.write(stream, params, spec, encoding, Origin(base, source, layout))
    return File(stream.getvalue())


async def base_of(task):
    row = await read(Round.objects.select_related("base").get, id=task.round_id)
    return row.base.blob_id


async def put(person, task, file):
    return await person.put(f"/api/tasks/{task.id}/update/{file.digest}/", content=file.content)


async def test_the_task_offers_the_form_and_a_training_without_one_offers_nothing(bob, carol, offering, make_training):
    assert (await take(bob))["encoding"] == PLAN
    await call(lambda: start(make_training(carol)))
    tasks = [await take(carol), await take(bob)]
    assert {str(task["encoding"]) for task in tasks if task["training"] != str(offering.id)} <= {"None"}


async def test_an_update_in_the_form_is_taken_and_its_norm_is_that_of_the_difference(bob, task):
    file = encoded(await base_of(task), small_params(2.0))

    shown(await put(bob, task, file), Upload)

    row = await read(Task.objects.get, id=task.id)
    assert row.uploaded_norm == pytest.approx(2.0 * 3)  # nine params


async def test_whole_params_are_taken_as_well_and_both_make_one_version(bob, carol, offering, task):
    """Carol's client is of an earlier version, and sends as it always did."""
    file = encoded(await base_of(task), small_params(2.0))
    shown(await put(bob, task, file), Upload)
    report = await bob.post(f"/api/tasks/{task.id}/report/", json=report_of(file))
    assert report.status_code == 200
    await upload_and_report(carol, await call(lease, carol), update(4.0))
    await call(settle, offering)

    await call(add_up, offering)

    made = await read(lambda: offering.model.versions.get(number=1))
    found = load(store.path_of(made.blob_id).read_bytes())
    for name, array in small_params(3.0).items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


async def test_params_that_are_left_out_stay_those_of_the_version_whoever_sends_others(bob, carol, make_training):
    """Bob's client is of an earlier version and sends all; Carol's sends no number at all where nothing is wanted."""
    plan = {"params": ["fc.weight"]}
    training = await call(lambda: start(make_training(bob, carol, rounds=1, encoding=plan)))
    task, began = await call(lease, bob), small_params()
    without_number = {**small_params(4.0), "fc.bias": np.full_like(began["fc.bias"], np.nan)}

    await upload_and_report(bob, task, update(2.0))
    await upload_and_report(carol, await call(lease, carol), file_of(without_number, BUFFERS))
    await call(settle, training)
    await call(add_up, training)

    made = await read(lambda: training.model.versions.get(number=1))
    found = load(store.path_of(made.blob_id).read_bytes())
    for name, array in {**small_params(3.0), "fc.bias": began["fc.bias"]}.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    row = await read(Update.objects.get, task=task)
    assert row.norm == pytest.approx(np.linalg.norm(small_params(2.0)["fc.weight"] - began["fc.weight"]))


async def test_a_late_difference_counts_as_the_params_that_it_stood_for(bob, carol, make_training):
    """Bob began from version 0, and reports when version 1 is there."""
    plan = {"rounds": 2, "closing": {"quorum": 1}, "late": {"kind": "fold", "exponent": 0}, "encoding": PLAN}
    training = await call(lambda: start(make_training(bob, carol, **plan)))
    late = await call(lease, bob)
    file = encoded(await base_of(late), small_params(2.0))
    await upload_and_report(carol, await call(lease, carol), update(8.0))
    await call(settle, training)
    await call(add_up, training)

    shown(await put(bob, late, file), Upload)
    receipt = await bob.post(f"/api/tasks/{late.id}/report/", json=report_of(file))
    assert receipt.json()["late"]
    await upload_and_report(carol, await call(lease, carol), update(10.0))
    await call(settle, training)
    await call(add_up, training)

    made = await read(lambda: training.model.versions.get(number=2))
    found = load(store.path_of(made.blob_id).read_bytes())
    for name, array in small_params(6.0).items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


async def test_a_local_model_that_is_none_by_itself_is_not_handed_out(alice, bob, carol, make_training):
    training = await call(lambda: start(make_training(bob, carol, rounds=2, encoding=PLAN, keep_updates=2)))
    task = await call(lease, bob)
    file = encoded(await base_of(task), small_params(2.0))
    await put(bob, task, file)
    await bob.post(f"/api/tasks/{task.id}/report/", json=report_of(file))
    carols = await call(lease, carol)
    await upload_and_report(carol, carols, update(4.0))

    listed = (await alice.get(f"/api/trainings/{training.id}/models/")).json()

    assert [each["id"] for each in listed if each["kind"] == "local"] == [str(carols.id)]
    assert await read(Update.objects.filter(blob__isnull=False).count) == 2
    answer = await alice.get(f"/api/models/{task.id}/")
    assert answer.status_code in (404, 410), answer.text


def other_header(file, old, new):
    """The file with bytes of its header replaced by as many others, or the header's length mended."""
    length = int.from_bytes(file.content[:8], "little")
    header = file.content[8 : 8 + length].replace(old, new)
    return File(len(header).to_bytes(8, "little") + header + file.content[8 + length :])


def other_numbers(file, name, bits):
    """The file with the first number of an array replaced."""
    layout, _ = encodings.read_layout(io.BytesIO(file.content), len(file))
    start, content = layout.placed(name).start, bytearray(file.content)
    content[start : start + 2] = int(bits).to_bytes(2, "little")
    return File(bytes(content))


@pytest.mark.parametrize(
    ("spoil", "code", "told"),
    [
        (lambda file: other_numbers(file, "fc.bias", 0x7F80), "not_finite", "'fc.bias' holds inf"),
        (lambda file: other_numbers(file, "fc.bias", 0xFFC1), "not_finite", "'fc.bias' holds nan"),
        (lambda file: File(file.content[:-1]), "bad_model_file", "cut off"),
        (lambda file: other_header(file, b'"BF16"', b'"F16"'), "spec_mismatch", "the encoding carries bfloat16"),
        (lambda file: other_header(file, b"fc.bias", b"fc.bios"), "spec_mismatch", "lacks 'fc.bias'"),
        (lambda file: other_header(file, b"fc.bias", b"fc.weight"), "bad_model_file", "comes twice"),
        (lambda file: other_header(file, b"difference", b"params"), "spec_mismatch", "offers the content"),
        (lambda file: other_header(file, b"difference", b"gradient"), "bad_model_file", "cannot be read"),
        (lambda file: other_header(file, FORM_KEY.encode(), b"other"), "spec_mismatch", "dtype bfloat16 for"),
        (lambda file: other_header(file, b"}}", b"}}" + b" " * 2**17), "too_large", "at most"),
    ],
)
async def test_what_is_wrong_is_told_and_nothing_is_kept(bob, task, spoil, code, told):
    file = encoded(await base_of(task), small_params(2.0))

    async with nothing_changes():
        answer = await put(bob, task, spoil(file))
        detail = refused(answer, 413 if code == "too_large" else 422, code)
    assert told in detail

    shown(await put(bob, task, file), Upload)


FORMS = [
    {"content": content, "dtype": dtype}
    for content in ("params", "difference")
    for dtype in ("as_model", "float32", "float16", "bfloat16")
    if (content, dtype) != ("params", "as_model")
]
NAN_OF = {
    "float32": (0x7FC00000).to_bytes(4, "little"),
    "float16": (0x7E00).to_bytes(2, "little"),
    "bfloat16": b"\xc0\x7f",
}


def with_nan(file):
    layout, _ = encodings.read_layout(io.BytesIO(file.content), len(file))
    placed, content = layout.placed("fc.bias"), bytearray(file.content)
    bits = NAN_OF[placed.dtype]
    content[placed.start : placed.start + len(bits)] = bits
    return File(bytes(content))


@pytest.mark.parametrize("plan", FORMS, ids=lambda plan: "-".join(plan.values()))
async def test_in_every_form_what_is_wrong_is_told_nothing_is_kept_and_the_right_one_taken(
    bob, carol, make_training, plan
):
    await call(lambda: start(make_training(bob, carol, encoding=plan)))
    task = await call(lease, bob)
    base = await base_of(task)
    file = encoded(base, small_params(2.0), Encoding(**plan))
    other = "params" if plan["content"] == "difference" else "difference"
    spoiled = {
        "'fc.bias' holds nan": ("not_finite", with_nan(file)),
        "cut off": ("bad_model_file", File(file.content[:-1])),
        "lacks 'fc.bias'": ("spec_mismatch", other_header(file, b"fc.bias", b"fc.bios")),
        "offers the content": ("spec_mismatch", other_header(file, plan["content"].encode(), other.encode())),
        "the task begins from": ("spec_mismatch", other_header(file, base.encode(), b"a" * 64)),
    }

    for told, (code, wrong) in spoiled.items():
        async with nothing_changes():
            assert told in refused(await put(bob, task, wrong), 422, code)
    shown(await put(bob, task, file), Upload)


async def test_a_difference_to_something_else_is_refused(bob, task):
    base = await base_of(task)
    file = other_header(encoded(base, small_params(2.0)), base.encode(), b"a" * 64)
    async with nothing_changes():
        assert "the task begins from" in refused(await put(bob, task, file), 422, "spec_mismatch")


async def test_a_training_that_offers_no_form_takes_none(bob, bobs_task):
    file = encoded(await base_of(bobs_task), small_params(2.0))
    async with nothing_changes():
        assert "does not offer" in refused(await put(bob, bobs_task, file), 422, "spec_mismatch")


async def test_a_plan_that_names_params_of_another_model_is_refused(alice, model):
    plan = {"rounds": 1, "encoding": {"params": ["head.*"]}}
    answer = await alice.post("/api/trainings/", json={"model_id": str(model.id), "plan": plan, "clients": []})
    assert "has 'head.*', and the model has no param of that name" in refused(answer, 422, "unsound_plan")
