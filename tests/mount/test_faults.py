"""Registries that break off, lie or go away: right bytes or an error, and no harm for later."""

from __future__ import annotations

import errno
import itertools
import os
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mount.conftest import Mount, Serve, Simulate, spec_of
from mounting import Mounted
from polling import wait_for
from sims import faults
from sims.content import Instance, Model, Version, plant
from sims.kaggle import Kaggle
from sims.raw import Request, Script, head

# Those that stall are in test_stalls.
PASSING = {kind: fault for kind, fault in faults.PASSING.items() if "stall" not in kind}
KINDS = {**PASSING, **faults.LASTING}
_RANDOM = random.Random(8)
FILES = {f"{number:02}": _RANDOM.randbytes(300_000) for number in range(len(KINDS))}
NAMES = dict(zip(KINDS, FILES, strict=True))
MODEL = Model("alice", "faulty", (Instance("other", "it", (Version(FILES),)),))
VERSION = "alice/faulty/other/it/1"
ONE = Model("alice", "one", (Instance("other", "it", (Version({"f": FILES["00"]}),)),))
FILE = "alice/one/other/it/1/f"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kaggle, Mounted]]:
    folder = tmp_path_factory.mktemp("faulty")
    with ExitStack() as stack:
        kaggle = stack.enter_context(Kaggle([MODEL], token="KGAT_test", user="alice"))
        spec, token = spec_of(kaggle)
        yield kaggle, stack.enter_context(Mounted(folder, spec, token=token))


@pytest.mark.parametrize("kind", PASSING)
def test_a_fault_that_passes_is_not_noticed(kind: str, faulty: tuple[Kaggle, Mounted]) -> None:
    kaggle, mount = faulty
    once = itertools.chain([PASSING[kind]], itertools.repeat(faults.good))
    kaggle.storage = lambda request, content: next(once)(request, content)
    assert FILES[NAMES[kind]] == (mount.path / VERSION / NAMES[kind]).read_bytes()


@pytest.mark.parametrize("kind", faults.LASTING)
def test_a_fault_that_lasts_is_an_error_until_it_is_gone(
    kind: str, faulty: tuple[Kaggle, Mounted]
) -> None:
    kaggle, mount = faulty
    path = mount.path / VERSION / NAMES[kind]
    kaggle.storage = faults.LASTING[kind]
    start = time.monotonic()
    with pytest.raises(OSError) as caught:
        path.read_bytes()
    assert caught.value.errno in (errno.EIO, errno.ETIMEDOUT)
    assert time.monotonic() - start < 25
    kaggle.storage = faults.good
    assert FILES[NAMES[kind]] == eventually(path)


def test_wrong_bytes_are_never_given_as_good(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(ONE)
    kaggle.storage = flipped
    mount = mounted(kaggle)
    path = mount.path / FILE
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            path.read_bytes()
        assert errno.EIO == caught.value.errno
    assert ["f"] == os.listdir(path.parent)
    assert "digest" in mount.log or "md5" in mount.log or "crc32c" in mount.log
    kaggle.storage = faults.good
    assert FILES["00"] == eventually(path)


def test_what_turns_out_wrong_is_not_shown_to_the_next_reader(
    simulate: Simulate, mounted: Mount
) -> None:
    kaggle = simulate(ONE)
    kaggle.storage = flipped
    path = mounted(kaggle).path / FILE
    with path.open("rb", buffering=0) as file:
        file.read(4096)  # of a file that nobody has seen to its end
    kaggle.storage = faults.good
    assert FILES["00"] == eventually(path)
    assert FILES["00"] == path.read_bytes()


def flipped(request: Request, content: bytes) -> Script:
    """One bit of each body is another; all that the storage tells of it is true."""
    (answer,) = faults.good(request, content)
    assert isinstance(answer, bytes)
    at = answer.index(b"\r\n\r\n") + 104
    return [answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1 :]]


def test_a_registry_that_fails_now_and_then_is_read_right(
    simulate: Simulate, mounted: Mount
) -> None:
    kaggle = simulate(MODEL)
    kinds = list(PASSING.values())
    chance = random.Random(9)

    def moody(request: Request, content: bytes) -> Script:
        fault = chance.choice(kinds) if chance.random() < 0.3 else faults.good
        return fault(request, content)

    kaggle.storage = moody
    version = mounted(kaggle).path / VERSION
    for name, content in FILES.items():
        assert content == (version / name).read_bytes(), name


def test_what_is_cached_outlives_the_server(serve: Serve, mounted: Mount, tmp_path: Path) -> None:
    plant(tmp_path / "registry", [MODEL, ONE])
    served = serve()
    mount = mounted(served)
    version = mount.path / VERSION
    names = sorted(os.listdir(version))
    assert FILES["00"] == (version / "00").read_bytes()
    os.stat(mount.path / FILE)
    served.stop()

    assert names == sorted(os.listdir(version))
    assert FILES["00"] == (version / "00").read_bytes()
    start = time.monotonic()
    with pytest.raises(OSError) as caught:
        (version / "01").read_bytes()
    assert errno.EIO == caught.value.errno
    assert time.monotonic() - start < 25


def test_a_new_mount_shows_what_is_cached_without_the_server(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    plant(tmp_path / "registry", [ONE])
    served = serve()
    first = mounted(served, name="first")
    assert FILES["00"] == (first.path / FILE).read_bytes()
    first.stop()
    served.stop()
    second = mounted(served, name="second", cache=first.cache)
    assert ["f"] == os.listdir((second.path / FILE).parent)
    assert FILES["00"] == (second.path / FILE).read_bytes()


def test_offline_asks_nobody(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(MODEL)
    first = mounted(kaggle, name="first")
    assert FILES["00"] == (first.path / VERSION / "00").read_bytes()
    names = sorted(os.listdir(first.path / VERSION))
    first.stop()
    kaggle.clear()

    mount = mounted(kaggle, "--offline", name="second", cache=first.cache)
    assert names == sorted(os.listdir(mount.path / VERSION))
    assert FILES["00"] == (mount.path / VERSION / "00").read_bytes()
    start = time.monotonic()
    with pytest.raises(OSError) as caught:
        (mount.path / VERSION / "01").read_bytes()
    assert errno.EIO == caught.value.errno
    with pytest.raises(OSError) as caught:
        os.listdir(mount.path / "alice/unknown")
    assert caught.value.errno in (errno.EIO, errno.ENOENT)
    assert time.monotonic() - start < 15
    assert {} == dict(kaggle.calls())


def test_listings_come_back_with_the_registry(simulate: Simulate, mounted: Mount) -> None:
    kaggle = simulate(ONE)
    mount = mounted(kaggle)
    kaggle.refusal = [head(500, {"Content-Length": "0"})]
    with pytest.raises(OSError) as caught:
        os.listdir(mount.path / "alice/one")
    assert errno.EIO == caught.value.errno
    kaggle.refusal = None
    assert FILES["00"] == eventually(mount.path / FILE)


def eventually(path: Path) -> bytes:
    """The content of `path` as soon as it can be read: after faults a host is given a rest."""

    def attempt() -> bytes:
        try:
            return path.read_bytes()
        except OSError:
            return b""

    return wait_for(attempt, 30)
