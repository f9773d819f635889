"""Where programs are run: in the sandbox's processes, as soon as there is a sandbox."""

from hansa.core.params import Array
from hansa.server.inference.decoding import Image
from hansa.server.inference.errors import UnavailableError
from hansa.server.inference.programs import Asked


async def outputs(model: Asked, inputs: Array | list[Image], seed: int) -> Array:
    """The outputs of all passes, (N, B, …). Raises UnavailableError."""
    raise UnavailableError(
        "This server has no sandbox yet, and programs are run in nothing else. Download the model, and run it yourself."
    )
