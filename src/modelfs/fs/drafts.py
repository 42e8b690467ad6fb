"""The life of a version that is being written: its states, and what leads from one to the next.

All rules of the state machine are here, as one table; no I/O, no clock, no threads. A `Draft` is a
value; an event makes another one. What has to be done in a state is the publisher's business.

    OPEN       being written
    ARMED      NOTES is there, but its writer is still copying: waiting for quiet
    SEALED     frozen: being checked and hashed
    UPLOADING  its bytes are on their way, then the version is created
    FAILED     refused or broken off, with a reason; being written again
    PUBLISHED  it is a version now
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from modelfs.errors import WrongState
from modelfs.refs import Ref


class State(enum.StrEnum):
    OPEN = "open"
    ARMED = "armed"
    SEALED = "sealed"
    UPLOADING = "uploading"
    FAILED = "failed"
    PUBLISHED = "published"


class Event(enum.StrEnum):
    # NOTES is written and closed by somebody who writes nothing else: publish now.
    NOTED = "noted"
    # NOTES is written and closed, or moved into place, by who also writes the other files.
    NOTED_BY_WRITER = "noted by writer"
    # Nobody has it open for writing, and nothing has changed for a while.
    QUIET = "quiet"
    # Somebody asks for it by command.
    ASKED = "asked"
    # It passed the checks.
    CHECKED = "checked"
    REFUSED = "refused"
    CREATED = "created"
    # Somebody still has a file open, or mapped, whose writes cannot be refused.
    BUSY = "busy"
    # It is being removed, or nobody wants it published any more.
    CANCELLED = "cancelled"


_NEXT: dict[State, dict[Event, State]] = {
    State.OPEN: {
        Event.NOTED: State.SEALED,
        Event.NOTED_BY_WRITER: State.ARMED,
        Event.ASKED: State.SEALED,
        Event.CANCELLED: State.OPEN,
    },
    State.ARMED: {
        Event.NOTED: State.SEALED,
        Event.NOTED_BY_WRITER: State.ARMED,
        Event.QUIET: State.SEALED,
        Event.ASKED: State.SEALED,
        Event.CANCELLED: State.OPEN,
    },
    State.SEALED: {
        Event.BUSY: State.ARMED,
        Event.CHECKED: State.UPLOADING,
        Event.REFUSED: State.FAILED,
        Event.CANCELLED: State.OPEN,
    },
    State.UPLOADING: {
        Event.REFUSED: State.FAILED,
        Event.CREATED: State.PUBLISHED,
        # Only before the version may have been asked for: the publisher sees to that.
        Event.CANCELLED: State.OPEN,
    },
    State.FAILED: {
        Event.NOTED: State.SEALED,
        Event.NOTED_BY_WRITER: State.ARMED,
        Event.ASKED: State.SEALED,
        Event.CANCELLED: State.OPEN,
    },
    State.PUBLISHED: {},
}

# States in which nothing in the draft may change.
FROZEN = frozenset({State.SEALED, State.UPLOADING})


@dataclass(frozen=True, slots=True)
class Draft:
    """One unpublished version: where it is, where it stands, and why if it failed."""

    ref: Ref
    state: State = State.OPEN
    reason: str = ""
    # The version that it has become.
    version: Ref | None = None

    @property
    def is_frozen(self) -> bool:
        return self.state in FROZEN

    def after(self, event: Event, *, reason: str = "", version: Ref | None = None) -> Draft:
        """The draft after `event`; raises WrongState if that cannot happen now."""
        try:
            state = _NEXT[self.state][event]
        except KeyError:
            raise WrongState(f"{self.ref} is {self.state}") from None
        return replace(self, state=state, reason=reason, version=version)
