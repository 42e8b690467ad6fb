"""A folder becomes a version, by the same steps and with the same care as a mount's draft.

The attempt runs on a thread of its own, so that the caller can look at how far it is, and can be
interrupted; the next call with the same folder and place goes on where it was.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future

from modelfs.api.downloading import LANES
from modelfs.api.progress import Progress, Tell
from modelfs.cache.blocks import BlockCache
from modelfs.cache.crew import Crew
from modelfs.errors import DeadlinePassed, Error, WrongState
from modelfs.fs.course import Over, Patience
from modelfs.fs.folder import Folder
from modelfs.fs.journal import ASKED_FOR, Journal, Phase
from modelfs.fs.progress import Progress as Counts
from modelfs.fs.publishing import Attempt, Means
from modelfs.model import Manifest
from modelfs.refs import Ref
from modelfs.registry.base import WritableRegistry

log = logging.getLogger(__name__)

# How often a caller is told how far it is.
_LOOK_UP = 0.1
# Longer than a registry may take to list a new version; an unanswered creation is waited out.
_STANDSTILL = 1200.0
# For an attempt that is told to end; what hangs in a request by then is left behind.
_STOP = 5.0


def publish(
    registry: WritableRegistry,
    cache: BlockCache,
    crew: Crew,
    folder: Folder,
    ref: Ref,
    progress: Tell | None,
    patience: Patience | None = None,
) -> tuple[Ref, Manifest | None]:
    """Have `folder` published below `ref.parent`; the new version, and what it was listed as.

    Raises WrongState if the version of an earlier call was found instead, and the folder holds
    something else by now.
    """
    means = Means(registry, cache, crew, LANES, patience or Patience(), time.monotonic)
    with folder.held():
        journal = Journal.load(folder.read_journal())
        if journal.phase is Phase.PUBLISHED and not folder.is_as_in(journal):
            # It was done, and only the journal was left: this is another publication.
            folder.forget()
            journal = Journal()
        is_found = journal.phase in ASKED_FOR
        is_same = not is_found or folder.is_as_in(journal)
        attempt = Attempt(means, folder, ref, journal)
        version = _run(attempt, progress)
        folder.forget()
    if not is_same:
        raise WrongState(
            f"{version} is what the folder was before: publish again for what it is now"
        )
    return version, attempt.manifest


def _run(attempt: Attempt, progress: Tell | None) -> Ref:
    outcome: Future[Ref] = Future()

    def work() -> None:
        try:
            outcome.set_result(_published(attempt))
        except BaseException as exc:
            outcome.set_exception(exc)

    thread = threading.Thread(target=work, name="client-publish", daemon=True)
    thread.start()
    last, moved_at = None, time.monotonic()
    try:
        while thread.is_alive():
            thread.join(_LOOK_UP)
            told = _told(attempt.progress)
            if progress is not None:
                progress(told)
            if told != last:
                last, moved_at = told, time.monotonic()
            if time.monotonic() - moved_at > _STANDSTILL:
                raise DeadlinePassed(
                    f"nothing has moved for {_STANDSTILL:.0f} s",
                    hint="the same call later goes on where it was",
                )
    finally:
        attempt.end()
        thread.join(_STOP)
    return outcome.result(_STOP)


def _published(attempt: Attempt) -> Ref:
    try:
        version = attempt.run()
    except Over:
        raise
    except Error as exc:
        attempt.fail(str(exc))
        raise
    try:
        attempt.put_away(version)
    except Over:
        pass
    except Error as exc:
        log.info("%s was published, and is not in the cache: %s", version, exc)
    return version


def _told(counts: Counts) -> Progress:
    told = counts.told()
    return Progress(
        str(told["phase"]),
        int(str(told["files"])),
        int(str(told["files_done"])),
        int(str(told["bytes"])),
        int(str(told["bytes_sent"])),
        counts.current(),
        str(told.get("note", "")),
        counts.ignored,
    )
