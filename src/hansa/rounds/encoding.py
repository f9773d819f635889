"""The encoding of a plan: in which form clients may send their updates, and what that does not go together with."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from msgspec import Meta

from hansa.core.params import Kind, ParamSpec
from hansa.formats.encodings import selected
from hansa.formats.layout import shown
from hansa.protocol.encodings import Content, Encoding, Pattern, Width
from hansa.rounds.section import Section, UnsoundPlanError


class EncodingSection(Section, frozen=True):
    """How clients may send their updates, in fewer bytes. A client that cannot sends whole params, as by default."""

    content: Content = "params"
    """difference: the params minus those that the task begins from."""
    dtype: Width = "as_model"
    """Of float params, unless the model's own is as narrow. With the content "difference" what is rounded is what was
    learned; with "params" all of each param, so that small steps are lost."""
    params: Annotated[list[Pattern], Meta(min_length=1, max_length=64)] | None = None
    """Names, or patterns of them (`*`, `?`, `[ab]`), of the params that are sent; the others stay as they are, whatever
    a client does to them. None: all."""


def offered(section: EncodingSection) -> Encoding | None:
    """What tasks tell of it; None where it is as clients send of themselves.

    >>> offered(EncodingSection()), offered(EncodingSection(dtype="float16"))
    (None, Encoding(content='params', dtype='float16', params=None))
    """
    if section == EncodingSection():
        return None
    return Encoding(content=section.content, dtype=section.dtype, params=section.params)


def left_out(params: Sequence[str] | None, spec: ParamSpec) -> frozenset[str]:
    """The params of the model that stay those of the version, whatever a client sends.

    >>> from hansa.core.params import ArraySpec
    >>> body, head = (ArraySpec(name, "float32", (1,), Kind.PARAM) for name in ("body", "head"))
    >>> sorted(left_out(["head*"], ParamSpec((body, head))))
    ['body']
    """
    names = [array.name for array in spec if array.kind is Kind.PARAM]
    return frozenset(names) - selected(names, params)


def check_encoding(section: EncodingSection, *, chained: bool) -> None:
    """Refuse local models that travel and are not whole."""
    if chained and offered(section) is not None:
        raise UnsoundPlanError(
            "plan: encoding is given in a daisy chain, where a client's local model is what the next one begins from "
            "and has to be whole. Leave one of the two out."
        )


def check_encoding_of(section: EncodingSection, spec: ParamSpec, ties: Iterable[Sequence[str]]) -> None:
    """Refuse names of params that this model does not have, or that would tear apart names of one array."""
    if section.params is None:
        return
    names = [array.name for array in spec if array.kind is Kind.PARAM]
    for pattern in section.params:
        if not selected(names, [pattern]):
            raise UnsoundPlanError(
                f"plan: encoding.params has {pattern!r}, and the model has no param of that name; it has "
                f"{shown(names)}. Name some of those, or leave encoding.params out."
            )
    sent = selected(names, section.params)
    for one in ties:
        if torn := sorted(set(one) - sent) if sent & set(one) else []:
            raise UnsoundPlanError(
                f"plan: encoding.params leaves out {shown(torn)}, which is one array in the model with "
                f"{shown(sorted(sent & set(one)))}. Name all of them, or none."
            )
