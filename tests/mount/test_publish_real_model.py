"""A real model, published with `cp -r` and a line of notes; read by others, byte for byte."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from clients.official import Official, files_of
from mounting import Mounted
from published import held, settled
from serving import Served, own_environ

pytestmark = pytest.mark.clients

ROOT = Path(__file__).parents[2]
VERSION = "alice/all-minilm-l6-v2/pytorch/base/1"
NOTES = "as it is on PyPI"
Mount = Callable[..., Mounted]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model."""
    if not list((ROOT / ".demo/wheel").glob("*.whl")):
        pytest.skip("no model in .demo: run scripts/model")
    folder = tmp_path_factory.mktemp("original") / "model"
    subprocess.run([ROOT / "scripts/model", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def writer(
    original: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Mounted, Served]]:
    """A mount that the model was published through, and the registry it was published to."""
    folder = tmp_path_factory.mktemp("writer")
    with ExitStack() as stack:
        served = stack.enter_context(Served(folder / "registry"))
        spec = f"kaggle+{served.url}"
        mount = stack.enter_context(Mounted(folder, spec, token=served.token))
        draft = mount.path / VERSION
        script = f"mkdir -p {draft.parent}; cp -r {original} {draft}; echo {NOTES} > {draft}/NOTES"
        subprocess.run(
            ["sh", "-ec", script], check=True, env=own_environ(folder / "home"), timeout=100
        )
        settled(draft)
        yield mount, served


def test_the_registry_holds_what_was_copied(writer: tuple[Mounted, Served], original: Path) -> None:
    with held(writer[1].directory) as holdings:
        assert files_of(original) == holdings.files(VERSION)
        assert NOTES == holdings.notes(VERSION)
        assert holdings.metadata("alice/all-minilm-l6-v2")["isPrivate"]


def test_the_publisher_downloads_nothing_back(
    writer: tuple[Mounted, Served], original: Path
) -> None:
    mount, served = writer
    before = served.stats()["bytes_served"]
    assert files_of(original) == without_notes(files_of(mount.path / VERSION))
    assert served.stats()["bytes_served"] - before < 1 << 20


def test_another_mount_reads_the_same(
    writer: tuple[Mounted, Served], original: Path, mounted: Mount
) -> None:
    mount = mounted(writer[1], name="reader")
    assert files_of(original) == without_notes(files_of(mount.path / VERSION))
    assert NOTES == (mount.path / VERSION / "NOTES").read_text().strip()


def test_the_official_client_downloads_the_same(
    writer: tuple[Mounted, Served], original: Path, tmp_path: Path
) -> None:
    served = writer[1]
    alice = Official("current", served.url, tmp_path / "home", served.user, served.token)
    folder = alice.download("alice/all-minilm-l6-v2/pyTorch/base/1")
    assert files_of(original) == files_of(folder)


def test_only_a_name_changes_hands_when_content_is_published_again(
    writer: tuple[Mounted, Served], original: Path
) -> None:
    """The second version is the first with one file more: a copy through the mount itself."""
    mount, served = writer
    first = mount.path / VERSION
    script = f"cp -r {first} {first.parent}/2; cd {first.parent}/2; chmod -R u+w .; echo x > more"
    notes = f"(echo again > {first.parent}/2/NOTES)"
    environ = own_environ(mount.path.parent / "home")
    for words in (script, notes):
        subprocess.run(["sh", "-ec", words], check=True, env=environ, timeout=100)
    settled(first.parent / "2")
    with held(served.directory) as holdings:
        assert files_of(original) | {"more": b"x\n"} == holdings.files(f"{VERSION[:-1]}2")
    assert "2" == os.readlink(first.parent / "latest")


def without_notes(files: dict[str, bytes]) -> dict[str, bytes]:
    """A version's notes are a file in the tree, which the original does not have."""
    return {path: content for path, content in files.items() if path != "NOTES"}
