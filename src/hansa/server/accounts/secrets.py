"""How secrets are made and how they are kept.

Tokens and invitation codes are random with 80 bits or more, so one SHA-256 is enough to keep them: there is nothing to
guess from. Looking one up by its digest compares no secret byte by byte.
"""

import hashlib
import secrets

CODE_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U, so that a code can be read over the telephone."""

_LOOKALIKES = str.maketrans("ILO", "110")


def new_token() -> str:
    """40 hex characters (160 random bits)."""
    return secrets.token_hex(20)


def new_code() -> str:
    """An invitation code such as `7QKD-3M0A-9XTB-W2CE` (80 random bits)."""
    letters = [secrets.choice(CODE_ALPHABET) for _ in range(16)]
    return "-".join("".join(letters[i : i + 4]) for i in range(0, 16, 4))


def digest(secret: str) -> str:
    """SHA-256, hex: what the database keeps and looks up."""
    return hashlib.sha256(secret.encode()).hexdigest()


def code_digest(code: str) -> str:
    """The digest of a code as a person types it: any case, with or without dashes and blanks, O for 0."""
    return digest("".join(code.upper().translate(_LOOKALIKES).replace("-", "").split()))
