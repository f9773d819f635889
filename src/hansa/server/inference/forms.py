"""How the OpenAPI document describes the form of a question."""

from typing import Any, get_args

from hansa.protocol import inference as wire

# Any: parts of a JSON schema
INFERENCE_FORM: dict[str, Any] = {
    "multipart/form-data": {
        "type": "object",
        "required": ["model_id", "model_input"],
        "additionalProperties": False,
        "properties": {
            "model_id": {"type": "string", "format": "uuid"},
            "model_input": {
                "type": "array",
                "items": {"type": "string", "format": "binary"},
                "minItems": 1,
                "maxItems": wire.MAX_PARTS,
                "description": "A file, or text; several are a batch.",
            },
            "return_format": {"type": "string", "enum": ["json", "binary"], "default": "binary"},
            "version": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
            "uncertainty": {"type": "string", "description": "`UncertaintyWish`, as JSON."},
            "level": {"type": "number", "minimum": 0.5, "maximum": 0.999},
            "seed": {"type": "integer", "minimum": 0, "maximum": wire.MAX_SEED},
            "dtype": {"type": "string", "enum": [*get_args(wire.Dtype)]},
        },
    }
}
