"""`owner/name` and `owner/name:number`, read before any address is made of them. Pure."""

from __future__ import annotations

from modelfs.errors import InvalidName
from modelfs.refs import Ref
from modelfs.registry.wriftai_calls import is_name, is_number

_EITHER = "Identifier must be in either owner/name or owner/name:version-number format."
_MODEL = "Model Identifier must be in owner/name format."
_VERSION = "Model Version Identifier must be in owner/name:version-number format."


class InvalidIdentifier(InvalidName, ValueError):
    """Not the identifier of a model or a version; also a ValueError, as for the official client."""


def model(identifier: str) -> Ref:
    """The model that `owner/name` names."""
    parts = _parsed(identifier)
    if len(parts) != 2:
        raise InvalidIdentifier(_MODEL)
    return Ref(parts)


def version(identifier: str) -> Ref:
    """The version that `owner/name:number` names."""
    parts = _parsed(identifier)
    if len(parts) != 3 or not is_number(parts[2]):
        raise InvalidIdentifier(_VERSION)
    return Ref(parts)


def _parsed(identifier: str) -> tuple[str, ...]:
    if not isinstance(identifier, str):
        raise InvalidIdentifier(_EITHER)
    owner, _, rest = identifier.partition("/")
    name, colon, number = rest.partition(":")
    if not is_name(owner) or not is_name(name) or (colon and not number):
        raise InvalidIdentifier(_EITHER)
    return (owner, name, number) if colon else (owner, name)
