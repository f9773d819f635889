"""The content-addressed store: bytes are written once under their SHA-256 and never changed."""
