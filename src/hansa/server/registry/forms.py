"""How the OpenAPI document describes the forms of models."""

from typing import Any

from hansa.protocol import models as wire

_FILE = {"type": "string", "format": "binary"}
_TEXTS = {"type": "array", "items": {"type": "string"}}

PREPROCESSING = {
    **_FILE,
    "description": "A module that prepares the model's input: TorchScript, or saved by torch.save. It is not run here.",
}

# Any: parts of a JSON schema
MODEL_FORM: dict[str, Any] = {
    "multipart/form-data": {
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 256},
            "description": {"type": "string"},
            "type": {"type": "string", "description": "GLOBAL, SWAG or MEAN, in any case."},
            "round": {"type": "integer", "minimum": 0},
            "input_shape": {**_TEXTS, "description": "One field per dimension; None or null where it is free."},
            "model_file": {
                **_FILE,
                "description": "What torch saved (a script, a module, a state dict), or safetensors; none of a mean.",
            },
            "model_preprocessing_file": PREPROCESSING,
            "buffers": {
                **_TEXTS,
                "description": "Names of arrays that are buffers; left out: as the file itself says, else none.",
            },
            "models": {**_TEXTS, "description": "Of a mean: the ids of its members."},
        },
    }
}

PREPROCESSING_FORM: dict[str, Any] = {
    "multipart/form-data": {
        "type": "object",
        "required": ["model_preprocessing_file"],
        "properties": {"model_preprocessing_file": PREPROCESSING},
    }
}

_METRICS = {
    "type": "object",
    "required": ["metric_names", "metric_values"],
    "properties": {
        "metric_names": {**_TEXTS, "maxItems": wire.MAX_POSTED_METRICS},
        "metric_values": {**_TEXTS, "description": "As many as names; what is no finite number is kept as text."},
        "sample_size": {"type": "integer", "minimum": 1, "maximum": wire.MAX_EXAMPLES},
    },
}
METRICS_FORM: dict[str, Any] = {"application/x-www-form-urlencoded": _METRICS, "multipart/form-data": _METRICS}
