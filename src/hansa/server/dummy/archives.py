"""The dummy's model: torch archives that lie in this package, written by `scripts/dummy_archives.py`."""

from importlib.resources import files

from django.core.files.uploadedfile import TemporaryUploadedFile
from django.http import QueryDict
from django.utils.datastructures import MultiValueDict

from hansa.server.blobs.services import OCTETS
from hansa.server.registry.creation import NewModel
from hansa.server.registry.storing import MODEL_FILE, PREPROCESSING_FILE
from hansa.server.registry.upload import Form

MODEL = NewModel(
    name="Dummy model",
    description="Classifies grey images of 28 x 28 pixels into ten classes; its preprocessing makes them of others.",
    input_shape=(None, 3, 28, 28),
)


def as_form() -> Form:
    """As somebody would have sent them. To be closed."""
    form = Form(QueryDict(), MultiValueDict())
    for field, name in ((MODEL_FILE, "classifier.pt"), (PREPROCESSING_FILE, "preprocessing.pt")):
        content = (files(__package__) / "files" / name).read_bytes()
        file = TemporaryUploadedFile(name, OCTETS, len(content), None)
        form.files.appendlist(field, file)
        file.write(content)
        file.flush()
    return form
