"""Preprocessing pipelines: torch modules that come beside a model. They are looked at, and never run here."""

from pathlib import Path
from uuid import UUID

from hansa.formats.archives.pipelinefile import check_pipeline
from hansa.server.accounts.models import User
from hansa.server.blobs.digests import Digests
from hansa.server.blobs.store import digested
from hansa.server.lifecycle.errors import NotFoundError
from hansa.server.registry import selectors
from hansa.server.registry.local_models import LocalModel


def pipeline_of(user: User, model_id: UUID) -> str:
    """The digest of a model's preprocessing, of a local model that of its global one, if that may be seen as well.

    Raises NotFoundError.
    """
    found = selectors.model_or_local(user, model_id)
    model = selectors.model_of(user, found.base_id) if isinstance(found, LocalModel) else found
    if model.preprocessing_id is None:
        raise NotFoundError(
            f"The model {model_id} has no preprocessing. Its owner may give it one: POST to the same path."
        )
    return model.preprocessing_id


def examine(path: Path) -> Digests:
    """Make the file durable, and return its digests. Raises BadModelFileError unless it is a torch module or script."""
    check_pipeline(path)
    return digested(path)
