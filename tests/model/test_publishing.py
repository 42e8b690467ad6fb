"""Drafts against a plain dictionary: whatever happens, no file is lost and none is published twice.

Random writes, triggers, asks, cancellations, restarts and faults of the registry. What is in a
draft is what was written to it; what is in a version is what some trigger froze; one attempt makes
one version.
"""

from __future__ import annotations

import logging
import tempfile
from concurrent.futures import Future
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from drafting import MODEL, NOTES, OTHER, WAIT, WRITER, Studio
from modelfs.errors import DeadlinePassed, Error, Forbidden, Unavailable, WrongState
from modelfs.fs.drafts import State
from modelfs.refs import Ref
from polling import wait_for
from sims.desk import Desk

DRAFTS = [MODEL.child(name) for name in ("one", "two")]
PATHS = ("a", "b/c", "b/d", "junk~")
FAULTS = [Unavailable("503"), DeadlinePassed("504"), Forbidden("403")]
CALLS = ("children", "stat", "begin", "send", "create", "manifest")
REST = (State.OPEN, State.FAILED, State.PUBLISHED)


class PublishingMachine(RuleBasedStateMachine):
    """One publisher at a time on one staging area, two drafts, one registry.

    Threads make the outcome of a fault vary, so no rule depends on a state.
    """

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.desk = Desk()
        self.files: dict[Ref, dict[str, bytes]] = {}
        # What every version must be, in any order.
        self.expected: list[dict[str, bytes]] = []
        # Warnings are not what this is about.
        logging.getLogger("modelfs.fs.publish").setLevel(logging.ERROR)
        self.studio = self._open()

    def _open(self) -> Studio:
        return Studio(Path(self.directory.name), self.desk, settle=0.0, uploads=2).start()

    def teardown(self) -> None:
        self.studio.stop()
        self.directory.cleanup()
        logging.getLogger("modelfs.fs.publish").setLevel(logging.NOTSET)

    @rule(ref=st.sampled_from(DRAFTS), path=st.sampled_from(PATHS), data=st.binary(max_size=40))
    def write(self, ref: Ref, path: str, data: bytes) -> None:
        self._make(ref)
        self.studio.write(path, data, ref)
        self.files[ref][path] = data

    @rule(ref=st.sampled_from(DRAFTS), path=st.sampled_from(PATHS))
    def remove(self, ref: Ref, path: str) -> None:
        if self.files.get(ref, {}).pop(path, None) is not None:
            self.studio.publisher.check_writable(ref)
            self.studio.staging.path(ref, path).unlink()
            self.studio.publisher.changed(ref, WRITER, is_notes=False)

    @rule(
        number=st.integers(0, 1),
        how=st.sampled_from(["noted", "by writer", "asked", "twice"]),
        call=st.sampled_from(CALLS),
        moment=st.sampled_from(["before", "after", "within"]),
        fault=st.sampled_from(FAULTS),
        times=st.sampled_from([0, 0, 1, 2, 30]),
    )
    def publish(
        self, number: int, how: str, call: str, moment: str, fault: Error, times: int
    ) -> None:
        if not self.files:
            return
        ref = sorted(self.files, key=str)[number % len(self.files)]
        left = [times]

        def hook(name: str, when: str) -> None:
            if (name, when) == (call, moment) and left[0]:
                left[0] -= 1
                raise fault

        self.desk.hook = hook
        self._trigger(ref, how)
        # A registry that will not say whether it made a version is asked for ever.
        wait_for(lambda: self.studio.state(ref) in REST or not left[0], WAIT)
        self.desk.hook = lambda name, when: None
        wait_for(lambda: self.studio.state(ref) in REST, WAIT)
        self._settle(ref)

    def _trigger(self, ref: Ref, how: str) -> Future[Ref] | None:
        publisher = self.studio.publisher
        if how == "asked":
            return publisher.ask(ref)
        outcome = publisher.noted(ref, WRITER if how == "by writer" else OTHER)
        if how == "twice":
            second = publisher.noted(ref, OTHER)
            assert second is outcome or outcome is None or outcome.done()
        return outcome

    @rule(call=st.sampled_from(CALLS), is_cancelled=st.booleans())
    def break_off(self, call: str, is_cancelled: bool) -> None:
        """Cancel, or end the mount, while the registry does not answer a call."""
        if not self.files:
            return
        ref = sorted(self.files, key=str)[0]
        reached = [False]

        def hook(name: str, when: str) -> None:
            if name == call:
                reached[0] = True
                raise Unavailable("not now")

        self.desk.hook = hook
        self._trigger(ref, "noted")
        wait_for(lambda: reached[0] or self.studio.state(ref) in REST, WAIT)
        if is_cancelled:
            try:
                self.studio.publisher.cancel(ref)
            except WrongState:
                pass  # it may have been created
        else:
            self.studio.stop()
        self.desk.hook = lambda name, when: None
        if not is_cancelled:
            self.studio = self._open()
        wait_for(lambda: self.studio.state(ref) in REST, WAIT)
        self._settle(ref)

    def _make(self, ref: Ref) -> None:
        if ref not in self.files:
            self.files[ref] = {}
            self.studio.fill({}, NOTES, ref)

    def _settle(self, ref: Ref) -> None:
        """All is at rest: a draft that has become a version is one we expect there."""
        wait_for(
            lambda: (
                self.studio.state(ref) is not State.PUBLISHED
                or "phase" not in self.studio.publisher.status(ref)
            ),
            WAIT,
        )
        if not self.studio.staging.path(ref).exists():
            files = self.files.pop(ref)
            self.expected.append({p: data for p, data in files.items() if p != "junk~"})

    @invariant()
    def drafts_are_what_was_written(self) -> None:
        for ref, files in self.files.items():
            assert files == self.studio.local_files(ref)

    @invariant()
    def versions_are_what_was_published_once(self) -> None:
        found = [version.files for version in self.desk.held.versions.values()]
        assert sorted(map(str, map(_ordered, self.expected))) == sorted(
            map(str, map(_ordered, found))
        )
        assert {NOTES} >= {version.notes for version in self.desk.held.versions.values()}


def _ordered(files: dict[str, bytes]) -> dict[str, bytes]:
    return dict(sorted(files.items()))


TestPublishing = PublishingMachine.TestCase
TestPublishing.settings = settings(
    max_examples=25,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
