"""What an operator says of inference."""

import pytest

from hansa.server import config
from hansa.server.config import ConfigError, Sandbox


def test_it_is_set_by_variables_and_left_alone_it_uses_every_core_in_the_strict_sandbox(tmp_path):
    unset = config.read({"HANSA_HOME": str(tmp_path)}).inference
    assert (unset.processes, unset.sandbox) == (None, Sandbox.STRICT)
    assert (unset.memory_bytes, unset.seconds, unset.input_bytes) == (2 * 2**30, 30, 64 * 2**20)

    assert config.read(
        {
            "HANSA_HOME": str(tmp_path),
            "HANSA_SANDBOX": "Weak",
            "HANSA_INFERENCE_PROCESSES": "0",
            "HANSA_INFERENCE_MEMORY_BYTES": "100000000",
            "HANSA_INFERENCE_SECONDS": "5",
            "HANSA_INFERENCE_INPUT_BYTES": "1000",
        }
    ).inference == config.Inference(0, 100_000_000, 5, 1000, Sandbox.WEAK)


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("HANSA_SANDBOX", "off", "one of strict, weak"),
        ("HANSA_INFERENCE_PROCESSES", "-1", "at least 0"),
        ("HANSA_INFERENCE_PROCESSES", "many", "at least 0"),
        ("HANSA_INFERENCE_MEMORY_BYTES", "1000", "at least 67108864"),
        ("HANSA_INFERENCE_SECONDS", "0", "at least 1"),
        ("HANSA_INFERENCE_INPUT_BYTES", "64MB", "at least 1"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name, value, wanted, tmp_path):
    with pytest.raises(ConfigError, match=wanted) as refusal:
        config.read({"HANSA_HOME": str(tmp_path), name: value})

    assert name in str(refusal.value)
    assert value in str(refusal.value)
