"""`modelfs://` for programs that use fsspec: listed as a mount is, read lazily, and only read."""

from __future__ import annotations

import csv
import errno
import json
import os
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from safetensors.numpy import load_file, save

from modelfs.filesystem import ModelFileSystem
from modelfs.registry.lockfile import read
from serving import Served
from sims.content import BERT, Instance, Model, Version, add_version, plant

BASE = "alice/bert/pytorch/base"
WEIGHTS = BERT.instances[0].versions[0].files["weights.bin"]
TABLE = b"name,value\na,1\nb,2\n"
TREE = {
    "a.csv": TABLE,
    "deep/b.json": b'{"x": 1}',
    "deep/er/c.bin": bytes(range(256)),
    "empty": b"",
}
TREES = Model("alice", "trees", (Instance("other", "it", (Version(TREE, "the notes"),)),))
IT = "alice/trees/other/it"

Make = Callable[..., ModelFileSystem]


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    directory = tmp_path / "registry"
    plant(directory, [BERT, TREES])
    return directory


@pytest.fixture
def options(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Storage options for the planted registry; every file system is closed at the end."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MODELFS_STATE_DIR", str(tmp_path / "state"))
    yield {"registry": f"local:{planted}", "cache_dir": str(tmp_path / "cache")}
    for filesystem in list(ModelFileSystem._cache.values()):
        filesystem.close()
    ModelFileSystem.clear_instance_cache()


@pytest.fixture
def fs(options: dict[str, str]) -> ModelFileSystem:
    found: ModelFileSystem = fsspec.filesystem("modelfs", **options)
    return found


def test_fsspec_finds_it_and_opens_urls(options: dict[str, str]) -> None:
    with fsspec.open(f"modelfs://{BASE}/1/weights.bin", **options) as file:
        assert WEIGHTS == file.read()
    with fsspec.open(f"modelfs://{IT}/latest/a.csv", "rt", newline="", **options) as file:
        assert [["name", "value"], ["a", "1"], ["b", "2"]] == list(csv.reader(file))
    with fsspec.open(f"modelfs://{IT}/1/deep/b.json", **options) as file:
        assert {"x": 1} == json.load(file)
    fs, path = fsspec.url_to_fs(f"modelfs://{IT}/1", **options)
    assert (IT + "/1", ModelFileSystem) == (path, type(fs))


def test_levels_and_versions_are_directories(fs: ModelFileSystem) -> None:
    assert ["alice"] == fs.ls("", detail=False)
    assert [f"{IT}/model-instance-metadata.json", f"{IT}/1"] == fs.ls(
        f"modelfs://{IT}", detail=False
    )
    names = [f"{IT}/1/{name}" for name in ("a.csv", "deep", "empty", "NOTES")]
    assert sorted(names) == sorted(fs.ls(f"{IT}/1/", detail=False))
    assert fs.isdir(IT)
    assert fs.isdir(f"{IT}/latest")
    assert fs.isfile(f"{IT}/latest/a.csv")
    assert not fs.isdir(f"{IT}/1/a.csv")
    for missing in (f"{IT}/2", f"{IT}/1/none", f"{IT}/1/a.csv/x", "nobody/x", ".git"):
        assert not fs.exists(missing)
        with pytest.raises(FileNotFoundError):
            fs.info(missing)
        with pytest.raises(FileNotFoundError):
            fs.ls(missing)


def test_info_tells_sizes_times_and_digests(fs: ModelFileSystem) -> None:
    info = fs.info(f"{IT}/latest/a.csv")
    assert (f"{IT}/latest/a.csv", len(TABLE), "file") == (info["name"], info["size"], info["type"])
    assert (f"{IT}/1", "a.csv") == (info["ref"], info["path"])
    assert 64 == len(info["sha256"])
    assert 2023 == fs.modified(f"{IT}/1/a.csv").year
    assert fs.checksum(f"{IT}/1/a.csv") == fs.checksum(f"{IT}/latest/a.csv")
    assert [info] == fs.ls(f"{IT}/latest/a.csv")
    assert len(TABLE) == fs.size(f"{IT}/1/a.csv")


