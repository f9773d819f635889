"""What went wrong, as a stable code for programs and a sentence for people.

Every error answer is `{"detail": ..., "code": ...}`, but for the field errors of a request (400), which are Django REST
framework's map `{"<field>": ["...", ...]}`; what is wrong with the message as a whole stands under `non_field_errors`.
The status says the class of the error, the code what the caller can do about it.
"""

from enum import StrEnum

from hansa.protocol.base import Answer


class ErrorCode(StrEnum):
    """The codes a client may act upon. A server may send others: treat those by their HTTP status."""

    INVALID = "invalid"
    NOT_AUTHENTICATED = "not_authenticated"
    AUTHENTICATION_FAILED = "authentication_failed"
    PERMISSION_DENIED = "permission_denied"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ACCEPTABLE = "not_acceptable"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    TOO_LARGE = "too_large"
    INSUFFICIENT_STORAGE = "insufficient_storage"
    INVITATION_INVALID = "invitation_invalid"
    UNSOUND_PLAN = "unsound_plan"
    WRONG_STATE = "wrong_state"
    ROUND_CLOSED = "round_closed"
    TASK_CLOSED = "task_closed"
    DIGEST_CONFLICT = "digest_conflict"
    DIGEST_MISMATCH = "digest_mismatch"
    UPLOAD_INCOMPLETE = "upload_incomplete"
    UPLOAD_OFFSET = "upload_offset"
    BAD_MODEL_FILE = "bad_model_file"
    SPEC_MISMATCH = "spec_mismatch"
    NOT_FINITE = "not_finite"
    THROTTLED = "throttled"
    IN_USE = "in_use"
    BLOB_DAMAGED = "blob_damaged"
    IN_PROGRESS = "in_progress"
    KEY_REUSED = "key_reused"
    NO_PROGRAM = "no_program"
    IMPOSSIBLE_METHOD = "impossible_method"
    PROGRAM_UNSUPPORTED = "program_unsupported"
    PROGRAM_FAILED = "program_failed"
    LIMIT_EXCEEDED = "limit_exceeded"
    OVERLOADED = "overloaded"
    INFERENCE_UNAVAILABLE = "inference_unavailable"
    DATABASE_AWAY = "database_away"


class ErrorBody(Answer, frozen=True, omit_defaults=True):
    """The body of an answer with a status of 400 or more, field errors excepted."""

    detail: str
    code: str
    limit: str | None = None
    """With `limit_exceeded`, which one; absent otherwise."""
