"""What can be wrong with a model file.

    ModelFileError(ValueError)
    ├── BadModelFileError    it cannot be read as a model at all: mend what wrote it
    ├── SpecMismatchError    it is a model, but not this one: train from the version that was sent
    └── NotFiniteError       it is this model, but holds what cannot be averaged, as NaN: mend the training

Each message says what was seen, what is wanted and what to do next; names from a file stand in it quoted and escaped.
"""

from typing import ClassVar


class ModelFileError(ValueError):
    """A model file that cannot be used. `code` is what programs look at."""

    code: ClassVar[str]


class BadModelFileError(ModelFileError):
    """The bytes are not a model file."""

    code = "bad_model_file"


class SpecMismatchError(ModelFileError):
    """The file's arrays are not those of the model."""

    code = "spec_mismatch"


class NotFiniteError(ModelFileError):
    """The file holds a NaN, an infinity, or numbers so large that their mean may be one."""

    code = "not_finite"
