"""What is remembered, for how long, and what happens when the registry does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import wait_for
from modelfs.errors import DeadlinePassed, NotFound, Unavailable
from modelfs.model import Document
from modelfs.refs import Ref
from modelfs.registry.base import Registry
from modelfs.registry.caching import CachingRegistry
from modelfs.registry.shelf import Shelf
from modelfs.waiting import wait
from sims.memory import Memory

SAMPLE = {
    "alice/bert/pytorch/base/1": {"a": b"a"},
    "alice/bert/pytorch/base/2": {"a": b"b"},
    "alice/bert/jax/base/1": {"a": b"c"},
    "alice/other/jax/base/1": {"a": b"c"},
    "bob/bert/jax/base/1": {"a": b"c"},
}
DOWN = Unavailable("the registry is down")


class Written(Memory):
    """Whatever is changed in it, it stays as it is."""

    def __init__(self, versions: dict[str, dict[str, bytes]]) -> None:
        super().__init__(versions)
        self.traits = replace(self.traits, is_writable=True)

    def update(self, ref: Ref, document: Document) -> None:
        self._asked("update", ref)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Time:
    return Time()


Make = Callable[..., CachingRegistry]


@pytest.fixture
def remembered(tmp_path: Path, clock: Time) -> Iterator[Make]:
    """`remembered(inner)`: a CachingRegistry over one shelf; as many as are needed."""
    threads = ThreadPoolExecutor(4)

    def make(inner: Registry, **options: object) -> CachingRegistry:
        options = {"wait": wait, "clock": clock, **options}
        return CachingRegistry(inner, shelf=Shelf(tmp_path), executor=threads, **options)

    yield make
    threads.shutdown()


def ref(text: str) -> Ref:
    return Ref.parse(text)


def names(registry: CachingRegistry, text: str) -> list[str]:
    return [entry.name for entry in registry.children(ref(text))]


def test_a_listing_is_asked_for_once_in_its_time(remembered: Make, clock: Time) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    for _ in range(3):
        assert ["bert", "other"] == names(registry, "alice")
    assert 1 == inner.calls["children alice"]
    inner.versions[ref("alice/third/jax/base/1")] = {}
    clock.now += 31
    assert ["bert", "other", "third"] == names(registry, "alice")
    assert 2 == inner.calls["children alice"]


def test_all_spellings_are_one_question(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    for text in ("alice/bert/PyTorch/base", "alice/bert/pytorch/base"):
        assert ["1", "2"] == names(registry, text)
    assert 1 == inner.calls["children alice/bert/pytorch/base"]


def test_two_levels_that_came_together_are_asked_for_once(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    assert ["jax", "pytorch"] == names(registry, "alice/bert")
    assert ["base"] == names(registry, "alice/bert/jax")
    assert "base" == registry.stat(ref("alice/bert/jax/base")).name
    with pytest.raises(NotFound):
        registry.stat(ref("alice/bert/jax/large"))
    assert {"children alice/bert": 1} == inner.calls


def test_a_fresh_listing_answers_look_ups(remembered: Make, clock: Time) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    names(registry, "alice")
    assert "bert" == registry.stat(ref("alice/bert")).name
    with pytest.raises(NotFound):
        registry.stat(ref("alice/nothing"))
    assert {"children alice": 1} == inner.calls
    clock.now += 31
    registry.stat(ref("alice/bert"))
    assert 1 == inner.calls["stat alice/bert"]


def test_a_model_is_looked_up_without_listing_its_owner(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    remembered(inner).stat(ref("alice/bert"))
    assert {"stat alice/bert": 1} == inner.calls


def test_what_is_missing_is_asked_for_again_soon(remembered: Make, clock: Time) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    for _ in range(3):
        with pytest.raises(NotFound, match="alice/new"):
            registry.stat(ref("alice/new"))
    assert 1 == inner.calls["stat alice/new"]
    inner.versions[ref("alice/new/jax/base/1")] = {}
    clock.now += 5.1
    assert "new" == registry.stat(ref("alice/new")).name


def test_a_manifest_is_asked_for_once_and_never_again(remembered: Make, clock: Time) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    manifest = registry.manifest(ref("alice/bert/pytorch/base/1"))
    clock.now += 1e9
    assert manifest == registry.manifest(ref("alice/bert/pytorch/base/1"))
    assert manifest == remembered(inner).manifest(ref("alice/bert/pytorch/base/1"))
    assert 1 == inner.calls["manifest alice/bert/pytorch/base/1"]


def test_a_registry_whose_versions_are_complete_at_once_is_not_asked_again(
    remembered: Make, clock: Time
) -> None:
    version = "alice/bert/pytorch/base/1"
    inner = Memory({version: {"a": b"a"}}, mtime=time.time())
    inner.traits = replace(inner.traits, settling=0.0)
    registry = remembered(inner)
    assert registry.manifest(ref(version)).is_final
    clock.now += 31
    registry.manifest(ref(version))
    assert 1 == inner.calls[f"manifest {version}"]


@pytest.mark.parametrize("files", [{}, {"a": b"a"}])
def test_a_manifest_that_may_still_grow_is_not_kept(
    remembered: Make, clock: Time, files: dict[str, bytes]
) -> None:
    version = "alice/bert/pytorch/base/1"
    inner = Memory({version: files}, mtime=time.time() if files else 1_700_000_000.0)
    registry = remembered(inner)
    assert len(files) == len(registry.manifest(ref(version)).files)
    assert not registry.manifest(ref(version)).is_final
    inner.versions[ref(version)] = {"a": b"a", "b": b"b"}
    clock.now += 31
    assert 2 == len(registry.manifest(ref(version)).files)
    assert 2 == len(remembered(inner).manifest(ref(version)).files)


def test_twenty_callers_ask_once(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    inner.gate.clear()
    registry = remembered(inner)
    with ThreadPoolExecutor(20) as callers:
        futures = [callers.submit(names, registry, "alice") for _ in range(20)]
        wait_for(lambda: inner.calls["children alice"])
        inner.gate.set()
        assert [["bert", "other"]] * 20 == [future.result(10) for future in futures]
    assert 1 == inner.calls["children alice"]


def test_those_who_wait_share_a_failure_and_the_next_asks_afresh(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    inner.error = DOWN
    inner.gate.clear()
    registry = remembered(inner)
    with ThreadPoolExecutor(5) as callers:
        futures = [callers.submit(names, registry, "alice") for _ in range(5)]
        wait_for(lambda: inner.calls["children alice"])
        inner.gate.set()
        assert {Unavailable} == {type(future.exception(10)) for future in futures}
    inner.error = None
    assert ["bert", "other"] == names(registry, "alice")


def test_the_work_goes_on_when_a_caller_gives_up(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    inner.gate.clear()
    registry = remembered(inner, wait=lambda future: wait(future, 0.05))
    with pytest.raises(DeadlinePassed):
        names(registry, "alice")
    inner.gate.set()
    wait_for(lambda: inner.calls["children alice"] and not registry._remembered._asked)
    assert ["bert", "other"] == names(registry, "alice")
    assert 1 == inner.calls["children alice"]


def test_what_is_old_is_given_when_the_registry_is_down(
    remembered: Make, clock: Time, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    expected = registry.children(ref("alice"))
    names(registry, "alice/bert/pytorch/base")
    clock.now += 1000
    inner.error = DOWN
    assert expected == registry.children(ref("alice"))
    assert expected == registry.children(ref("alice"))
    assert ["1", "2"] == names(registry, "alice/bert/pytorch/base")
    assert 2 == inner.calls["children alice"]
    assert 1 == sum("does not answer" in record.message for record in caplog.records)
    with pytest.raises(Unavailable):
        names(registry, "bob")


def test_what_is_on_the_shelf_is_given_when_the_registry_is_down(remembered: Make) -> None:
    inner = Memory(SAMPLE, user="alice")
    before = remembered(inner)
    for text in ("", "alice", "alice/bert", "alice/bert/pytorch/base"):
        before.children(ref(text))
    before.documents(ref("alice/bert"))
    before.account()
    manifest = before.manifest(ref("alice/bert/pytorch/base/2"))
    inner.error = DOWN
    for after in (remembered(inner), remembered(inner, is_offline=True)):
        for text in ("", "alice", "alice/bert", "alice/bert/jax", "alice/bert/pytorch/base"):
            assert before.children(ref(text)) == after.children(ref(text))
        assert "bert" == after.stat(ref("alice/bert")).name
        assert "jax" == after.stat(ref("alice/bert/jax")).name
        assert before.documents(ref("alice/bert")) == after.documents(ref("alice/bert"))
        assert manifest == after.manifest(ref("alice/bert/pytorch/base/2"))
        assert "alice" == after.account().name
        with pytest.raises(Unavailable):
            after.manifest(ref("alice/bert/pytorch/base/1"))


def test_a_registry_that_did_not_answer_is_left_alone_for_a_while(
    remembered: Make, clock: Time
) -> None:
    inner = Memory(SAMPLE)
    places = ("alice", "alice/bert", "alice/bert/pytorch/base")
    before = {text: names(remembered(inner), text) for text in places}
    inner.error = DOWN
    inner.calls.clear()
    registry = remembered(inner)
    assert before == {text: names(registry, text) for text in places}
    assert 1 == inner.calls.total()
    with pytest.raises(Unavailable):  # of which nothing is known: that is asked for all the same
        names(registry, "bob")
    inner.error = None
    inner.versions[ref("alice/bert/pytorch/base/3")] = {}
    clock.now += 60
    assert ["1", "2", "3"] == names(registry, "alice/bert/pytorch/base")


def test_offline_nothing_is_asked(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner, is_offline=True)
    assert [] == names(registry, "")
    for call in (registry.stat, registry.children, registry.documents):
        with pytest.raises(Unavailable, match="offline"):
            call(ref("alice"))
    with pytest.raises(Unavailable, match="offline"):
        registry.manifest(ref("alice/bert/pytorch/base/1"))
    assert {} == inner.calls


def test_offline_a_level_lists_what_was_looked_up(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    before = remembered(inner)
    before.stat(ref("alice"))
    before.stat(ref("alice/bert"))
    after = remembered(inner, is_offline=True)
    assert ["alice"] == names(after, "")
    assert ["bert"] == names(after, "alice")


def test_owners_that_were_looked_up_are_listed_from_then_on(remembered: Make, clock: Time) -> None:
    inner = Memory(SAMPLE, user="me")
    registry = remembered(inner)
    assert ["me"] == names(registry, "")
    registry.stat(ref("bob"))
    with pytest.raises(NotFound):
        registry.stat(ref("nobody"))
    assert ["bob", "me"] == names(registry, "")
    assert ["bob", "me"] == names(remembered(inner), "")
    del inner.versions[ref("bob/bert/jax/base/1")]
    clock.now += 31
    with pytest.raises(NotFound):
        registry.stat(ref("bob"))
    assert ["me"] == names(registry, "")


def test_a_slow_answer_is_not_waited_for_if_an_old_one_is_at_hand(
    remembered: Make, clock: Time
) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    names(registry, "alice")
    clock.now += 31
    inner.gate.clear()
    begun = time.monotonic()
    assert ["bert", "other"] == names(registry, "alice")
    assert time.monotonic() - begun < 8
    inner.gate.set()


def test_after_a_restart_a_slow_answer_is_not_waited_for_either(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    places = ("alice", "alice/bert", "alice/bert/pytorch/base")
    before = {text: names(remembered(inner), text) for text in places}
    inner.gate.clear()
    registry = remembered(inner)
    begun = time.monotonic()
    try:
        # The first finds out that nothing comes, for all of them and more than once.
        for _ in range(20):
            assert before == {text: names(registry, text) for text in places}
        assert time.monotonic() - begun < 8
    finally:
        inner.gate.set()


def test_a_version_that_had_no_files_is_asked_for_again_however_slow_that_is(
    remembered: Make,
) -> None:
    inner = Memory(SAMPLE)
    version = ref("alice/bert/pytorch/base/1")
    files, inner.versions[version] = inner.versions[version], {}
    assert () == remembered(inner).manifest(version).files
    inner.versions[version] = files
    inner.gate.clear()
    answer = threading.Timer(5, inner.gate.set)
    answer.start()
    assert files
    assert len(files) == len(remembered(inner).manifest(version).files)
    answer.join()


def test_names_that_were_looked_up_are_no_listing_while_an_answer_may_come(
    remembered: Make,
) -> None:
    inner = Memory(SAMPLE)
    remembered(inner).stat(ref("alice/bert"))
    inner.gate.clear()
    answer = threading.Timer(5, inner.gate.set)
    answer.start()
    assert ["bert", "other"] == names(remembered(inner), "alice")
    answer.join()


def test_a_registry_that_answers_again_is_believed_at_once(remembered: Make, clock: Time) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    names(registry, "alice/bert/pytorch/base")
    clock.now += 31
    inner.error = DOWN
    names(registry, "alice/bert/pytorch/base")
    inner.error = None
    inner.versions[ref("alice/bert/pytorch/base/3")] = {}
    names(registry, "bob")
    registry.forget(ref("alice/bert/pytorch/base/3"))
    assert ["1", "2", "3"] == names(registry, "alice/bert/pytorch/base")


def test_what_was_forgotten_is_asked_for_again(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    version = ref("alice/bert/pytorch/base/1")
    for text in ("alice", "alice/bert/pytorch/base", "alice/other"):
        names(registry, text)
    registry.manifest(version)
    inner.versions[ref("alice/bert/pytorch/base/3")] = {"a": b"a"}
    registry.forget(ref("alice/bert/pytorch/base/3"))
    assert ["1", "2", "3"] == names(registry, "alice/bert/pytorch/base")
    registry.manifest(version)
    names(registry, "alice/other")
    assert 1 == inner.calls[f"manifest {version}"]
    assert 1 == inner.calls["children alice/other"]
    registry.forget(version)
    registry.manifest(version)
    assert 2 == inner.calls[f"manifest {version}"]


def test_what_was_made_is_known_and_all_else_stays_known(remembered: Make, clock: Time) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    places = ("", "alice", "alice/bert", "alice/bert/pytorch", "alice/bert/pytorch/base")
    for text in places:
        names(registry, text)
    old, new = ref("alice/bert/pytorch/base/1"), ref("alice/bert/pytorch/base/3")
    with pytest.raises(NotFound):
        registry.manifest(new)
    registry.manifest(old)
    inner.versions[new] = {"a": b"a"}
    made = inner.manifest(new)
    inner.calls.clear()
    registry.made(new, made)
    assert ["1", "2", "3"] == names(registry, "alice/bert/pytorch/base")
    assert made == registry.manifest(new)
    for text in places:
        names(registry, text)
    registry.stat(new)
    registry.manifest(old)
    assert {} == inner.calls
    # Others' versions are seen as soon as ever.
    inner.versions[ref("alice/bert/pytorch/base/4")] = {"a": b"a"}
    clock.now += 31
    assert ["1", "2", "3", "4"] == names(registry, "alice/bert/pytorch/base")
    assert made == registry.manifest(new)
    # The next run knows it too.
    inner.error = DOWN
    assert made == remembered(inner).manifest(new)
    assert 0 == inner.calls[f"manifest {new}"]


def test_a_listing_that_may_lack_more_than_what_was_made_is_asked_for_again(
    remembered: Make,
) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    names(registry, "alice/bert/pytorch/base")
    for number in "34":
        inner.versions[ref(f"alice/bert/pytorch/base/{number}")] = {"a": b"a"}
    new = ref("alice/bert/pytorch/base/4")
    registry.made(new, inner.manifest(new))
    assert ["1", "2", "3", "4"] == names(registry, "alice/bert/pytorch/base")


def test_of_what_was_made_with_all_above_it_every_level_tells(remembered: Make) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner)
    new = ref("alice/bert/jax/large/1")
    listings = ("alice", "alice/bert", "alice/bert/jax")
    for text in listings:
        names(registry, text)
    for place in (*new.ancestors(), new):
        if place.depth > 3:
            with pytest.raises(NotFound):
                registry.stat(place)
    inner.versions[new] = {"a": b"a"}
    made = inner.manifest(new)
    inner.calls.clear()
    registry.made(new, made)
    assert ["base", "large"] == names(registry, "alice/bert/jax")
    assert ["1"] == names(registry, "alice/bert/jax/large")
    assert ["bert", "other"] == names(registry, "alice")
    assert 0 == inner.calls["children alice"]


def test_a_manifest_of_what_was_made_that_may_still_grow_is_not_kept(
    remembered: Make, clock: Time
) -> None:
    inner = Memory(SAMPLE)
    registry = remembered(inner, now=lambda: inner.mtime + 60)
    new = ref("alice/bert/pytorch/base/2")
    registry.made(new, inner.manifest(new))
    assert not registry.manifest(new).is_final
    inner.versions[new] = {"a": b"a", "b": b"b"}
    clock.now += 31
    assert 2 == len(registry.manifest(new).files)


def test_an_update_makes_forget_what_it_changes_and_no_version(
    remembered: Make, tmp_path: Path
) -> None:
    inner = Written(SAMPLE)
    registry = remembered(inner)
    model, version = ref("alice/bert"), ref("alice/bert/pytorch/base/1")
    for text in ("alice", "alice/bert", "alice/bert/pytorch/base"):
        names(registry, text)
    (document,) = registry.documents(model)
    registry.manifest(version)
    inner.calls.clear()
    registry.update(model, document)
    assert Shelf(tmp_path).read("documents", model) is None
    for text in ("alice", "alice/bert", "alice/bert/pytorch/base"):
        names(registry, text)
    registry.documents(model)
    registry.manifest(version)
    assert {"update alice/bert", "children alice", "documents alice/bert"} == set(inner.calls)


def test_an_answer_that_was_on_its_way_when_it_was_forgotten_is_not_kept(
    remembered: Make,
) -> None:
    inner = Memory(SAMPLE)
    inner.gate.clear()
    registry = remembered(inner)
    caller = threading.Thread(target=names, args=(registry, "alice"))
    caller.start()
    wait_for(lambda: inner.calls["children alice"])
    registry.forget(ref("alice/bert"))
    inner.gate.set()
    caller.join(10)
    assert ["bert", "other"] == names(registry, "alice")
    assert 2 == inner.calls["children alice"]


def test_a_closed_pool_of_workers_is_said_so(tmp_path: Path) -> None:
    threads = ThreadPoolExecutor(1)
    threads.shutdown()
    registry = CachingRegistry(Memory(SAMPLE), shelf=Shelf(tmp_path), executor=threads, wait=wait)
    with pytest.raises(Unavailable, match="closed"):
        registry.account()


def test_questions_that_workers_never_get_to_are_answered(tmp_path: Path) -> None:
    inner = Memory(SAMPLE)
    inner.gate.clear()
    threads = ThreadPoolExecutor(1)
    registry = CachingRegistry(inner, shelf=Shelf(tmp_path), executor=threads, wait=wait)
    with ThreadPoolExecutor(2) as callers:
        first = callers.submit(names, registry, "alice")
        wait_for(lambda: inner.calls["children alice"])
        second = callers.submit(names, registry, "bob")
        wait_for(lambda: len(registry._remembered._asked) == 2 and threads._work_queue.qsize())
        threads.shutdown(wait=False, cancel_futures=True)
        assert Unavailable is type(second.exception(10))
        inner.gate.set()
        assert ["bert", "other"] == first.result(10)
