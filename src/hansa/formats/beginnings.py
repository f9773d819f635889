"""What an unknown file begins with, as people can read it."""


def beginning(content: bytes) -> str:
    """The text it begins with, or its bytes in hexadecimal where it begins with none.

    >>> beginning(b"%PDF-1.7 "), beginning(b"\\x00\\x01\\xff"), beginning(b"")
    ("'%PDF-1.7 '", 'the bytes 00 01 ff', 'nothing: it is empty')
    """
    if not content:
        return "nothing: it is empty"
    text = content.decode("ascii", errors="replace")
    return repr(text) if text.isprintable() and text.isascii() else f"the bytes {content.hex(' ')}"
