"""Run by both interpreters: what a package of WriftAI's interface looks like, as JSON.

Every class of the modules that `modelfs.wriftai` has too: the keys of dictionaries with their
types, the members of enumerations, the names and defaults of methods' parameters.
"""

from __future__ import annotations

import enum
import importlib
import inspect
import json
import sys
import typing

MODULES = (
    "authenticated_user",
    "common_types",
    "model_versions",
    "models",
    "pagination",
    "users",
)


def _shape(found: type, package: str) -> dict[str, object]:
    if typing.is_typeddict(found):
        hints = typing.get_type_hints(found, include_extras=True)
        return {key: str(kind).replace(f"{package}.", "") for key, kind in hints.items()}
    if issubclass(found, enum.Enum):
        return {key: member.value for key, member in found.__members__.items()}
    return {
        name: [
            (parameter.name, parameter.default is inspect.Parameter.empty)
            for parameter in inspect.signature(member).parameters.values()
        ]
        for name, member in vars(found).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def main(package: str) -> None:
    shapes = {}
    for module in MODULES:
        for name, found in vars(importlib.import_module(f"{package}.{module}")).items():
            own = getattr(found, "__module__", "").startswith(package)
            if inspect.isclass(found) and own and not name.startswith("_"):
                shapes[f"{module}.{name}"] = _shape(found, package)
    json.dump(shapes, sys.stdout)


main(sys.argv[1])
