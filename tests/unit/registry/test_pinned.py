"""What a pinned registry shows: the locked versions, as they were, or an error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from modelfs.errors import Corrupt, NotFound, Unavailable, Usage
from modelfs.refs import Ref
from modelfs.registry import lockfile
from modelfs.registry.pinned import PinnedRegistry, open_pins
from sims.memory import Memory

BASE = Ref.parse("alice/bert/pytorch/base")
V1, V2, V3 = (BASE.child(str(number)) for number in (1, 2, 3))


def world(*more: str) -> Memory:
    return Memory(
        {
            "alice/bert/pytorch/base/1": {"a": b"a"},
            "alice/bert/pytorch/base/2": {"a": b"b", "c": b"c"},
            "bob/bert/jax/base/1": {"a": b"c"},
            **{version: {"a": b"new"} for version in more},
        }
    )


Pin = Callable[..., PinnedRegistry]


@pytest.fixture
def pin(tmp_path: Path) -> Pin:
    """`pin(inner)`: that registry with one lock file for all, as another mount would have it."""

    def make(inner: Memory) -> PinnedRegistry:
        return PinnedRegistry(inner, open_pins(tmp_path / "lock", [inner], lambda work: work()))

    return make


def names(registry: PinnedRegistry, ref: Ref) -> list[str]:
    return [entry.name for entry in registry.children(ref)]


def test_a_first_mount_notes_what_it_uses(pin: Pin, tmp_path: Path) -> None:
    pinned = pin(world())
    assert ["bert"] == names(pinned, Ref.parse("alice"))
    assert {} == lockfile.read(tmp_path / "lock").section("memory").versions
    pinned.manifest(V1)
    section = lockfile.read(tmp_path / "lock").section("memory")
    assert ([V1], {}) == (list(section.versions), section.latest)
    assert ["1", "2"] == names(pinned, BASE)
    section = lockfile.read(tmp_path / "lock").section("memory")
    assert ({V1, V2}, {BASE: "2"}) == (set(section.versions), section.latest)
    pinned.close()
    assert not lockfile.read(tmp_path / "lock").is_recording


def test_latest_stays_once_it_was_listed(pin: Pin) -> None:
    inner = world()
    pinned = pin(inner)
    assert ["1", "2"] == names(pinned, BASE)
    inner.versions[V3] = {"a": b"new"}
    assert ["1", "2"] == names(pinned, BASE)
    with pytest.raises(NotFound):
        pinned.stat(V3)
    with pytest.raises(NotFound):
        pinned.manifest(V3)
    assert BASE.child("2") in [item.ref for item in pinned.page(BASE).items]
    assert V3 not in [item.ref for item in pinned.page(BASE).items]


def test_mounts_that_begin_together_agree(pin: Pin) -> None:
    early, late = pin(world()), pin(world(str(V3)))
    assert ["1", "2"] == names(early, BASE)
    assert ["1", "2"] == names(late, BASE)
    with pytest.raises(NotFound):
        late.manifest(V3)
    # And one whose listing is old has what another one has locked.
    other = Ref.parse("bob/bert/jax/base")
    fresh, old = pin(world("bob/bert/jax/base/2")), pin(world())
    fresh.manifest(other.child("2"))
    assert ["1", "2"] == names(old, other)


def test_later_mounts_have_what_is_locked_and_nothing_else(pin: Pin) -> None:
    first = pin(world())
    first.manifest(V1)
    first.close()
    inner = world(str(V3))
    pinned = pin(inner)
    assert ["alice"] == names(pinned, Ref())
    assert ["bert"] == names(pinned, Ref.parse("alice"))
    assert ["1"] == names(pinned, BASE)
    assert inner.mtime == pinned.stat(V1).mtime == pinned.stat(Ref.parse("alice")).mtime
    assert not inner.calls  # all of that is in the file
    for ref in (V2, V3, Ref.parse("bob")):
        with pytest.raises(NotFound, match="not in the lock file"):
            pinned.stat(ref)
    with pytest.raises(NotFound):
        pinned.manifest(V2)
    with pytest.raises(NotFound):
        names(pinned, Ref.parse("bob/bert"))
    assert ["a"] == [file.path for file in pinned.manifest(V1).files]


DRIFT = {
    "a size": ({"a": b"bb", "c": b"c"}, "a: its size is 2, not 1"),
    "a digest": ({"a": b"X", "c": b"c"}, "a: the registry tells another sha256"),
    "a missing file": ({"a": b"b"}, "c: the registry does not have it any more"),
    "one file more": ({"a": b"b", "c": b"c", "d": b""}, "d: it is not locked"),
}


@pytest.mark.parametrize("kind", DRIFT)
def test_what_has_changed_is_an_error_not_other_bytes(kind: str, pin: Pin) -> None:
    first = pin(world())
    first.manifest(V2)
    first.close()
    files, what = DRIFT[kind]
    inner = world()
    inner.versions[V2] = files
    with pytest.raises(Corrupt, match="is not what is locked") as caught:
        pin(inner).manifest(V2)
    assert what in str(caught.value)


def test_a_version_that_may_still_grow_is_not_locked(pin: Pin, tmp_path: Path) -> None:
    from dataclasses import replace

    class Growing(Memory):
        def manifest(self, ref: Ref):  # type: ignore[no-untyped-def]
            return replace(super().manifest(ref), is_final=False)

    inner = Growing({str(V1): {"a": b"a"}})
    with pytest.raises(Unavailable, match="unpacking"):
        pin(inner).manifest(V1)
    assert {} == lockfile.read(tmp_path / "lock").section("memory").versions


def test_the_lock_file_of_another_registry_is_refused(pin: Pin, tmp_path: Path) -> None:
    pin(world()).close()
    other = world()
    other.traits = type(other.traits)("other", *(other.traits.levels, (), ()))
    with pytest.raises(Usage, match="not of other but of memory"):
        pin(other)


def test_a_pinned_registry_is_only_read(pin: Pin) -> None:
    assert not pin(world()).traits.is_writable
