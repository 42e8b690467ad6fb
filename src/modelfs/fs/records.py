"""What the publisher knows of each draft. All fields are guarded by the publisher's lock."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from modelfs.errors import Error
from modelfs.fs.drafts import Draft
from modelfs.fs.publishing import Attempt
from modelfs.refs import Ref


@dataclass(slots=True, eq=False)
class Record:
    """What is known of one draft."""

    draft: Draft
    writers: int = 0
    changed_at: float = 0.0
    # Processes that made the draft or wrote files other than NOTES.
    pids: set[int] = field(default_factory=set)
    attempt: Attempt | None = None
    outcome: Future[Ref] | None = None
    # To be done by the thread that waits: remember that it is armed; start the attempt.
    is_to_arm: bool = False
    is_to_start: bool = False
    # Was it quiet when the attempt began?
    is_quiet: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """A file that is open for writing, in a draft that may get another name meanwhile."""

    record: Record
    _closed: Callable[[Record], None]

    @property
    def ref(self) -> Ref:
        """The draft."""
        return self.record.draft.ref

    def closed(self) -> None:
        self._closed(self.record)


def tell(outcome: Future[Ref] | None, value: Ref | Error) -> None:
    """Tell those who wait, unless they have been told."""
    if outcome is None:
        return
    try:
        if isinstance(value, Error):
            outcome.set_exception(value)
        else:
            outcome.set_result(value)
    except InvalidStateError:
        pass
