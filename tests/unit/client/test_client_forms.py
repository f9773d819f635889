"""A client whose task offers a form in fewer bytes for its update."""

import io
import tracemalloc

import numpy as np
from running import AddOne
from scripted_server import updates

from hansa.client import TrainResult
from hansa.client.events import Dropped, Reported
from hansa.core.params import spec_of
from hansa.formats import encodings, safetensors
from hansa.formats.chunks import FileSource
from hansa.formats.encodings import Origin
from hansa.protocol.encodings import Encoding

STEP = Encoding(content="difference", dtype="bfloat16")


class Explodes(AddOne):
    """Its steps have no float16."""

    def train(self, params, config):
        return TrainResult({**params, "w": params["w"] + np.float32(1e6)}, num_examples=3)


def test_the_update_is_sent_in_the_form_that_the_task_offers(server, start):
    server.offer(encoding=STEP)
    start(AddOne()).until(Reported)

    (report,) = server.reports
    sent = server.partial[report["digest"]]
    layout, form = encodings.read_layout(io.BytesIO(sent), len(sent))
    assert form.content == "difference"
    assert layout.placed("w").dtype == "bfloat16"
    place = layout.placed("w")
    assert set(np.frombuffer(sent[place.start : place.stop], np.uint16)) == {0x3F80}, "each has grown by one"


def test_a_step_that_the_form_has_no_number_for_gives_the_task_back_with_the_params_name(server, start):
    server.offer(encoding=Encoding(content="difference", dtype="float16"))
    dropped = start(Explodes()).until(Dropped)

    assert dropped.failed
    assert "'w' changed by 1e+06 at flat index 0, beyond what float16 has numbers for (65,504)" in dropped.reason
    assert not updates(server)


def test_no_second_model_is_in_memory_while_an_update_is_written(tmp_path):
    params = {"w": np.zeros(8_000_000, np.float32)}
    with (tmp_path / "base").open("wb") as file:
        layout = safetensors.write(file, params)
    trained = {"w": params["w"] + np.float32(0.5)}
    with FileSource(tmp_path / "base") as source, (tmp_path / "update").open("wb") as file:
        tracemalloc.start()
        try:
            encodings.write(file, trained, spec_of(params), STEP, Origin("0" * 64, source, layout))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert (tmp_path / "update").stat().st_size < 16_001_000
    assert peak < 16 * 2**20, "pieces of a model of 32 MB"
