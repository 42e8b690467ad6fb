"""Names of models, instances and versions as people type them, checked before anybody is asked."""

from __future__ import annotations

import re
from typing import Any

import click
from click.shell_completion import CompletionItem

from modelfs.errors import InvalidName
from modelfs.refs import Ref
from modelfs.registry import frameworks

_FORMS = {
    2: ("model", "owner/model"),
    4: ("model instance", "owner/model/framework/instance"),
    5: ("version of a model instance", "owner/model/framework/instance/version"),
}
# Nine digits are what a 32-bit number holds for certain.
_NUMBER = re.compile(r"0*([1-9][0-9]{0,8})")


class Slug(click.ParamType[Ref]):
    """A ref of `depth` parts; a model may also be named alone, and is then one's own."""

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self.name = _FORMS[depth][1]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Ref:
        return value if isinstance(value, Ref) else parsed(value, self._depth)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from modelfs.cli import completion

        return completion.names(ctx, incomplete, self._depth)


def parsed(text: str, depth: int) -> Ref:
    """The ref of `depth` parts that `text` names; InvalidName, saying the right form, if none."""
    noun, form = _FORMS[depth]
    # A shell's completion leaves a slash at the end.
    parts = text.removesuffix("/").split("/")
    if len(parts) != depth and not (depth == 2 and len(parts) == 1):
        raise InvalidName(f"not a {noun}: {text!r}", hint=f"write it as {form}")
    ref = Ref.parse("/".join(parts)) if all(parts) else Ref()
    if ref.depth != len(parts):
        raise InvalidName(f"not a {noun}, a part is empty: {text!r}", hint=f"write it as {form}")
    if depth > 2:
        frameworks.parse(parts[2])
    if depth == 5:
        number = _NUMBER.fullmatch(parts[4])
        if not number:
            raise InvalidName(f"not the number of a version: {parts[4]!r}")
        return ref.parent.child(number[1])
    return ref
