"""`modelfs lock` and `mount --pin`: what is locked is what there is, until it is locked anew."""

from __future__ import annotations

import errno
import json
from contextlib import ExitStack
from pathlib import Path

import pytest

from cli.commands import Shell
from mounting import Mounted
from serving import Served
from sims.content import BERT, Instance, Model, Version, add_version, plant

BASE = "alice/bert/pytorch/base"
BOB = Model("bob", "b", (Instance("jax", "i", (Version({"f": b"bob's"}),)),))


@pytest.fixture
def local(tmp_path: Path) -> Path:
    directory = tmp_path / "registry"
    plant(directory, [BERT])
    return directory


def versions(instance: Path) -> list[str]:
    return sorted(entry.name for entry in instance.iterdir() if not entry.name.endswith(".json"))


def lock(shell: Shell, *words: str | Path) -> dict[str, object]:
    done = shell.run("lock", *words)
    assert (0, "") == (done.returncode, done.stderr)
    value: dict[str, object] = json.loads((shell.folder / "modelfs.lock").read_text())
    return value


def test_a_lock_file_says_what_latest_is_now(shell: Shell, local: Path) -> None:
    done = shell.run("lock", BASE, f"{BASE}/1", "--registry", f"local:{local}")
    assert (0, "modelfs.lock: 2 versions, 4 files, 1.0 MB\n") == (done.returncode, done.stdout)
    text = (shell.folder / "modelfs.lock").read_text()
    (section,) = json.loads(text)["registries"].values()
    assert {BASE: "3"} == section["latest"]
    assert [f"{BASE}/1", f"{BASE}/3"] == list(section["versions"])
    weights = section["versions"][f"{BASE}/1"]["files"]["weights.bin"]
    assert {"size", "sha256", "md5", "crc32c"} == set(weights)
    again = shell.run(
        "lock", f"{BASE}/1", f"{BASE}/latest", "-o", "-", "--registry", f"local:{local}"
    )
    assert text == again.stdout


def test_digests_are_asked_for_where_they_come_with_the_bytes(shell: Shell, local: Path) -> None:
    with Served(local) as served:
        spec = f"kaggle+{served.url}"
        done = shell.run("lock", BASE, "--registry", spec, MODELFS_TOKEN=served.token)
    assert (0, "") == (done.returncode, done.stderr)
    (section,) = json.loads((shell.folder / "modelfs.lock").read_text())["registries"].values()
    for file in section["versions"][f"{BASE}/3"]["files"].values():
        assert "md5" in file


def test_a_pinned_mount_shows_what_is_locked_and_nothing_else(shell: Shell, local: Path) -> None:
    lock(shell, BASE, "--registry", f"local:{local}")
    add_version(local, BASE, Version({"config.json": b"newer"}))
    path = shell.mount(local, "--pin", "modelfs.lock")
    assert ["3", "latest"] == versions(path / BASE)
    assert b'{"code": 404}' == (path / BASE / "latest/config.json").read_bytes()
    assert ["bert"] == [entry.name for entry in (path / "alice").iterdir() if entry.is_dir()]
    for missing in (f"{BASE}/4", f"{BASE}/1", "alice/bert/jax", "bob-b"):
        assert not (path / missing).exists()
    with pytest.raises(OSError, match="Read-only") as caught:
        (path / BASE / "4").mkdir()
    assert errno.EROFS == caught.value.errno


def test_a_mount_without_a_lock_file_makes_it(shell: Shell, local: Path) -> None:
    path = shell.mount(local, "--pin", "mine.lock")
    assert b'{"code": 404}' == (path / BASE / "latest/config.json").read_bytes()
    assert b"a" == (path / "alice/bert/pytorch/large/1/a").read_bytes()
    add_version(local, BASE, Version({"config.json": b"newer"}))
    assert 0 == shell.run("umount", path).returncode
    (section,) = json.loads((shell.folder / "mine.lock").read_text())["registries"].values()
    assert {f"{BASE}/3", "alice/bert/pytorch/large/1"} == set(section["versions"])

    shell.mount(local, "--pin", "mine.lock")
    assert b'{"code": 404}' == (path / BASE / "latest/config.json").read_bytes()
    assert ["base", "large"] == sorted(entry.name for entry in (path / BASE).parent.iterdir())


def test_digests_that_came_with_the_bytes_are_locked(shell: Shell, local: Path) -> None:
    with Served(local) as served:
        spec = f"kaggle+{served.url}"
        path = shell.mount(spec, "--pin", "mine.lock", MODELFS_TOKEN=served.token)
        (path / BASE / "1/weights.bin").read_bytes()
        assert 0 == shell.run("umount", path).returncode
    (section,) = json.loads((shell.folder / "mine.lock").read_text())["registries"].values()
    files = section["versions"][f"{BASE}/1"]["files"]
    assert "md5" in files["weights.bin"]


