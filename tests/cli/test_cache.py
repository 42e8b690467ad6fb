"""`modelfs cache`, `warm` and `pull`: what is kept, whether it is right, files without a mount."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cli.commands import Shell
from serving import Served
from sims.content import BERT, Instance, Model, Version, plant

BASE = "alice/bert/pytorch/base"
WEIGHTS = BERT.instances[0].versions[0].files["weights.bin"]
# Two versions that share a large file.
SHARED = os.urandom(600_000)
TWINS = Model(
    "alice",
    "twins",
    (Instance("jax", "i", (Version({"big": SHARED}), Version({"big": SHARED, "new": b"new"}))),),
)


@pytest.fixture
def spec(tmp_path: Path) -> str:
    plant(tmp_path / "registry", [BERT, TWINS])
    return f"local:{tmp_path / 'registry'}"


def said(shell: Shell, *words: str | Path, status: int = 0) -> str:
    done = shell.run(*words)
    assert (status, "") == (done.returncode, done.stderr)
    return done.stdout


def listed(shell: Shell, *words: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(said(shell, "cache", "list", "--format", "json", *words))
    return told


def objects(shell: Shell) -> list[Path]:
    return [p for p in (shell.folder / "cache/blocks/objects").rglob("*") if p.is_file()]


# warm


def test_what_is_warm_is_read_without_the_registry(shell: Shell, tmp_path: Path, spec: str) -> None:
    with Served(tmp_path / "registry") as served:
        address, token = f"kaggle+{served.url}", served.token
        for _ in range(2):
            done = shell.run("warm", f"{BASE}/1", "--registry", address, MODELFS_TOKEN=token)
            assert (0, "") == (done.returncode, done.stderr)
            assert "here: 2 files, 1.0 MB\n" == done.stdout
        assert sum(served.stats()["bytes_sent"].values()) < 2 * len(WEIGHTS)
    path = shell.mount(address, "--offline")
    assert WEIGHTS == (path / BASE / "1/weights.bin").read_bytes()


def test_a_directory_a_file_and_a_path_in_a_mount_are_warmed(shell: Shell, spec: str) -> None:
    assert "here: 1 file, 13 B\n" == said(
        shell, "warm", f"{BASE}/1/config.json", "--registry", spec
    )
    path = shell.mount(spec)
    assert "here: 2 files, 13 B\n" == said(shell, "warm", path / BASE / "2")
    assert "here: 1 file, 1.0 MB\n" == said(shell, "warm", path / BASE / "1/weights.bin")


def test_all_that_is_locked_is_warmed_and_stays_readable_offline(shell: Shell, spec: str) -> None:
    said(shell, "lock", f"{BASE}/1", "alice/twins/jax/i", "--registry", spec)
    assert "here: 4 files, 1.6 MB\n" == said(
        shell, "warm", "--lock", "modelfs.lock", "--registry", spec
    )
    path = shell.mount(spec, "--pin", "modelfs.lock", "--offline")
    assert WEIGHTS == (path / BASE / "latest/weights.bin").read_bytes()
    assert SHARED == (path / "alice/twins/jax/i/2/big").read_bytes()


def test_a_lock_that_is_not_true_any_more_is_not_warmed(shell: Shell, spec: str) -> None:
    said(shell, "lock", f"{BASE}/1", "--registry", spec)
    file = shell.folder / "modelfs.lock"
    file.write_text(file.read_text().replace('"size": 13', '"size": 12'))
    done = shell.run("warm", "--lock", file, "--registry", spec)
    assert 1 == done.returncode
    assert "is not what is locked: config.json" in done.stderr


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        ([], 2, "say what to download"),
        (["alice/bert"], 1, "alice/bert"),
        ([f"{BASE}/1/none"], 1, f"no such file: {BASE}/1/none"),
        ([f"{BASE}/1", "--cache-size", "1MB"], 1, "more than the cache may hold: 1.0 MB"),
        (["--lock", "none.lock"], 2, "no such lock file"),
    ],
)
def test_warming_is_refused(
    words: list[str], status: int, part: str, shell: Shell, spec: str
) -> None:
    done = shell.run("warm", *words, "--registry", spec)
    assert status == done.returncode, done.stderr
    assert part in done.stderr
    assert "Traceback" not in done.stderr


# list


def test_the_list_tells_versions_files_and_what_is_here(shell: Shell, spec: str) -> None:
    assert f"{shell.folder / 'cache'}\n" == said(shell, "cache", "dir")
    assert "/elsewhere\n" == said(shell, "cache", "--cache-dir", "/elsewhere", "dir")
    done = shell.run("cache", "list")
    assert (0, "nothing is in the cache\n") == (done.returncode, done.stderr)
    said(shell, "warm", f"{BASE}/1", "alice/twins/jax/i/1", "--registry", spec)
    lines = said(shell, "cache", "list").splitlines()
    assert lines[0].split("  ")[0].strip() == f"{BASE}/1"
    assert "2 of 2 files" in lines[0]
    assert "1.0 MB" in lines[0]
    assert lines[-1].endswith("of 50 GB used")
    files = said(shell, "cache", "list", "--files", BASE).splitlines()
    assert [f"{BASE}/1/config.json", f"{BASE}/1/weights.bin"] == [f.split("  ")[0] for f in files]
    told = listed(shell)
    assert [f"{BASE}/1", "alice/twins/jax/i/1"] == [each["ref"] for each in told["versions"]]
    assert 3 == len(told["contents"])
    assert all(each["bytes"] == each["bytes_here"] for each in told["contents"])


def test_half_of_a_file_is_half_of_it(shell: Shell, spec: str) -> None:
    path = shell.mount(spec)
    with (path / BASE / "1/weights.bin").open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        os.pread(file.fileno(), 10, 0)
    (version,) = listed(shell)["versions"]
    assert 0 < version["bytes_here"] < version["bytes"]
    assert 0 == version["files_here"]


def test_what_no_version_has_is_one_line(shell: Shell, spec: str) -> None:
    said(shell, "warm", f"{BASE}/1", "--registry", spec)
    for path in (shell.folder / "cache/metadata").rglob("manifest.json"):
        path.unlink()
    assert "of no version known here  2 files  1.0 MB" in said(shell, "cache", "list")


# verify


def test_verification_names_what_is_wrong_and_repairs_it(shell: Shell, spec: str) -> None:
    said(shell, "warm", f"{BASE}/1", "--registry", spec)
    assert "checked 2 files, 1.0 MB: all is right\n" == said(shell, "cache", "verify")
    (path,) = [p for p in objects(shell) if p.stat().st_size == len(WEIGHTS)]
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    times = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    text = said(shell, "cache", "verify", "--dry-run", status=1)
    assert text.startswith(f"{BASE}/1/weights.bin: its sha256 is ")
    assert text.endswith("1 file wrong\n")
    text = said(shell, "cache", "verify", status=1)
    assert text.endswith("1 file wrong, which will be downloaded again\n")
    assert "all is right" in said(shell, "cache", "verify")
    mount = shell.mount(spec)
    assert WEIGHTS == (mount / BASE / "1/weights.bin").read_bytes()


def test_verification_looks_at_what_is_remembered_of_versions(shell: Shell, spec: str) -> None:
    said(shell, "warm", f"{BASE}/1", "--registry", spec)
    folder = shell.folder / "cache"
    (path,) = (folder / "metadata").rglob("manifest.json")
    path.write_bytes(path.read_bytes()[:-1])
    text = said(shell, "cache", "verify", status=1)
    assert f"{path.relative_to(folder)}: it is damaged\n" in text
    assert text.endswith("1 file wrong, which will be downloaded again\n")
    assert "all is right" in said(shell, "cache", "verify")


def test_verification_leaves_an_open_file_to_its_reader(shell: Shell, spec: str) -> None:
    mount = shell.mount(spec)
    with (mount / BASE / "1/weights.bin").open("rb") as file:
        assert WEIGHTS == file.read()
        assert "all is right" in said(shell, "cache", "verify")
        file.seek(0)
        assert WEIGHTS == file.read()


# evict, prune, pin


def test_what_is_evicted_is_downloaded_again(shell: Shell, spec: str) -> None:
    said(
        shell, "warm", f"{BASE}/1", "alice/twins/jax/i/1", "alice/twins/jax/i/2", "--registry", spec
    )
    assert "would be dropped" in said(shell, "cache", "evict", "-n", BASE)
    assert "dropped: 2 files, 1.1 MB\n" == said(shell, "cache", "evict", BASE)
    # The big file is another version's too.
    assert said(shell, "cache", "evict", "alice/twins/jax/i/2").startswith("dropped: 1 file")
    assert ["alice/twins/jax/i/1", "alice/twins/jax/i/2"] == [
        each["ref"] for each in listed(shell)["versions"]
    ]
    assert "dropped: 1 file" in said(shell, "cache", "evict", "alice")
    assert [] == objects(shell)
    mount = shell.mount(spec)
    assert WEIGHTS == (mount / BASE / "1/weights.bin").read_bytes()


def test_room_is_made_by_dropping_the_longest_unused(shell: Shell, spec: str) -> None:
    said(shell, "warm", f"{BASE}/1", "alice/twins/jax/i/1", "--registry", spec)
    (old,) = [p for p in objects(shell) if p.stat().st_size == len(WEIGHTS)]
    os.utime(old, ns=(10**18, old.stat().st_mtime_ns))
    assert "dropped: 1 file, 1.0 MB\n" == said(shell, "cache", "evict", "--to", "900kB")
    assert not old.exists()
    assert "dropped: 0 files, 0 B\n" == said(shell, "cache", "evict", "--to", "900kB")


def test_what_is_pinned_or_open_is_not_dropped(shell: Shell, spec: str) -> None:
    said(shell, "warm", f"{BASE}/1", "--pin", "--registry", spec)
    said(shell, "warm", "alice/twins/jax/i/1", "--registry", spec)
    mount = shell.mount(spec)
    with (mount / "alice/twins/jax/i/1/big").open("rb") as file:
        file.read(1)
        done = shell.run("cache", "evict", "--to", "0")
        assert (0, "dropped: 0 files, 0 B\n") == (done.returncode, done.stdout)
        assert "in use, and kept: 1 file\n" == done.stderr
        done = shell.run("cache", "evict", BASE)
        assert "pinned, and kept: 2 files\n" == done.stderr
    assert 0 == shell.run("umount", mount).returncode
    assert "not pinned: 2 files\n" == said(shell, "cache", "unpin", BASE)
    assert "pinned: 1 file\n" == said(shell, "cache", "pin", "alice/twins/jax/i/1")
    done = shell.run("cache", "evict", "--to", "0")
    assert [len(SHARED)] == [path.stat().st_size for path in objects(shell)]


def test_pruning_drops_what_is_old_and_half_or_of_no_version(shell: Shell, spec: str) -> None:
    said(shell, "warm", f"{BASE}/1", "alice/twins/jax/i/1", "--registry", spec)
    assert "dropped: 0 files, 0 B\n" == said(shell, "cache", "prune", "--older-than", "0")
    for path in (shell.folder / "cache/metadata").rglob("manifest.json"):
        if b"twins" in path.read_bytes():
            path.unlink()
    assert "dropped: 0 files, 0 B\n" == said(shell, "cache", "prune")
    (half,) = [p for p in objects(shell) if p.stat().st_size == len(WEIGHTS)]
    half.rename(half.with_name(half.name + ".part"))
    told = said(shell, "cache", "prune", "--older-than", "0")
    assert told.startswith("dropped: 1 file")
    assert len(SHARED) not in [path.stat().st_size for path in objects(shell)]


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["evict"], 2, "REF… or --to"),
        (["evict", "a", "--to", "1"], 2, "REF… or --to"),
        (["evict", "--to", "many"], 2, "not a size"),
        (["evict", BASE], 1, f"nothing of it is in the cache: {BASE}"),
        (["pin", BASE], 1, f"nothing is known of it here: {BASE}"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_a_cache_command_is_refused(words: list[str], status: int, part: str, shell: Shell) -> None:
    done = shell.run("cache", *words)
    assert status == done.returncode
    assert part in done.stderr
    assert "Traceback" not in done.stderr


# pull


def test_files_are_pulled_kept_and_not_overwritten(shell: Shell, spec: str) -> None:
    words = ("pull", f"{BASE}/1", "out", "--registry", spec)
    assert f"{BASE}/1: 2 files, 1.0 MB\n" == said(shell, *words)
    out = shell.folder / "out"
    assert WEIGHTS == (out / "weights.bin").read_bytes()
    before = (out / "weights.bin").stat().st_ino
    (out / "config.json").unlink()
    said(shell, *words)
    assert before == (out / "weights.bin").stat().st_ino
    (out / "config.json").write_text("mine")
    done = shell.run(*words)
    assert 1 == done.returncode
    assert "there already, and not the same: config.json" in done.stderr
    assert "--force" in done.stderr
    assert "mine" == (out / "config.json").read_text()
    said(shell, *words, "--force")
    assert b'{"layers": 2}' == (out / "config.json").read_bytes()
    assert {"config.json", "weights.bin"} == set(os.listdir(out))


def test_pulled_files_may_be_the_caches_own(shell: Shell, spec: str) -> None:
    said(shell, "pull", f"{BASE}/1", "out", "--link", "--registry", spec)
    path = shell.folder / "out/weights.bin"
    assert WEIGHTS == path.read_bytes()
    assert 2 == path.stat().st_nlink
    assert "all is right" in said(shell, "cache", "verify")


def test_the_latest_version_and_one_file_are_pulled(shell: Shell, spec: str) -> None:
    assert f"{BASE}/3: 2 files, 14 B\n" == said(shell, "pull", BASE, "out", "--registry", spec)
    said(shell, "pull", f"{BASE}/1/config.json", "one", "--registry", spec)
    assert ["config.json"] == os.listdir(shell.folder / "one")


@pytest.mark.parametrize(
    "words",
    ["lock", "warm", "pull", "cache", "cache list", "cache verify", "cache prune", "cache evict"],
)
def test_the_help_fits_a_terminal(words: str, shell: Shell) -> None:
    text = said(shell, *words.split(), "--help")
    assert text.startswith(f"Usage: modelfs {words}")
    assert all(len(line) <= 100 for line in text.splitlines())
