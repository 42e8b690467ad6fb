"""The drafts of one registry: their states, what leads from one to the next, and who waits.

Owns the state of every draft and the threads that publish: one that waits for drafts to become
quiet and starts attempts, one for each attempt, and a crew that hashes and uploads for all. What an
attempt does is `publishing`, which state follows is `drafts`. One lock guards the table of drafts;
it is never held across I/O, and nobody is called or told an outcome under it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import partial

from modelfs.cache.blocks import BlockCache
from modelfs.cache.crew import Crew
from modelfs.errors import Error, Interrupted, NotFound, ReadOnly, WrongState
from modelfs.fs import processes, receipts, recovery, sealing
from modelfs.fs.course import Over, Patience
from modelfs.fs.drafts import Draft, Event, State
from modelfs.fs.journal import ASKED_FOR, Journal, Phase, is_foreign
from modelfs.fs.material import StagedDraft
from modelfs.fs.publishing import MANY, Attempt, Means
from modelfs.fs.records import Opening, Record, tell
from modelfs.fs.staging import Staging
from modelfs.model import Manifest
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry
from modelfs.waiting import Clock

log = logging.getLogger(__name__)

# For the threads to end; what hangs in a request by then is left behind.
_STOP = 5.0

# What was closed a moment ago is known to be so a moment later.
_CLOSING = 1.0


class Publisher:
    """Draft -> registry, for all drafts of `staging`.

    `registry` is the one itself: of one that remembers, a new version could not be seen.
    `on_published(draft, version, manifest)` is called when the version is there, before the draft
    is not; with what it was found to be right as, if that is known.
    """

    def __init__(
        self,
        registry: WritableRegistry,
        staging: Staging,
        cache: BlockCache,
        *,
        settle: float = 2.0,
        uploads: int = 8,
        clock: Clock = time.monotonic,
        patience: Patience | None = None,
        on_published: Callable[[Ref, Ref, Manifest | None], None],
        is_alive: Callable[[int], bool] = processes.is_alive,
    ) -> None:
        self._staging = staging
        self._settle = settle
        self._clock = clock
        self._on_published = on_published
        self._is_alive = is_alive
        self._crew = Crew(uploads * MANY, "publish")
        self._means = Means(registry, cache, self._crew, uploads, patience or Patience(), clock)
        self._changed = threading.Condition()
        self._records: dict[Ref, Record] = {}
        self._threads: list[threading.Thread] = []
        self._is_stopping = False

    def start(self) -> None:
        """Go on with what was under way when the last mount ended; after any fork."""
        self._is_stopping = False
        self._crew.start()
        for ref in self._staging.drafts():
            self._recover(ref)
        self._spawn(self._watch, "publish-watch")

    def stop(self) -> None:
        """End the threads, within seconds; what is under way goes on at the next start."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
            records, threads = list(self._records.values()), list(self._threads)
        end = time.monotonic() + _STOP
        for record in records:
            if record.attempt is not None:
                record.attempt.end()
        self._crew.stop(_STOP)
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._threads.clear()
        for record in records:
            tell(record.outcome, Interrupted("the mount has ended; the next one goes on"))

    # What the mount asks.

    def draft(self, ref: Ref) -> Draft:
        """The state of a draft."""
        with self._changed:
            record = self._records.get(ref)
            if record is None or self._is_another(record):
                return Draft(ref)
            return record.draft

    def check_writable(self, ref: Ref) -> None:
        """Raises WrongState while nothing in the draft may change, ReadOnly once it is a version"""
        draft = self.draft(ref)
        if draft.is_frozen:
            raise WrongState(f"{ref} is being published")
        if draft.state is State.PUBLISHED:
            raise ReadOnly(f"{ref} is published")

    def status(self, ref: Ref) -> dict[str, object]:
        """All there is to tell about a draft, for status.json. No I/O."""
        with self._changed:
            record = self._record(ref)
            draft, attempt, writers = record.draft, record.attempt, record.writers
            left = record.changed_at + self._settle - self._clock()
        told: dict[str, object] = {"ref": str(ref), "state": str(draft.state), "writers": writers}
        if draft.reason:
            told["reason"] = draft.reason
        if draft.version is not None:
            told["version"] = str(draft.version)
        if draft.state is State.ARMED:
            told["settle_left"] = round(max(0.0, left), 1)
        return told | (attempt.progress.told() if attempt is not None else {})

    # What the mount tells.

    def opened(self, ref: Ref) -> Opening:
        """Somebody opens a file of the draft for writing; raises what `check_writable` does."""
        self.check_writable(ref)
        with self._changed:
            record = self._record(ref)
            record.writers += 1
        return Opening(record, self._closed)

    def _closed(self, record: Record) -> None:
        with self._changed:
            record.writers -= 1
            record.changed_at = self._clock()
            self._changed.notify_all()

    def changed(self, ref: Ref, pid: int, is_notes: bool) -> None:
        """Process `pid` changed bytes or names in the draft."""
        with self._changed:
            record = self._record(ref)
            record.changed_at = self._clock()
            if not is_notes:
                record.pids.add(pid)

    def noted(self, ref: Ref, pid: int) -> Future[Ref] | None:
        """NOTES is in place, by process `pid`: the outcome, or None if that waits for quiet."""
        is_being_filled = self._is_being_filled(ref, pid)
        with self._changed:
            record = self._record(ref)
            if record.draft.state is State.PUBLISHED or record.draft.is_frozen:
                return record.outcome
            if not is_being_filled:
                return self._begin(record, Event.NOTED)
            record.draft = record.draft.after(Event.NOTED_BY_WRITER)
            record.changed_at = self._clock()
            record.is_to_arm = True
            self._changed.notify_all()
            return None

    def _is_being_filled(self, ref: Ref, pid: int) -> bool:
        """True if more files may come: who wrote some is still there, or nobody has written any.

        Copying takes more than one process (rsync), and the first file copied may be NOTES.
        """
        with self._changed:
            pids = set(self._record(ref).pids)
        if pid in pids or any(self._is_alive(each) for each in pids):
            return True
        traits = self._means.registry.traits
        return traits.has_files and sealing.is_empty(
            self._staging.path(ref), traits.documents_of(ref)
        )

    def ask(self, ref: Ref) -> Future[Ref]:
        """Publish now; the outcome. NotFound if there is no such draft."""
        if not self._staging.is_draft(ref):
            raise NotFound(f"there is no such draft: {ref}")
        with self._changed:
            record = self._record(ref)
            if record.outcome is not None and record.draft.is_frozen:
                return record.outcome
            return self._begin(record, Event.ASKED)

    def renamed(self, old: Ref, new: Ref) -> None:
        """The draft `old` is going to be called `new`."""
        self.check_writable(old)  # else its journal is the attempt's
        journal = self._staging.read_journal(old)
        if journal:
            self._staging.write_journal(new, journal)
            self._staging.write_journal(old, {})
        with self._changed:
            if self._record(old).draft.is_frozen:
                raise WrongState(f"{old} is being published")
            record = self._records[new] = self._records.pop(old)
            record.draft = replace(record.draft, ref=new)

    def cancel(self, ref: Ref) -> None:
        """Do not publish the draft; WrongState once the version may have been asked for."""
        with self._changed:
            record = self._record(ref)
            attempt = record.attempt
        if attempt is not None:
            attempt.cancel()
        with self._changed:
            record.draft = record.draft.after(Event.CANCELLED)
            record.attempt = None
            record.is_to_arm = record.is_to_start = False
            record.pids.clear()
            outcome, record.outcome = record.outcome, None
        if (journal := self._staging.read_journal(ref)) and not is_foreign(journal):
            self._staging.write_journal(ref, {})
        tell(outcome, Interrupted(f"{ref}: publishing was cancelled"))

    # Records; all under the lock.

    def _record(self, ref: Ref) -> Record:
        record = self._records.get(ref)
        if record is None or self._is_another(record):
            record = self._records[ref] = Record(Draft(ref), changed_at=self._clock())
        return record

    def _is_another(self, record: Record) -> bool:
        """True if the record is of a draft that became a version, and there is a new one."""
        is_gone = record.draft.state is State.PUBLISHED and record.attempt is None
        return is_gone and self._staging.holds(record.draft.ref)

    def _begin(self, record: Record, event: Event, journal: Journal | None = None) -> Future[Ref]:
        record.draft = record.draft.after(event)
        record.is_quiet = event is Event.QUIET

        def checked() -> None:
            self._checked(record, attempt)

        documents = self._means.registry.traits.documents_of(record.draft.ref)
        material = StagedDraft(self._staging, record.draft.ref, documents)
        attempt = Attempt(self._means, material, record.draft.ref, journal, checked)
        record.attempt = attempt
        record.outcome = Future()
        record.outcome.set_running_or_notify_cancel()  # cannot be cancelled: others wait as well
        record.is_to_start = True
        record.is_to_arm = False
        self._changed.notify_all()
        return record.outcome

    # The thread that waits.

    def _watch(self) -> None:
        while (found := self._next()) is not None:
            record, attempt = found
            if attempt is not None:
                self._spawn(partial(self._work, record, attempt), "publish-draft")
                continue
            try:
                journal = Journal.load(self._staging.read_journal(record.draft.ref))
                journal.phase = Phase.ARMED
                self._staging.write_journal(record.draft.ref, journal.dump())
            except (OSError, WrongState) as exc:
                log.info("%s: its journal cannot be written: %s", record.draft.ref, exc)

    def _next(self) -> tuple[Record, Attempt | None] | None:
        """What to do next, once there is something: start an attempt, or remember it is armed."""
        with self._changed:
            while not self._is_stopping:
                soonest: float | None = None
                now = self._clock()
                for record in self._records.values():
                    if record.draft.state is State.ARMED and not record.writers:
                        left = record.changed_at + self._settle - now
                        if left <= 0:
                            self._begin(record, Event.QUIET)
                        elif soonest is None or left < soonest:
                            soonest = left
                    if record.is_to_start:
                        record.is_to_start = False
                        return record, record.attempt
                    if record.is_to_arm:
                        record.is_to_arm = False
                        return record, None
                self._changed.wait(soonest)
        return None

    def _spawn(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        with self._changed:
            self._threads = [each for each in self._threads if each.is_alive()]
            self._threads.append(thread)
            if not self._is_stopping:
                thread.start()

    # One attempt.

    def _work(self, record: Record, attempt: Attempt) -> None:
        ref = record.draft.ref
        receipts.withdraw_failure(self._staging.path(ref))
        try:
            if self._is_busy(record, attempt):
                return
            version = attempt.run()
        except Over:
            return
        except Error as exc:
            self._failed(record, attempt, exc)
        except Exception as exc:
            log.exception("publishing %s failed", ref)
            error = WrongState(f"an error in the program: {type(exc).__name__}: {exc}")
            self._failed(record, attempt, error)
        else:
            self._published(record, attempt, version)
        finally:
            attempt.end()

    def _is_busy(self, record: Record, attempt: Attempt) -> bool:
        """True if somebody may still write past us: then it waits for quiet, and is no more frozen.

        From here on nobody can begin to: the draft is frozen.
        """
        path = self._staging.path(record.draft.ref)
        seconds = 0.0 if record.is_quiet else _CLOSING
        written = self._staging.unseen.wait(path, seconds, attempt.pause)
        if not written:
            return False
        reason = f"{sealing.printable(written)} is open or mapped for writing"
        with self._changed:
            if record.attempt is not attempt or record.draft.state is not State.SEALED:
                return False
            record.draft = record.draft.after(Event.BUSY, reason=reason)
            record.changed_at = self._clock() + _CLOSING
            record.attempt, record.is_to_arm = None, True
            self._changed.notify_all()
        tell(record.outcome, Interrupted(f"{record.draft.ref} is published later: {reason}"))
        return True

    def _checked(self, record: Record, attempt: Attempt) -> None:
        with self._changed:
            if record.attempt is attempt and record.draft.state is State.SEALED:
                record.draft = record.draft.after(Event.CHECKED)

    def _failed(self, record: Record, attempt: Attempt, error: Error) -> None:
        ref, reason = record.draft.ref, str(error)
        try:
            attempt.fail(reason)
        except Over:
            return
        except Error as exc:
            log.info("%s: %s", ref, exc)
        receipts.tell_failure(self._staging.path(ref), reason)
        with self._changed:
            if record.attempt is not attempt:
                return
            record.draft = record.draft.after(Event.REFUSED, reason=reason)
        log.warning("%s was not published: %s", ref, reason)
        tell(record.outcome, error)

    def _published(self, record: Record, attempt: Attempt, version: Ref) -> None:
        ref = record.draft.ref
        try:
            attempt.put_away(version)
        except Error as exc:
            log.warning("%s was published as %s: %s", ref, version, exc)
        with self._changed:
            record.draft = record.draft.after(Event.CREATED, version=version)
        try:
            self._on_published(ref, version, attempt.manifest)
            self._staging.retire(ref)
        except Exception:
            # The version is there; what is left of the draft goes at the next start.
            log.exception("%s was published as %s, and is not all put away", ref, version)
        with self._changed:
            # From here on, a draft of this name is another one.
            record.attempt = None
        log.info("%s was published as %s", ref, version)
        tell(record.outcome, version)

    def _recover(self, ref: Ref) -> None:
        journal = recovery.remembered(self._staging, ref)
        if journal.phase is Phase.NONE:
            return
        with self._changed:
            record = self._record(ref)
            if journal.phase is Phase.FAILED:
                record.draft = Draft(ref, State.FAILED, journal.reason)
                return
            self._begin(record, Event.ASKED, journal)
            if journal.phase in ASKED_FOR:
                record.draft = record.draft.after(Event.CHECKED)