def test_drift_is_an_error_with_the_reason_in_the_log(shell: Shell, local: Path) -> None:
    lock(shell, f"{BASE}/1", f"{BASE}/2", "--registry", f"local:{local}")
    file = shell.folder / "modelfs.lock"
    file.write_text(
        file.read_text().replace('"config.json": {"size": 13', '"config.json": {"size": 12', 1)
    )
    path = shell.mount(local, "--pin", file)
    with pytest.raises(OSError) as caught:
        (path / BASE / "1/weights.bin").read_bytes()
    assert errno.EIO == caught.value.errno
    assert b'{"layers": 4}' == (path / BASE / "2/config.json").read_bytes()
    assert f"{BASE}/1 is not what is locked: config.json: its size is 13, not 12" in shell.log


def test_wrong_bytes_are_an_error_by_the_locked_digest(shell: Shell, local: Path) -> None:
    with Served(local) as served:
        spec, token = f"kaggle+{served.url}", served.token
        assert (
            0 == shell.run("lock", f"{BASE}/1", "--registry", spec, MODELFS_TOKEN=token).returncode
        )
        file = shell.folder / "modelfs.lock"
        value = json.loads(file.read_text())
        (section,) = value["registries"].values()
        section["versions"][f"{BASE}/1"]["files"]["weights.bin"]["md5"] = "0" * 32
        file.write_text(json.dumps(value))
        path = shell.mount(spec, "--pin", file, MODELFS_TOKEN=token)
        assert b'{"layers": 2}' == (path / BASE / "1/config.json").read_bytes()
        with pytest.raises(OSError) as caught:
            (path / BASE / "1/weights.bin").read_bytes()
        assert errno.EIO == caught.value.errno
        assert 0 == shell.run("umount", path).returncode


def test_pinned_and_offline_needs_no_network_once_it_was_read(shell: Shell, local: Path) -> None:
    with Served(local) as served:
        spec = f"kaggle+{served.url}"
        path = shell.mount(spec, "--pin", "mine.lock", MODELFS_TOKEN=served.token)
        weights = (path / BASE / "1/weights.bin").read_bytes()
        assert 0 == shell.run("umount", path).returncode
    shell.mount(spec, "--pin", "mine.lock", "--offline")
    assert ["1", "latest"] == versions(path / BASE)
    assert weights == (path / BASE / "latest/weights.bin").read_bytes()


def test_several_registries_share_a_lock_file(shell: Shell, local: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    plant(other, [BOB])
    both = ("--registry", f"a=local:{local}", "--registry", f"b=local:{other}")
    lock(shell, f"a/{BASE}", "b/bob/b/jax/i/1", *both)
    path = tmp_path / "mnt"
    assert 0 == shell.run("mount", path, *both, "--pin", "modelfs.lock").returncode
    assert b"bob's" == (path / "b/bob/b/jax/i/latest/f").read_bytes()
    assert ["3", "latest"] == versions(path / "a" / BASE)


def test_two_nodes_record_one_lock_file(local: Path, tmp_path: Path) -> None:
    file = tmp_path / "shared.lock"
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(Mounted(tmp_path / name, f"local:{local}", "--pin", str(file)))
            for name in ("one", "two")
        )
        assert "3" == (one.path / BASE / "latest").readlink().name
        add_version(local, BASE, Version({"config.json": b"newer"}))
        assert "3" == (two.path / BASE / "latest").readlink().name
        (two.path / "alice/bert/jax/base/1/a").read_bytes()
        assert not (two.path / BASE / "4").exists()
    (section,) = json.loads(file.read_text())["registries"].values()
    assert {f"{BASE}/3", "alice/bert/jax/base/1"} == set(section["versions"])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "damaged lock file"),
        ("{}", "not a lock file of modelfs"),
        ('{"modelfs_lock": 9}', "lock file of another modelfs"),
        ('{"modelfs_lock": 1, "registries": {"kaggle": {"latest": {}, "versions": {}}}}', "but of"),
    ],
)
def test_a_mount_is_refused_for_a_bad_lock_file(
    text: str, part: str, shell: Shell, local: Path
) -> None:
    (shell.folder / "bad.lock").write_text(text)
    done = shell.run("mount", "mnt", "--registry", f"local:{local}", "--pin", "bad.lock")
    assert 2 == done.returncode
    assert part in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert text == (shell.folder / "bad.lock").read_text()


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["alice/bert"], 1, "not the name of a version: alice/bert"),
        ([], 2, "REF"),
        ([f"{BASE}/9"], 1, f"{BASE}/9"),
        (["alice/none/jax/i"], 1, "none"),
        ([BASE, "-o", "no/lock"], 1, "no/lock: No such file"),
    ],
)
def test_a_lock_is_refused(
    words: list[str], status: int, part: str, shell: Shell, local: Path
) -> None:
    done = shell.run("lock", *words, "--registry", f"local:{local}")
    assert status == done.returncode
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert not (shell.folder / "modelfs.lock").exists()
