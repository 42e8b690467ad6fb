"""Which names may be made where in the local part of a tree. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from modelfs.errors import InvalidName
from modelfs.fs.tree import LATEST
from modelfs.model import NOTES, RESERVED
from modelfs.refs import Ref, is_never_a_slug, name_fault


def check(ref: Ref) -> None:
    """Raises InvalidName for what no directory above the files can be called."""
    if fault := name_fault(ref.name):
        raise InvalidName(f"not a name, {fault}: {ref.name!r}")
    if is_never_a_slug(ref.name):
        raise InvalidName(f"no registry takes such a name: {ref.name!r}")


def check_draft(ref: Ref, published: Callable[[], Iterable[str]]) -> None:
    """Raises InvalidName for what no draft can be called, beside what is `published`."""
    if ref.name == LATEST:
        raise InvalidName("latest is always the highest version; choose another name")
    if not ref.name.isdecimal():
        return
    following = max((int(name) for name in published() if name.isdecimal()), default=0) + 1
    if ref.name != str(following):
        raise InvalidName(
            f"the next version of {ref.parent} is {following}, not {ref.name}: the registry"
            " numbers versions; make that one, or a directory with any other name"
        )


def check_file(path: str, *, is_in_draft: bool) -> None:
    """Raises InvalidName for what no file can be called."""
    if is_in_draft and path.split("/", 1)[0] == RESERVED:
        raise InvalidName(f"the name {RESERVED} is ours")
    if not is_in_draft and path == NOTES:
        raise InvalidName("NOTES belong in the directory of a version, not beside it")
    if fault := name_fault(path.rpartition("/")[2]):
        raise InvalidName(f"not a name, {fault}")


def is_of_version(name: str) -> bool:
    """True for what only versions are called, which are directories."""
    return name.isdecimal() or name == LATEST
