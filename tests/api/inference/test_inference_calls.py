"""Between the endpoint and the sandbox: nothing is lost on the way there, and every outcome has its status."""

import msgspec
import numpy as np
import pytest

from hansa.sandbox import messages
from hansa.sandbox.messages import EncodedImage, Failed, Refused, Tensor, Unsupported
from hansa.server.blobs.inspection import Known
from hansa.server.inference.calls import call_of, executed_of, outputs_of
from hansa.server.inference.decoding import Image
from hansa.server.inference.errors import LimitError, ProgramError, UnsupportedError
from hansa.server.inference.methods import Way
from hansa.server.inference.programs import Asked, Moments, Program
from hansa.server.inference.runner import Job


def known(letter):
    return Known(letter * 64, 1, b"")


def job(way, inputs, **fields):
    model = Asked(
        model_id=None,
        version=1,
        way=way,
        programs=[Program(known("a"), known("b")), Program(known("c"), None)],
        input_shape=None,
        **{"preprocessing": None, "moments": None, **fields},
    )
    return Job(model, inputs, 7)


def test_a_call_names_files_by_their_digests():
    call = call_of(job(Way("ensemble", 10, None), np.ones((2, 3)), preprocessing=known("d")))

    assert call.programs == (messages.Program("a" * 64, "b" * 64), messages.Program("c" * 64))
    assert (call.preprocessing, call.passes, call.seed) == ("d" * 64, "one", 7)
    assert call.digests == {letter * 64 for letter in "abcd"}
    assert np.array_equal(call.inputs[0].array(), np.ones((2, 3)))


@pytest.mark.parametrize(
    ("method", "passes"), [("none", "one"), ("ensemble", "one"), ("mc_dropout", "dropout"), ("swag", "swag")]
)
def test_every_method_has_its_passes(method, passes):
    moments = Moments(known("e"), ("w", "b"))
    call = call_of(job(Way(method, 30, None), [Image(b"png"), Image(b"jpeg")], moments=moments))

    assert (call.passes, call.samples, call.moments) == (passes, 30, messages.Moments("e" * 64, ("w", "b")))
    assert call.inputs == (EncodedImage(b"png"), EncodedImage(b"jpeg"))


def test_outputs_come_back_as_they_are():
    array = np.arange(6, dtype=np.float32).reshape(1, 2, 3)

    assert np.array_equal(outputs_of(Tensor.of(array)), array)


@pytest.mark.parametrize(
    ("outcome", "error", "words"),
    [
        (Failed("x is 3"), ProgramError, "x is 3"),
        (Unsupported("my.Net"), UnsupportedError, "my.Net"),
        *((Refused(limit, "so much"), LimitError, limit) for limit in msgspec.inspect.type_info(messages.Limit).values),
    ],
)
def test_what_is_no_output_is_the_callers_to_know(outcome, error, words):
    with pytest.raises(error, match=words) as refusal:
        outputs_of(outcome)

    assert refusal.value.status == 422
    if isinstance(outcome, Refused):
        assert refusal.value.extra == {"limit": outcome.limit}


def test_a_summary_becomes_what_the_registry_keeps() -> None:
    traced = messages.Summary({"": messages.Traced((1, 4), (1, 2), None), "0": messages.Traced((1, 4), (1, 2), 10)})
    executed = executed_of(traced)
    assert executed.layers["0"].macs == 10
    assert executed.layers[""].output_size == (1, 2)
    with pytest.raises(ProgramError):
        outputs_of(traced)
