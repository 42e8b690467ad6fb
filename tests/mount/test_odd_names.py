"""Names that are hard to show, and listings of registries that mean harm."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mount.conftest import spec_of
from mounting import Mounted
from sims.content import ODD_NAMES, Instance, Model, Version
from sims.kaggle import DATE, Kaggle

GOOD = {"good.bin": b"all is well", "sub/good.txt": b"here too"}


def entry(name: object, size: object = 5) -> dict[str, object]:
    return {"name": name, "size": size, "creationDate": DATE}


# What cannot be shown is told in manifest.json; what is merely odd is listed as it comes.
REJECTED: dict[str, list[dict[str, object]]] = {
    "leaves its version": [entry("../evil")],
    "leaves it further down": [entry("sub/../../evil")],
    "is absolute": [entry("/etc/passwd")],
    "is a dot": [entry(".")],
    "is two dots": [entry("sub/..")],
    "is empty": [entry("")],
    "has an empty part": [entry("a//b")],
    "ends in a slash": [entry("a/")],
    "holds a NUL": [entry("a\0b")],
    "holds a newline": [entry("a\nb")],
    "holds an escape code": [entry("a\x1b[2Jb")],
    "is too long": [entry("x" * 256)],
    "is too long in bytes": [entry("é" * 128)],
    "is a path that is too long": [entry("/".join(["d" * 200] * 30))],
    "is no text": [entry("a\ud800b")],
    "has a negative size": [entry("negative", -1)],
    "is listed twice": [entry("good.bin", 1)],
    "is a file and a directory": [entry("good.bin/below")],
    "is a directory and a file": [entry("sub")],
    "is another form of the same text": [entry("é.txt"), entry("é.txt")],
    "is ours": [entry(".modelfs/status.json")],
}
ODD: dict[str, list[dict[str, object]]] = {
    "reads from right to left": [entry("a\u202egpj.exe")],
    "is Windows' own": [entry("CON"), entry("aux.txt"), entry("a:b"), entry("trailing. ")],
    "differs in case only": [entry("Readme"), entry("README")],
    "looks like an option": [entry("-rf"), entry("--help")],
    "holds what shells expand": [entry("$(reboot)"), entry("*"), entry("~")],
}


NONSENSE: dict[str, list[dict[str, object]]] = {
    "a name of nothing": [entry(None)],
    "a number for a name": [entry(7)],
    "a text for a size": [entry("number", "many")],
    "a broken size": [entry("fraction", 1.5)],
    "a size beyond any file": [entry("huge", 1 << 70)],
    "no name": [{"size": 5}],
    "nothing": [{}],
}
KINDS = {**REJECTED, **ODD, **NONSENSE}
# Kind -> the model whose version lists it.
SLUGS = {kind: f"harm-{number}" for number, kind in enumerate(KINDS)}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """A mount of a registry that lists something of each kind."""
    instance = Instance("other", "it", (Version(GOOD),))
    with ExitStack() as stack:
        models = [Model("alice", slug, (instance,)) for slug in SLUGS.values()]
        kaggle = stack.enter_context(Kaggle(models, token="KGAT_test", user="alice"))
        kaggle.listed_besides = {slug: KINDS[kind] for kind, slug in SLUGS.items()}
        spec, token = spec_of(kaggle)
        folder = tmp_path_factory.mktemp("hostile")
        yield stack.enter_context(Mounted(folder, spec, token=token))


def version_of(mount: Mounted, kind: str) -> Path:
    return mount.path / "alice" / SLUGS[kind] / "other/it/1"


@pytest.mark.parametrize("kind", [*REJECTED, *ODD])
def test_a_listing_stays_listable_when_a_name(kind: str, hostile: Mounted) -> None:
    version = version_of(hostile, kind)
    listed = set(os.listdir(version))
    assert b"all is well" == (version / "good.bin").read_bytes()
    assert b"here too" == (version / "sub/good.txt").read_bytes()
    assert {"good.bin", "sub"} <= listed
    for name in listed:
        os.lstat(version / name)
    manifest = json.loads((version / ".modelfs/manifest.json").read_text())
    if kind in ODD:
        assert {str(item["name"]) for item in ODD[kind]} == listed - {"good.bin", "sub"}
        assert [] == manifest["rejected"]
    else:
        assert 1 == len(manifest["rejected"])
        assert manifest["rejected"][0]["reason"]
    assert not (version.parent / "evil").exists()


@pytest.mark.parametrize("kind", NONSENSE)
def test_nonsense_in_a_listing_ends_in_an_error_or_without_it(kind: str, hostile: Mounted) -> None:
    version = version_of(hostile, kind)
    try:
        listed = os.listdir(version)
    except OSError:
        assert SLUGS[kind] in hostile.log or "WARNING" in hostile.log
    else:
        assert {"good.bin", "sub"} <= set(listed)
        assert b"all is well" == (version / "good.bin").read_bytes()
    assert ["1", "latest", "model-instance-metadata.json"] == sorted(os.listdir(version.parent))
    assert "Traceback" not in hostile.log


def test_odd_names_are_listed_and_read(shown: Mounted) -> None:
    version = shown.path / "alice/names/pytorch/odd/1"
    found = [
        str(Path(directory, name).relative_to(version))
        for directory, _, names in os.walk(version)
        for name in names
    ]
    assert sorted((*ODD_NAMES, "NOTES")) == sorted(found)
    for name in ODD_NAMES:
        assert name.encode() == (version / name).read_bytes()
        assert len(name.encode()) == (version / name).stat().st_size
