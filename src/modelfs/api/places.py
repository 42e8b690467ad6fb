"""What a text of a caller names: a ref, a version, a file of one. No state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from modelfs.errors import Corrupt, InvalidName, NotFound
from modelfs.fs.tree import LATEST
from modelfs.model import Document, File, Manifest
from modelfs.refs import Ref, highest
from modelfs.registry.base import Registry


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file of a version."""

    ref: Ref
    file: File

    def __str__(self) -> str:
        return f"{self.ref}/{self.file.path}"


def ref_of(registry: Registry, text: str | Ref) -> Ref:
    """The ref that `text` names, with the number of the version where it says `latest`."""
    ref = registry.canonical(text if isinstance(text, Ref) else Ref.parse(text))
    depth = registry.traits.depth
    if ref.depth > depth:
        raise InvalidName(f"longer than the name of a version: {ref}")
    if ref.depth == depth and ref.name == LATEST:
        return latest(registry, ref.parent)
    return ref


def version_of(registry: Registry, text: str | Ref) -> Ref:
    """The version that `text` names, or the latest one of what is directly above versions."""
    ref = ref_of(registry, text)
    if ref.depth == registry.traits.depth - 1:
        return latest(registry, ref)
    if not registry.traits.is_version(ref):
        raise InvalidName(f"not the name of a version: {ref}")
    return ref


def instance_of(registry: Registry, text: str | Ref) -> Ref:
    """Where a new version can be that `text` names: what is above versions, or one of them."""
    ref = registry.canonical(text if isinstance(text, Ref) else Ref.parse(text))
    if registry.traits.is_version(ref):
        ref = ref.parent
    if ref.depth != registry.traits.depth - 1:
        raise InvalidName(f"not where a version can be: {ref}")
    return ref


def latest(registry: Registry, ref: Ref) -> Ref:
    """The last version of `ref`."""
    name = highest(entry.name for entry in registry.children(ref))
    if not name:
        raise NotFound(f"no version yet: {ref}")
    return ref.child(name)


def split(registry: Registry, path: str) -> tuple[Ref, str]:
    """A version, and a path in it that may be empty: `owner/…/3/dir/file`."""
    parts = Ref.parse(path).parts
    depth = registry.traits.depth
    return version_of(registry, Ref(parts[:depth])), "/".join(parts[depth:])


def named(registry: Registry, path: str) -> Wanted | Document:
    """The file or document that `path` names; NotFound if there is none."""
    parts = Ref.parse(path).parts
    depth = registry.traits.depth
    if len(parts) > depth:
        ref, name = split(registry, path)
        manifest = registry.manifest(ref)
        for file in manifest.files:
            if file.path == name:
                return Wanted(ref, file)
        documents = manifest.documents
    else:
        ref, name = ref_of(registry, Ref(parts[:-1])), parts[-1] if parts else ""
        documents = registry.documents(ref) if ref.parts else ()
    for document in documents:
        if document.name == name:
            return document
    raise NotFound(f"no such file: {path}")


def chosen(
    version: Ref, manifest: Manifest, files: Iterable[str], patterns: Iterable[str]
) -> list[Wanted]:
    """The files of a version that paths and patterns name, all without both.

    NotFound if a path is not there, or nothing is like the patterns; Corrupt if a name in the
    version cannot be a file's.
    """
    if manifest.rejected:
        first = manifest.rejected[0]
        raise Corrupt(
            f"{version} lists what no directory can hold, {first.path!r:.100}: {first.reason}"
        )
    names = {files} if isinstance(files, str) else set(files)
    likes = (patterns,) if isinstance(patterns, str) else tuple(patterns)
    there = {file.path for file in manifest.files}
    if missing := sorted(names - there):
        raise NotFound(f"no such file: {version}/{missing[0]}")
    fitting = {path for path in there if any(fnmatchcase(path, each) for each in likes)}
    if likes and not fitting:
        raise NotFound(f"no file of {version} is like {', '.join(likes)}")
    wanted = names | fitting if names or likes else there
    return [Wanted(version, file) for file in manifest.files if file.path in wanted]


def under(registry: Registry, path: str | Ref) -> tuple[Wanted, ...]:
    """The files of a version, of a directory in one, or one file."""
    ref, below = split(registry, str(path))
    files = registry.manifest(ref).files
    found = tuple(
        Wanted(ref, file)
        for file in files
        if not below or file.path == below or file.path.startswith(f"{below}/")
    )
    if below and not found:
        raise NotFound(f"no such file: {path}")
    return found


def look_up(registry: Registry, ref: Ref) -> None:
    """Ask for all that is above a version, which is remembered with that."""
    for above in (*ref.ancestors(), ref):
        if above.parts:
            registry.stat(above)
        if registry.traits.documents_of(above) and not registry.traits.is_version(above):
            registry.documents(above)
