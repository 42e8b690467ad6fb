"""Dies at every step of a registry's life in turn, and looks at what is left.

Run as a script with an empty directory: for n = 1, 2, … a forked child works through one life of
a registry and dies just before its n-th step (a file opened, renamed, made or removed, a sync, half
of a write, a statement or commit of the database); then the parent opens what is left and checks
it. Ends when a child came through; prints the number of deaths, or the first fault and exits 1.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Engine, event

from forked import changes
from modelfs.errors import NotFound
from modelfs.refs import Ref
from modelfs.registry.local import Bundle, LocalRegistry, Store, UploadedFile
from modelfs.registry.local.container_records import NewVersion
from unit.registry.local.filling import BASE, Filling, zipped

BIG = os.urandom(300_000)
INNER = {"a.txt": b"inner a", "deep/b.bin": BIG[:5000]}
CONTENT = {
    1: {"w.bin": BIG, "d/same.bin": BIG, **{f"sub/{path}": d for path, d in INNER.items()}},
    2: {"w.bin": BIG, "new.txt": b"new"},
}
CONTAINER = ("alice", "container")
NEW = NewVersion("notes", f"sha256:{'0' * 64}", {"prediction": {"input": {}, "output": {}}})

# What the operating system is asked for that changes a directory or a file.
_EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"}


class Death:
    """Ends the process, as SIGKILL does, just before its n-th step."""

    def __init__(self, steps: int) -> None:
        self._left = steps
        self._fsync, self._write, self._pwrite = os.fsync, os.write, os.pwrite
        sys.addaudithook(self._audit)
        os.fsync, os.write, os.pwrite = self._dying_fsync, self._dying_write, self._dying_pwrite
        event.listen(Engine, "commit", lambda *_: self.step())
        event.listen(Engine, "before_cursor_execute", lambda *_: self.step())

    def step(self) -> None:
        self._left -= 1
        if not self._left:
            os._exit(9)

    def _audit(self, name: str, arguments: tuple[object, ...]) -> None:
        if changes(_EVENTS, name, arguments):
            self.step()

    def _dying_fsync(self, fd: int) -> None:
        self.step()
        self._fsync(fd)

    def _dying_write(self, fd: int, data: bytes) -> int:
        if self._left == 1:
            self._write(fd, memoryview(data)[: len(data) // 2])
        self.step()
        return self._write(fd, data)

    def _dying_pwrite(self, fd: int, data: bytes, offset: int) -> int:
        if self._left == 1:
            self._pwrite(fd, memoryview(data)[: len(data) // 2], offset)
        self.step()
        return self._pwrite(fd, data, offset)


def live(directory: Path, told: Callable[[str], None]) -> None:
    """One life: start, publish twice, pack, delete, sweep. `told` is what a client got to hear."""
    store = Store(directory)
    store.start()
    fill = Filling(store)
    store.create_model("alice", "bert", title="BERT")
    told("model")
    token = store.uploads.begin("w.bin", len(BIG), 1.0, "alice").token
    with store.uploads.open(token, 0) as writer:
        writer.write(BIG[:100_000])
    with store.uploads.open(token, 100_000) as writer:
        writer.write(BIG[100_000:])
        writer.finish()
    told(f"upload {token}")
    below = fill.bundle({"sub.zip": zipped(INNER), "d/same.bin": BIG})
    bundle = Bundle((UploadedFile(token), *below.files), below.directories)
    store.create_instance(*BASE, bundle=bundle, fields={}, notes="first")
    told("version 1")
    fill.version(CONTENT[2])
    told("version 2")
    store.containers.create_model(*CONTAINER, {"visibility": "private"}, ("text",))
    told("container model")
    store.containers.create_version(*CONTAINER, NEW, "key")
    told("container version")
    store.archive(store.version(*BASE, 1))
    store.delete_version(*BASE, 1)
    told("deleted 1")
    store.stop()
    store = Store(directory, lambda: time.time() + 30 * 86400)
    store.start()
    store.sweep()
    told("swept")
    store.stop()


def check(directory: Path, told: set[str]) -> None:
    """What must be true of a registry whose process died after it had said `told`."""
    store = Store(directory)
    store.start()
    assert ("alice",) == store.owners() or "model" not in told
    for blob in (directory / "blobs").glob("??/*"):
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    instances = store.all_instances("alice", "bert") if store.owners() else ()
    numbers = set()
    if instances:
        versions = store.all_versions(*BASE)
        assert versions, "an instance without its first version"
        numbers = {version.number for version in versions}
        for version in versions:
            check_version(store, directory, version.number)
    assert "version 2" not in told or 2 in numbers
    assert "version 1" not in told or "version 2" in told or 1 in numbers
    assert "deleted 1" not in told or 1 not in numbers
    check_uploads(store, directory, told)
    check_container(store, told)
    if instances:
        later = Filling(store).version({"later.txt": b"later"})
        assert later.number == (max(numbers) + 1)
    store.stop()


def check_version(store: Store, directory: Path, number: int) -> None:
    ref = Ref((*BASE, str(number)))
    local = LocalRegistry(directory)
    manifest = local.manifest(ref)
    found = {}
    for file in manifest.files:
        buffer = bytearray(file.size)
        filled = 0
        with local.open(ref, file, 0, file.size) as body:
            while count := body.readinto(memoryview(buffer)[filled:]):
                filled += count
        found[file.path] = bytes(buffer)
    assert CONTENT[number] == found
    version = store.version(*BASE, number)
    assert len(found) == version.file_count
    with tarfile.open(store.archive(version), "r:gz") as archive:
        packed = {
            member.name: reader.read()
            for member in archive
            if (reader := archive.extractfile(member))
        }
    assert CONTENT[number] == packed
    local.close()


def check_container(store: Store, told: set[str]) -> None:
    """The container model is whole or not there, and asking again makes no second version."""
    try:
        model = store.containers.model(*CONTAINER, viewer=None)
    except NotFound:
        assert "container model" not in told
        return
    assert ("text",) == model.categories
    assert model.latest or "container version" not in told
    for _ in range(2):
        assert 1 == store.containers.create_version(*CONTAINER, NEW, "key").number
    assert 1 == len(store.containers.versions(*CONTAINER, viewer=None).items)


def check_uploads(store: Store, directory: Path, told: set[str]) -> None:
    """Every session left answers, and goes on to its end; sweeping comes after "deleted 1"."""
    for session in (directory / "uploads").iterdir():
        try:
            upload = store.uploads.find(session.name)
        except NotFound:
            assert f"upload {session.name}" not in told or "deleted 1" in told, "forgotten"
            continue
        if f"upload {session.name}" in told:
            assert upload.is_complete or "deleted 1" in told, "what was finished is not"
        if upload.name == "w.bin" and not upload.is_complete:
            with store.uploads.open(upload.token, upload.received) as writer:
                writer.write(BIG[upload.received :])
                upload = writer.finish()
        if upload.name == "w.bin":
            assert hashlib.sha256(BIG).hexdigest() == upload.sha256


def die_at(steps: int, directory: Path) -> tuple[bool, set[str]]:
    """Lets a child die at that step; whether it came through, and what it had said."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        plain = os.write
        Death(steps)
        live(directory, lambda text: plain(writing, f"{text}\n".encode()) and None)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = set(pipe.read().splitlines())
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9), f"the child failed by itself: {code}"
    return code == 0, told


def main(root: Path) -> None:
    steps = 0
    while True:
        steps += 1
        directory = root / str(steps)
        came_through, told = die_at(steps, directory)
        try:
            check(directory, told)
        except BaseException:
            print(f"after a death at step {steps}, having said {sorted(told)}", file=sys.stderr)
            raise
        if came_through:
            break
        shutil.rmtree(directory)
    print(steps - 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
