"""In which form an update may be sent, in fewer bytes than the model has.

The server offers a form in the task (`Task.encoding`), and a client that can takes it. It answers by what it sends: a
file in that form says so in its own header, and one that says nothing holds whole params in the model's dtypes, which
every training takes from everybody. So clients of earlier versions go on as they were.
"""

from typing import Annotated, Literal

from msgspec import Meta

from hansa.protocol.base import Answer

Content = Literal["params", "difference"]
Width = Literal["as_model", "float32", "float16", "bfloat16"]
Pattern = Annotated[str, Meta(min_length=1, max_length=512)]
"""The name of a param, or what stands for several: `*` for any characters, `?` for one, `[ab]` for one of these."""


class Encoding(Answer, frozen=True):
    """A form for updates. Buffers, and arrays of integers, are sent as they are in every one."""

    content: Content = "params"
    """difference: the params minus those that the task begins from."""
    dtype: Width = "as_model"
    """Of float params, unless the model's own is as narrow."""
    params: list[Pattern] | None = None
    """Which are sent; the others are taken as not trained. None: all."""
