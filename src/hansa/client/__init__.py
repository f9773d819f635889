"""The client SDK: take part in trainings (`Client`, `Trainer`), or ask a server for things (`Transport`, `Api`).

    from hansa.client import Client, TrainResult

    Client("https://hansa.example.org", token).run(trainer)

Adapters for libraries are in `hansa.client.adapters`; nothing here imports torch.
"""

from hansa.client.api import Api
from hansa.client.client import Client
from hansa.client.errors import (
    ApiError,
    BadAnswer,
    CredentialsRefused,
    DamagedDownload,
    HansaError,
    NotTrusted,
    ResultError,
    StateFolderBusy,
    Unreachable,
    UsageError,
)
from hansa.client.predictions import Prediction
from hansa.client.trainer import (
    CalibrateResult,
    CalibratingTrainer,
    Config,
    EvaluateResult,
    MomentsResult,
    MomentsTrainer,
    Trainer,
    TrainResult,
)
from hansa.client.transport import Transport

__all__ = [
    "Api",
    "ApiError",
    "BadAnswer",
    "CalibrateResult",
    "CalibratingTrainer",
    "Client",
    "Config",
    "CredentialsRefused",
    "DamagedDownload",
    "EvaluateResult",
    "HansaError",
    "MomentsResult",
    "MomentsTrainer",
    "NotTrusted",
    "Prediction",
    "ResultError",
    "StateFolderBusy",
    "TrainResult",
    "Trainer",
    "Transport",
    "Unreachable",
    "UsageError",
]
