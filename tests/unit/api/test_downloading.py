"""Versions into directories, and into the cache."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelfs.api import Client, Progress
from modelfs.errors import Corrupt, NotFound, WrongState
from sims import faults
from sims.content import BERT, MOMENT, NAMES, PAGED
from sims.kaggle import Kaggle
from sims.raw import Request, Script

BASE = "alice/bert/pytorch/base"
FIRST = BERT.instances[0].versions[0].files


def tree(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_version_is_downloaded_whole(client: Client, tmp_path: Path) -> None:
    target = tmp_path / "new" / "target"
    paths = client.download(f"{BASE}/1", target)
    assert FIRST == tree(target)
    assert sorted(FIRST) == [path.name for path in paths]
    assert MOMENT == paths[0].stat().st_mtime


@pytest.mark.parametrize(
    ("instance", "version"), [("alice/names/pytorch/odd", NAMES), ("alice/paged/jax/files", PAGED)]
)
def test_any_names_and_many_files_are_downloaded(
    client: Client, tmp_path: Path, instance: str, version: object
) -> None:
    client.download(instance, tmp_path / "t")
    assert version.instances[0].versions[-1].files == tree(tmp_path / "t")  # type: ignore[attr-defined]


def test_files_are_chosen_by_path_and_by_pattern(client: Client, tmp_path: Path) -> None:
    client.download(f"{BASE}/1", tmp_path / "a", files=["config.json"])
    assert ["config.json"] == list(tree(tmp_path / "a"))
    client.download("alice/names/pytorch/odd/1", tmp_path / "b", patterns=["deep/*", "*.hidden"])
    assert [".hidden", "deep/a/b/c/d/e/f.txt"] == sorted(tree(tmp_path / "b"))
    client.download(f"{BASE}/1", tmp_path / "d", patterns="*.json")  # one, not its letters
    assert ["config.json"] == list(tree(tmp_path / "d"))
    for wrong in ({"files": ["nothing"]}, {"patterns": ["*.nothing"]}):
        with pytest.raises(NotFound):
            client.download(f"{BASE}/1", tmp_path / "c", **wrong)  # type: ignore[arg-type]


def test_a_right_file_stays_and_a_wrong_one_of_its_name_and_size_does_not(
    client: Client, tmp_path: Path
) -> None:
    right, wrong = client.download(f"{BASE}/1", tmp_path / "t")
    os.utime(right, (1, 1))
    wrong.write_bytes(bytes(len(FIRST[wrong.name])))
    os.utime(wrong, (1e10, 1e10))
    client.download(f"{BASE}/1", tmp_path / "t")
    assert FIRST == tree(tmp_path / "t")
    assert 1 == right.stat().st_mtime
    client.download(f"{BASE}/1", tmp_path / "t", is_forced=True)
    assert MOMENT == right.stat().st_mtime


def test_another_version_goes_over_the_one_before(client: Client, tmp_path: Path) -> None:
    for number in (3, 1):
        client.download(f"{BASE}/{number}", tmp_path / "t")
    assert FIRST["config.json"] == (tmp_path / "t/config.json").read_bytes()


def test_a_file_is_the_callers_own(client: Client, tmp_path: Path) -> None:
    path = client.download(f"{BASE}/1", tmp_path / "t", files=["weights.bin"])[0]
    path.write_bytes(b"mine")
    (again,) = client.download(f"{BASE}/1", tmp_path / "u", files=["weights.bin"])
    assert FIRST["weights.bin"] == again.read_bytes()
    assert 1 == again.stat().st_nlink


def test_a_file_can_be_the_caches(client: Client, tmp_path: Path) -> None:
    (path,) = client.download(f"{BASE}/1", tmp_path / "t", files=["weights.bin"], link=True)
    assert FIRST["weights.bin"] == path.read_bytes()
    assert 1 < path.stat().st_nlink


@pytest.mark.parametrize("kind", ["link", "directory", "parent"])
def test_nothing_is_written_through_what_is_in_the_way(
    client: Client, tmp_path: Path, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = tmp_path / "t"
    target.mkdir()
    version = "alice/names/pytorch/odd/1"
    if kind == "parent":
        (target / "deep").symlink_to(elsewhere)
        wanted = "deep/a/b/c/d/e/f.txt"
    elif kind == "link":
        (target / ".hidden").symlink_to(elsewhere / "f")
        wanted = ".hidden"
    else:
        (target / ".hidden").mkdir()
        wanted = ".hidden"
    for is_forced in (False, True):
        with pytest.raises(WrongState):
            client.download(version, target, files=[wanted], is_forced=is_forced)
    assert [] == list(elsewhere.iterdir())


@pytest.mark.parametrize("name", ["../escaped", "/etc/escaped", "a/../../escaped", "a\x00b"])
def test_names_that_lead_elsewhere_are_refused(
    simulated: Kaggle, make_client: Callable[..., Client], tmp_path: Path, name: str
) -> None:
    simulated.listed_besides = {"bert": [{"name": name, "size": 1}]}
    with pytest.raises(Corrupt):
        make_client(f"kaggle+{simulated.url}").download(f"{BASE}/1", tmp_path / "t")
    assert [] == [path for path in tmp_path.rglob("*") if "escaped" in path.name]


def test_progress_is_told_in_order_up_to_all(client: Client, tmp_path: Path) -> None:
    told: list[Progress] = []
    client.download(f"{BASE}/1", tmp_path / "t", progress=told.append)
    size = sum(map(len, FIRST.values()))
    last = told[-1]
    assert (2, 2, size, size) == (last.files, last.files_done, last.bytes, last.bytes_done)
    done = [each.bytes_done for each in told]
    assert sorted(done) == done


def test_what_a_caller_raises_ends_the_transfer(client: Client, tmp_path: Path) -> None:
    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.download(f"{BASE}/1", tmp_path / "t", progress=stop)


def test_warming_twice_downloads_once(
    simulated: Kaggle, make_client: Callable[..., Client], tmp_path: Path
) -> None:
    client = make_client(f"kaggle+{simulated.url}")
    client.warm([f"{BASE}/1", f"{BASE}/2/config.json"])
    asked = simulated.calls()["GET"]
    client.warm(f"{BASE}/1")
    client.download(f"{BASE}/1", tmp_path / "t")
    assert FIRST == tree(tmp_path / "t")
    assert asked == simulated.calls()["GET"]
    with pytest.raises(NotFound):
        client.warm(f"{BASE}/1/nothing")


def test_nothing_half_is_there_after_a_failure_and_the_next_call_goes_on(
    simulated: Kaggle, make_client: Callable[..., Client], tmp_path: Path
) -> None:
    client = make_client(f"kaggle+{simulated.url}")
    simulated.storage = faults.LASTING["another range"]
    with pytest.raises(Corrupt):
        client.download(f"{BASE}/1", tmp_path / "t")
    assert {} == tree(tmp_path / "t")
    simulated.storage = faults.good
    client.download(f"{BASE}/1", tmp_path / "t")
    assert FIRST == tree(tmp_path / "t")


def test_wrong_bytes_never_get_a_name(
    simulated: Kaggle, make_client: Callable[..., Client], tmp_path: Path
) -> None:
    def wrong(request: Request, content: bytes) -> Script:
        head, _, body = faults.good(request, content)[0].partition(b"\r\n\r\n")
        return [head + b"\r\n\r\n" + bytes(len(body))]

    simulated.storage = wrong
    with pytest.raises(Corrupt):
        make_client(f"kaggle+{simulated.url}").download(
            f"{BASE}/1", tmp_path / "t", files=["weights.bin"]
        )
    assert {} == tree(tmp_path / "t")


def test_a_cache_without_room_is_passed_by(
    planted: Path, make_client: Callable[..., Client], tmp_path: Path
) -> None:
    small = make_client(f"local:{planted}", cache_size=4096)
    small.download(f"{BASE}/1", tmp_path / "t")
    assert FIRST == tree(tmp_path / "t")