def test_a_version_is_walked_globbed_and_searched(fs: ModelFileSystem) -> None:
    top = f"{IT}/1"
    files = {f"{top}/{name}" for name in (*TREE, "NOTES")}
    assert files == set(fs.find(top))
    assert [f"{top}/deep/b.json"] == fs.glob(f"{top}/**/*.json")
    assert [f"{top}/a.csv"] == fs.glob("alice/trees/*/it/*/*.csv")
    assert [(top, {"deep"}, {"a.csv", "empty", "NOTES"})] == [
        (path, set(directories), set(names))
        for path, directories, names in fs.walk(top, maxdepth=1)
    ]
    assert sum(map(len, TREE.values())) + len(b"the notes\n") == fs.du(top)


def test_what_is_called_latest_is_walked_once(fs: ModelFileSystem) -> None:
    assert not [path for path in fs.find("alice/bert/pytorch") if "latest" in path]


def test_ranges_are_read_and_no_more_is_downloaded(planted: Path, options: dict[str, str]) -> None:
    with Served(planted) as served:
        os.environ["MODELFS_TOKEN"] = served.token
        try:
            fs = ModelFileSystem(**{**options, "registry": f"kaggle+{served.url}"})
            path = f"{BASE}/1/weights.bin"
            assert WEIGHTS[-10:] == fs.cat_file(path, start=-10)
            assert WEIGHTS[5:9] == fs.cat_file(path, 5, 9)
            assert b"" == fs.cat_file(path, 9, 5)
            assert WEIGHTS[-20:-10] == fs.cat_file(path, -20, -10)
            assert fs.cat_file(path, len(WEIGHTS) + 5) == b""
            with fs.open(path) as file:
                file.seek(1000)
                assert WEIGHTS[1000:1100] == file.read(100)
                assert len(WEIGHTS) == file.size
            assert sum(served.stats()["bytes_sent"].values()) < len(WEIGHTS)
            fs.close()
        finally:
            del os.environ["MODELFS_TOKEN"]


