"""What people's tools ask of the server, as typed calls: for the command line, notebooks and tests.

Each call answers with the protocol's Struct, or raises what `hansa.client.errors` lists. Ids are those the server gave.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import msgspec

from hansa.client.answers import decoded
from hansa.client.errors import UsageError
from hansa.client.predictions import Inputs, Prediction, parts_of, prediction
from hansa.client.repeating import made_once
from hansa.client.transfer import COMPLETION_SECONDS, fetch
from hansa.client.transport import Form, Transport
from hansa.protocol.accounts import (
    ClientSummary,
    Enroll,
    Enrolled,
    Invitation,
    InvitationCreate,
    Token,
    TokenCreate,
    TokenCreated,
    User,
    UserSummary,
)
from hansa.protocol.inference import InferenceAnswer, Method, Outputs, UncertaintyWish
from hansa.protocol.models import Detail, Metric, Model, ModelCreated, ModelVersion
from hansa.protocol.trainings import (
    ClientList,
    Round,
    RoundMetrics,
    Training,
    TrainingCreate,
    TrainingCreated,
    TrainingDetail,
)

WAIT_MARGIN = 30.0
"""How much longer than asked for an answer may take before the server counts as unreachable."""

PREDICTION_SECONDS = 90.0
"""How long an answer of a model may take: the turn that a question waits for, and its passes."""


class Api:
    """The API as seen by one person. Owns nothing: the transport is its maker's to close."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._call = transport.call

    # People and credentials

    def myself(self) -> User:
        """Who the credentials belong to."""
        return self._call("GET", "/api/users/myself/", into=User)

    def users(self) -> list[UserSummary]:
        """Everybody, as far as the caller may see."""
        return self._call("GET", "/api/users/", into=list[UserSummary])

    def tokens(self) -> list[Token]:
        """The caller's own tokens."""
        return self._call("GET", "/api/tokens/", into=list[Token])

    def create_token(self, name: str = "", expires_in_seconds: float | None = None) -> TokenCreated:
        """A new token for the caller; its text is in this answer and nowhere else."""
        body = TokenCreate(name=name, expires_in_seconds=expires_in_seconds)
        return self._call("POST", "/api/tokens/", body=body, into=TokenCreated)

    def revoke_token(self, token: str) -> None:
        """End a token, named by its id."""
        self._call("DELETE", f"/api/tokens/{_part(token)}/")

    def clients(self) -> list[ClientSummary]:
        """Whoever may be named as a participant."""
        return self._call("GET", "/api/clients/", into=list[ClientSummary])

    def invite(self, username: str, expires_in_seconds: float = 86400.0) -> Invitation:
        """A one-time code for a new client, good for a day unless told otherwise."""
        body = InvitationCreate(username=username, expires_in_seconds=expires_in_seconds)
        return self._call("POST", "/api/clients/invitations/", body=body, into=Invitation)

    def enroll(self, code: str) -> Enrolled:
        """Exchange a one-time code for a token. Needs no credentials."""
        return self._call("POST", "/api/clients/enroll/", body=Enroll(code=code), into=Enrolled)

    # Models

    def models(self) -> list[Model]:
        """The models the caller may see."""
        return self._call("GET", "/api/models/", into=list[Model])

    def create_model(
        self,
        path: Path,
        *,
        name: str,
        description: str = "",
        buffers: Sequence[str] = (),
        input_shape: Sequence[int | None] = (),
        preprocessing: Path | None = None,
    ) -> ModelCreated:
        """Upload a model's file as version 0 of a new model. `buffers` names the arrays that are not learned.

        `input_shape` has None where a dimension is free; `preprocessing` is a module that makes the input of an image.
        """
        fields: dict[str, str | list[str]] = {"name": name, "description": description, "buffers": list(buffers)}
        if input_shape:
            fields["input_shape"] = [str(length) for length in input_shape]
        sources = {"model_file": Path(path)}
        if preprocessing is not None:
            sources["model_preprocessing_file"] = Path(preprocessing)
        with ExitStack() as opened:
            files = {field: (source.name, opened.enter_context(_readable(source))) for field, source in sources.items()}

            def send(key: Mapping[str, str]) -> ModelCreated:
                for _, file in files.values():
                    file.seek(0)
                form = Form(fields=fields, files=files)
                sent = self.transport.request(
                    "POST", "/api/models/", form=form, headers=key, timeout=COMPLETION_SECONDS
                )
                return decoded(sent, ModelCreated)

            return made_once(send)

    def model(self, model: str) -> Model:
        """A model's record and its arrays."""
        return self._call("GET", f"/api/models/{_part(model)}/metadata/", into=Model)

    def delete_model(self, model: str) -> Detail:
        """Delete a model with all its versions."""
        return self._call("DELETE", f"/api/models/{_part(model)}/", into=Detail)

    def versions(self, model: str) -> list[ModelVersion]:
        """All versions of a model, oldest first."""
        return self._call("GET", f"/api/models/{_part(model)}/versions/", into=list[ModelVersion])

    def version(self, model: str, number: int) -> ModelVersion:
        """One version's record; 0 is what was uploaded."""
        return self._call("GET", f"/api/models/{_part(model)}/versions/{number}/", into=ModelVersion)

    def download(self, model: str, number: int, path: Path) -> ModelVersion:
        """Download a version to `path` as safetensors; the file appears when it is whole and its digest right."""
        target = Path(path)
        if not target.parent.is_dir():
            raise UsageError(f"{target.parent} is not a folder, so {target.name} cannot be written there")
        version = self.version(model, number)
        fetch(self.transport, params_path(model, number), target, digest=version.digest, size=version.size)
        return version

    def model_metrics(self, model: str) -> list[Metric]:
        """What the clients reported on a model, number by number."""
        return self._call("GET", f"/api/models/{_part(model)}/metrics/", into=list[Metric])

    def predict(
        self,
        model: str,
        inputs: Inputs,
        *,
        version: int | None = None,
        method: Method | None = None,
        passes: int | None = None,
        outputs: Outputs | None = None,
        level: float | None = None,
        seed: int = 0,
    ) -> Prediction:
        """Ask a model, in the newest version unless told otherwise.

        `method` says where the uncertainty comes from, `passes` how often mc_dropout and swag draw, `outputs` what the
        model's outputs are: only with `probabilities` or `logits` declared are there probabilities of classes. What
        is left out is as the model's training has it. With a `level` the prediction's `reckoned.conformal` has sets
        of classes, or intervals, that hold the truth so often: of a version that clients have calibrated.
        """
        wish = UncertaintyWish(method=method, samples=passes, outputs=outputs)
        fields: dict[str, str | list[str]] = {
            "model_id": model,
            "return_format": "json",
            "seed": str(seed),
            "uncertainty": msgspec.json.encode(
                {name: each for name, each in msgspec.structs.asdict(wish).items() if each is not None}
            ).decode(),
        }
        if version is not None:
            fields["version"] = str(version)
        if level is not None:
            fields["level"] = repr(level)
        form = Form(fields=fields, files=parts_of(inputs))
        sent = self.transport.request("POST", "/api/inference/", form=form, timeout=PREDICTION_SECONDS)
        return prediction(decoded(sent, InferenceAnswer))

    # Trainings

    def plan_schema(self) -> dict[str, Any]:  # Any: a JSON Schema document
        """The JSON Schema of plans, as this server reads them."""
        return self._call("GET", "/api/plans/schema/", into=dict[str, Any])  # Any: as above

    def trainings(self) -> list[Training]:
        """The trainings the caller steers or takes part in; superusers see all."""
        return self._call("GET", "/api/users/trainings/", into=list[Training])

    def create_training(self, training: TrainingCreate) -> TrainingCreated:
        """Make a training; it begins with `start`."""

        def send(key: Mapping[str, str]) -> TrainingCreated:
            return self._call("POST", "/api/trainings/", body=training, headers=key, into=TrainingCreated)

        return made_once(send)

    def training(self, training: str, *, wait: float = 0, revision: int | None = None) -> TrainingDetail:
        """A training's record; with `wait` and `revision`, once that is another one, or after `wait` seconds."""
        params: dict[str, float | int] = {}
        if wait and revision is not None:
            params = {"wait": wait, "revision": revision}
        path = f"/api/trainings/{_part(training)}/"
        return self._call("GET", path, params=params, into=TrainingDetail, timeout=wait + WAIT_MARGIN)

    def delete_training(self, training: str) -> Detail:
        """Delete a training with its rounds; its model stays."""
        return self._call("DELETE", f"/api/trainings/{_part(training)}/", into=Detail)

    def start(self, training: str) -> Detail:
        """INITIAL → ONGOING."""
        return self._act(training, "start")

    def pause(self, training: str) -> Detail:
        """ONGOING → PAUSED."""
        return self._act(training, "pause")

    def resume(self, training: str) -> Detail:
        """PAUSED, or ERROR whose reason was mended, → ONGOING."""
        return self._act(training, "resume")

    def cancel(self, training: str) -> Detail:
        """End a training for good; what it has learned stays."""
        return self._act(training, "cancel")

    def _act(self, training: str, action: str) -> Detail:
        return self._call("POST", f"/api/trainings/{_part(training)}/{action}/", into=Detail)

    def add_clients(self, training: str, clients: Sequence[str]) -> Detail:
        """Add participants by user id or user name; they take part from the next round on."""
        return self._clients("PUT", training, clients)

    def remove_clients(self, training: str, clients: Sequence[str]) -> Detail:
        """Remove participants by user id or user name."""
        return self._clients("DELETE", training, clients)

    def leave(self, training: str) -> None:
        """Take part in it no more, at once; nothing if one has left already."""
        self._call("POST", f"/api/trainings/{_part(training)}/leave/")

    def _clients(self, method: str, training: str, clients: Sequence[str]) -> Detail:
        body = ClientList(clients=list(clients))
        return self._call(method, f"/api/trainings/{_part(training)}/clients/", body=body, into=Detail)

    def rounds(self, training: str) -> list[Round]:
        """All attempts at all rounds, oldest first, without their tasks."""
        return self._call("GET", f"/api/trainings/{_part(training)}/rounds/", into=list[Round])

    def round(self, training: str, number: int) -> Round:
        """The newest attempt at a round, with its tasks."""
        return self._call("GET", f"/api/trainings/{_part(training)}/rounds/{number}/", into=Round)

    def metrics(self, training: str) -> list[RoundMetrics]:
        """The metrics of every round, over its clients."""
        return self._call("GET", f"/api/trainings/{_part(training)}/metrics/", into=list[RoundMetrics])


def _readable(source: Path) -> IO[bytes]:
    try:
        return source.open("rb")
    except OSError as error:
        raise UsageError(f"the model file {source} cannot be read: {error.strerror}") from error


def params_path(model: str, number: int) -> str:
    """Where a version's bytes are."""
    return f"/api/models/{_part(model)}/versions/{number}/params/"


def _part(text: str) -> str:
    """One part of a path, whatever a person typed: "../users" stays one part, and is not found."""
    return quote(text, safe="")
