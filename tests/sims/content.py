"""What is in a registry of tests: plain values, and a sample that has one of everything."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

if TYPE_CHECKING:
    from modelfs.registry.local import Store

# When everything was published. Long ago, so that nothing is still settling.
MOMENT = 1_700_000_000.0


@dataclass(frozen=True)
class Version:
    files: Mapping[str, bytes]
    notes: str = ""


@dataclass(frozen=True)
class Instance:
    framework: str
    slug: str
    versions: Sequence[Version]
    overview: str = ""
    usage: str = ""
    license: str = "Apache 2.0"


@dataclass(frozen=True)
class Model:
    owner: str
    slug: str
    instances: Sequence[Instance] = ()
    title: str = "A model"
    subtitle: str = ""
    description: str = ""
    is_private: bool = False


def _many(count: int) -> Version:
    return Version({f"part-{n:05}.bin": f"{count} {n}".encode() for n in range(count)})


_BYTES = random.Random(0).randbytes(1 << 20)

ODD_NAMES = (
    "with space.txt",
    "grüße/模型 🤗.bin",
    "plus+percent%41&equals=question?.txt",
    "quote'\"\\back.txt",
    ".hidden",
    "deep/a/b/c/d/e/f.txt",
    "x" * 255,
    "é" * 127,
)

BERT = Model(
    "alice",
    "bert",
    (
        Instance(
            "pytorch",
            "base",
            (
                Version({"config.json": b'{"layers": 2}', "weights.bin": _BYTES}, "the first"),
                Version({"config.json": b'{"layers": 4}', "empty": b""}, "four layers\n"),
                Version({"config.json": b'{"code": 404}', "NOTES.txt": b"x"}, "größer"),
            ),
            overview="An overview: größer",
            usage="load it",
            license="MIT",
        ),
        Instance("pytorch", "large", (Version({"a": b"a"}),)),
        Instance("pytorch", "small", (Version({"a": b"b"}),)),
        Instance("tensorflow2", "base", (Version({"a": b"c"}),)),
        Instance("jax", "base", (Version({"a": b"d"}),)),
    ),
    title="BERT, größer",
    subtitle="of tests",
    description="# What\n\nit is",
    is_private=False,
)

NAMES = Model(
    "alice",
    "names",
    (
        Instance(
            "pytorch",
            "odd",
            (Version({name: name.encode() for name in ODD_NAMES}, "odd names"),),
        ),
    ),
)

PAGED = Model(
    "alice",
    "paged",
    (
        Instance("jax", "files", (_many(26), _many(51), _many(501))),
        Instance("jax", "versions", tuple(Version({"n": b"%d" % n}) for n in range(1, 13))),
    ),
)

_ONE = Instance("other", "it", (Version({"f": b"f"}),))

SAMPLE = (
    BERT,
    NAMES,
    PAGED,
    *(
        Model("alice", f"more-{n}", (Instance("other", "it", (Version({"f": b"f"}),)),))
        for n in "abcd"
    ),
    Model("bob-b", "single", (Instance("keras", "it", (Version({"f": b"f"}, "bob's"),)),)),
)


def plant(directory: Path, models: Sequence[Model] = SAMPLE) -> None:
    """Put `models` into a directory of the embedded registry, past every wire."""
    from modelfs.registry.local import Store

    store = Store(directory, clock=lambda: MOMENT)
    # Nobody pulls the plug while a test is prepared: waiting for the disk took most of the time.
    with mock.patch("os.fsync"):
        _fill(store, models)


def _fill(store: Store, models: Sequence[Model]) -> None:
    store.start()
    try:
        for model in models:
            store.create_model(
                model.owner,
                model.slug,
                title=model.title,
                subtitle=model.subtitle,
                description=model.description,
                is_private=model.is_private,
            )
            for instance in model.instances:
                _plant_instance(store, model, instance)
    finally:
        store.stop()


def add_version(directory: Path, instance: str, version: Version) -> None:
    """Publish one more version of `owner/model/framework/instance`, now."""
    from modelfs.registry.local import Store

    store = Store(directory)
    store.start()
    try:
        bundle = _bundle(store, version.files)
        store.create_version(*instance.split("/"), bundle=bundle, notes=version.notes)  # type: ignore[call-arg, arg-type]
    finally:
        store.stop()


def _plant_instance(store: object, model: Model, instance: Instance) -> None:
    name = (model.owner, model.slug, instance.framework, instance.slug)
    first, *rest = instance.versions
    store.create_instance(  # type: ignore[attr-defined]
        *name,
        bundle=_bundle(store, first.files),
        notes=first.notes,
        fields={
            "overview": instance.overview,
            "usage": instance.usage,
            "license_name": instance.license,
            "fine_tunable": True,
            "training_data": ("some/data",),
            "instance_type": "BASE_MODEL",
        },
    )
    for version in rest:
        bundle = _bundle(store, version.files)
        store.create_version(*name, bundle=bundle, notes=version.notes)  # type: ignore[attr-defined]


def _bundle(store: object, files: Mapping[str, bytes], name: str = "") -> object:
    """The tree of `files`, uploaded."""
    from modelfs.registry.local import Bundle, UploadedDirectory, UploadedFile

    here = [
        UploadedFile(_upload(store, path, content))
        for path, content in files.items()
        if "/" not in path
    ]
    below: dict[str, dict[str, bytes]] = {}
    for path, content in files.items():
        top, separator, rest = path.partition("/")
        if separator:
            below.setdefault(top, {})[rest] = content
    directories = []
    for top, inner in below.items():
        bundle = _bundle(store, inner)
        directories.append(UploadedDirectory(top, bundle.files, bundle.directories))  # type: ignore[attr-defined]
    return Bundle(tuple(here), tuple(directories))


def _upload(store: object, name: str, content: bytes) -> str:
    uploads = store.uploads  # type: ignore[attr-defined]
    token = uploads.begin(name, len(content), MOMENT, "alice").token
    with uploads.open(token, 0) as writer:
        if content:
            writer.write(content)
        writer.finish()
    return str(token)