def test_many_ranges_are_read_at_once(fs: ModelFileSystem) -> None:
    path = f"{BASE}/1/weights.bin"
    starts = list(range(0, len(WEIGHTS), 70_000))
    found = fs.cat_ranges([path] * len(starts), starts, [start + 100 for start in starts])
    assert [WEIGHTS[start : start + 100] for start in starts] == found
    assert [WEIGHTS[:3], WEIGHTS[:3]] == fs.cat_ranges([path, path], 0, 3)
    good, bad = fs.cat_ranges([path, f"{BASE}/9/x"], [0, 0], [1, 1])
    assert WEIGHTS[:1] == good
    assert isinstance(bad, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([f"{BASE}/9/x"], [0], [1], on_error="raise")
    with pytest.raises(ValueError, match="as many"):
        fs.cat_ranges([path], [0, 1], [1])
    assert {f"{IT}/1/a.csv": TABLE, f"{IT}/1/empty": b""} == fs.cat(
        [f"{IT}/1/a.csv", f"{IT}/1/empty"]
    )


def test_a_version_is_copied_out(fs: ModelFileSystem, tmp_path: Path) -> None:
    fs.get(f"{IT}/1", str(tmp_path / "out"), recursive=True)
    found = {
        str(path.relative_to(tmp_path / "out")): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert {**TREE, "NOTES": b"the notes\n"} == found


def test_tensors_are_loaded_from_a_local_copy(planted: Path, options: dict[str, str]) -> None:
    import numpy

    tensors = {"w": numpy.arange(12.0).reshape(3, 4)}
    add_version(planted, IT, Version({"model.safetensors": save(tensors)}))
    path = fsspec.open_local(
        f"simplecache::modelfs://{IT}/2/model.safetensors",
        modelfs=options,
        simplecache={"cache_storage": options["cache_dir"] + "-simple"},
    )
    numpy.testing.assert_array_equal(tensors["w"], load_file(path)["w"])


def test_nothing_can_be_written(fs: ModelFileSystem, tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    for attempt in (
        lambda: fs.open(f"{IT}/1/new", "wb"),
        lambda: fs.open(f"{IT}/1/a.csv", "ab"),
        lambda: fs.put(str(tmp_path / "f"), f"{IT}/1/f"),
        lambda: fs.pipe(f"{IT}/1/f", b"x"),
        lambda: fs.rm(f"{IT}/1", recursive=True),
        lambda: fs.mv(f"{IT}/1/a.csv", f"{IT}/1/b.csv"),
        lambda: fs.cp(f"{IT}/1/a.csv", f"{IT}/1/b.csv"),
        lambda: fs.mkdir(f"{IT}/2"),
        lambda: fs.makedirs(f"{IT}/2", exist_ok=True),
        lambda: fs.touch(f"{IT}/1/f"),
        lambda: fs.delete(f"{IT}/1"),
    ):
        with pytest.raises(OSError, match="read only; publish with") as caught:
            attempt()
        assert errno.EROFS == caught.value.errno
    with pytest.raises(IsADirectoryError):
        fs.open(f"{IT}/1")


def test_it_travels_to_other_processes(fs: ModelFileSystem, options: dict[str, str]) -> None:
    assert fs is fsspec.filesystem("modelfs", **options)
    assert fs is pickle.loads(pickle.dumps(fs))  # noqa: S301 - our own
    assert fs is ModelFileSystem.from_json(fs.to_json())
    with fs.open(f"{BASE}/1/weights.bin") as file:
        file.seek(77)
        with pickle.loads(pickle.dumps(file)) as other:  # noqa: S301 - our own
            assert WEIGHTS[77:99] == other.read(22)


def test_a_forked_child_starts_anew(fs: ModelFileSystem) -> None:
    assert TABLE == fs.cat_file(f"{IT}/1/a.csv")
    child = os.fork()
    if child == 0:  # pragma: no cover
        status = 1
        try:
            status = int(WEIGHTS != fs.cat_file(f"{BASE}/1/weights.bin"))
            fs.close()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert 0 == os.waitstatus_to_exitcode(status)
    assert WEIGHTS == fs.cat_file(f"{BASE}/1/weights.bin")


def test_new_versions_are_seen_when_asked_anew(planted: Path, fs: ModelFileSystem) -> None:
    assert TABLE == fs.cat_file(f"{IT}/latest/a.csv")
    add_version(planted, IT, Version({"a.csv": b"newer"}))
    assert TABLE == fs.cat_file(f"{IT}/1/a.csv")
    assert not fs.exists(f"{IT}/2")  # remembered, for half a minute
    fs.invalidate_cache(IT)
    assert b"newer" == fs.cat_file(f"{IT}/latest/a.csv")
    assert TABLE == fs.cat_file(f"{IT}/1/a.csv")
    fs.invalidate_cache()
    assert b"newer" == fs.cat_file(f"{IT}/2/a.csv")


def test_what_was_read_is_there_offline(options: dict[str, str], planted: Path) -> None:
    with Served(planted) as served:
        address = {**options, "registry": f"kaggle+{served.url}"}
        token = planted.parent / "token"
        token.write_text(served.token)
        fs = ModelFileSystem(**address, token_file=str(token))
        assert TABLE == fs.cat_file(f"{IT}/1/a.csv")
        fs.close()
    fs = ModelFileSystem(**address, offline=True)
    assert TABLE == fs.cat_file(f"{IT}/1/a.csv")
    with pytest.raises(OSError, match="offline"):
        fs.cat_file(f"{IT}/1/deep/er/c.bin")
    with pytest.raises(OSError, match="offline"):
        fs.exists("bob/other")


def test_a_lock_file_pins_it(options: dict[str, str], planted: Path, tmp_path: Path) -> None:
    fs = ModelFileSystem(**options, pin=str(tmp_path / "lock"))
    assert TABLE == fs.cat_file(f"{IT}/latest/a.csv")
    fs.close()
    assert not read(tmp_path / "lock").is_recording
    add_version(planted, IT, Version({"a.csv": b"newer"}))
    assert TABLE == fs.cat_file(f"{IT}/latest/a.csv")
    assert not fs.exists(f"{IT}/2")
    assert not fs.exists(f"{BASE}/1")


def test_a_registry_that_does_not_answer_is_no_missing_file(options: dict[str, str]) -> None:
    fs = ModelFileSystem(**{**options, "registry": "kaggle+http://127.0.0.1:1"}, offline=True)
    with pytest.raises(OSError) as caught:
        fs.exists(f"{IT}/1")
    assert not isinstance(caught.value, FileNotFoundError)
