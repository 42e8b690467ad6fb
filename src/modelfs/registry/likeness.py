"""Does a registry tell what it was sent? Pure.

It may tell more: values that it filled in. Numbers are not flags, and lists have an order.
"""

from __future__ import annotations

import json


def says(told: bytes, sent: bytes) -> bool:
    """True if a text of the registry says what was sent: as JSON, else by its words."""
    try:
        return holds(json.loads(told), json.loads(sent))
    except (ValueError, RecursionError):
        return told.split() == sent.split()


def holds(told: object, sent: object) -> bool:
    """True if the JSON value `told` holds all of `sent`."""
    if isinstance(told, dict) and isinstance(sent, dict):
        return all(key in told and holds(told[key], value) for key, value in sent.items())
    if isinstance(told, list) and isinstance(sent, list):
        return len(told) == len(sent) and all(map(holds, told, sent))
    return type(told) is type(sent) and told == sent
