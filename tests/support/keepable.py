"""What a server does with what it learns of a model file: it keeps it in a database and sends it as JSON."""

import msgspec

from hansa.formats.modelfile import LayerInfo

MAX_JSON = 6 * 2**20
MAX_MESSAGE = 4000


def check_layers(layers: tuple[LayerInfo, ...] | None) -> None:
    """Fails unless the layers can be kept: as JSON, without characters that a database refuses."""
    assert len(msgspec.json.encode(layers)) < MAX_JSON
    for layer in layers or ():
        assert f"{layer.path}{layer.class_name}{layer.var_name}".isprintable()


def check_message(error: Exception) -> None:
    """Fails unless the message is short and can be sent."""
    message = str(error)
    assert len(message) < MAX_MESSAGE
    assert "\0" not in message
    msgspec.json.encode(message)
