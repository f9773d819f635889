"""What kinds of model files there are."""

from enum import StrEnum


class Flavour(StrEnum):
    """How a file holds its arrays."""

    SAFETENSORS = "safetensors"
    SCRIPT = "script"
    """A TorchScript archive, by torch.jit.save."""
    MODULE = "module"
    """A pickled torch.nn.Module, by torch.save."""
    STATE_DICT = "state_dict"
    """A dictionary of tensors, by torch.save."""
    TENSOR = "tensor"
    """One tensor, by torch.save: no model."""
