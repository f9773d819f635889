"""What clients of the older platform send: torch's files, in the forms of their requests."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import httpx
import numpy as np
import torch

from support.people import Person
from support.work import small_params

LOCAL_ACCEPTED = {"detail": "Model Update Accepted"}
MOMENTS_ACCEPTED = {"detail": "SWAG Statistic Accepted"}


class _Norm(torch.nn.Module):
    running_mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.ones(3))
        self.register_buffer("num_batches_tracked", torch.tensor(5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x - self.running_mean


class Small(torch.nn.Module):
    """A module whose state is `small_params`."""

    def __init__(self, add: float = 0.0) -> None:
        super().__init__()
        self.fc = torch.nn.Linear(2, 3)
        self.norm = _Norm()
        state = {name: torch.from_numpy(np.array(array)) for name, array in small_params(add).items()}
        self.load_state_dict(state)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A layer and a shift."""
        shifted: torch.Tensor = self.norm(self.fc(x))
        return shifted


def pickled(module: torch.nn.Module | dict[str, torch.Tensor] | torch.Tensor) -> bytes:
    """What `torch.save` writes."""
    stream = io.BytesIO()
    torch.save(module, stream)
    return stream.getvalue()


def scripted(module: torch.nn.Module) -> bytes:
    """What `torch.jit.save` writes."""
    stream = io.BytesIO()
    torch.jit.save(torch.jit.script(module), stream)
    return stream.getvalue()


class MakesAFolder:
    """An object whose unpickling would make a folder appear."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


async def send_update(
    client: Person,
    model: object,
    content: bytes,
    *,
    round: object = 0,  # noqa: A002  # the field's name
    sample_size: object = 10,
    metrics: Sequence[tuple[str, object]] = (),
    **fields: object,
) -> httpx.Response:
    """POST /api/models/<id>/ as the older client does; a field of None is left out."""
    named = {"owner": client.id, "round": round, "sample_size": sample_size, **fields}
    data: dict[str, object] = {name: str(value) for name, value in named.items() if value is not None}
    if metrics:
        data["metric_names"] = [name for name, _ in metrics]
        data["metric_values"] = [str(value) for _, value in metrics]
    files = {"model_file": ("a1b2c3", content)}
    return await client.post(f"/api/models/{model}/", data=data, files=files)


async def accepted(client: Person, model: object, content: bytes, **fields: object) -> None:
    """Send an update that the server must take."""
    answer = await send_update(client, model, content, **fields)  # type: ignore[arg-type]  # fields of a form
    assert (answer.status_code, answer.json()) == (201, LOCAL_ACCEPTED), answer.text


async def send_moments(
    client: Person,
    model: object,
    first: bytes,
    second: bytes,
    *,
    round: object = 1,  # noqa: A002  # the field's name
    sample_size: object = 10,
) -> httpx.Response:
    """POST /api/models/<id>/swag/."""
    data = {"round": str(round), "sample_size": str(sample_size)}
    files = {"first_moment_file": ("m1", first), "second_moment_file": ("m2", second)}
    return await client.post(f"/api/models/{model}/swag/", data=data, files=files)


async def send_metrics(client: Person, model: object, **values: object) -> httpx.Response:
    """POST /api/models/<id>/metrics/ urlencoded, as the older client does."""
    data = {"metric_names": list(values), "metric_values": [str(value) for value in values.values()]}
    return await client.post(f"/api/models/{model}/metrics/", data=data)
