"""The table of a draft's states: every state, every event."""

from __future__ import annotations

import pytest

from modelfs.errors import WrongState
from modelfs.fs.drafts import Draft, Event, State
from modelfs.refs import Ref

REF = Ref(("o", "m", "1"))

# Written once more, so that a change of the rules is a change of two tables.
TABLE = """
           open      armed     sealed     uploading  failed    published
noted      sealed    sealed    -          -          sealed    -
by writer  armed     armed     -          -          armed     -
quiet      -         sealed    -          -          -         -
asked      sealed    sealed    -          -          sealed    -
busy       -         -         armed      -          -         -
checked    -         -         uploading  -          -         -
refused    -         -         failed     failed     -         -
created    -         -         -          published  -         -
cancelled  open      open      open       open       open      -
"""
EVENTS = {"by writer": Event.NOTED_BY_WRITER}


def rows() -> list[tuple[State, Event, str]]:
    head, *lines = TABLE.strip("\n").splitlines()
    states = [State(name) for name in head.split()]
    found = []
    for line in lines:
        name = line[:11].strip()
        event = EVENTS.get(name) or Event(name)
        found += [(state, event, to) for state, to in zip(states, line[11:].split(), strict=True)]
    return found


@pytest.mark.parametrize(("state", "event", "to"), rows())
def test_an_event_leads_to_its_state_or_is_refused(state: State, event: Event, to: str) -> None:
    draft = Draft(REF, state)
    if to == "-":
        with pytest.raises(WrongState, match=str(state)):
            draft.after(event)
    else:
        assert State(to) is draft.after(event).state


def test_the_table_has_every_state_and_every_event() -> None:
    told = {(state, event) for state, event, _ in rows()}
    assert {(state, event) for state in State for event in Event} == told


def test_a_reason_stays_until_the_next_attempt() -> None:
    failed = Draft(REF, State.SEALED).after(Event.REFUSED, reason="no licence")
    assert "no licence" == failed.reason
    assert "" == failed.after(Event.NOTED).reason


def test_a_draft_that_was_published_knows_its_version() -> None:
    version = REF.parent.child("7")
    published = Draft(REF, State.UPLOADING).after(Event.CREATED, version=version)
    assert version == published.version


@pytest.mark.parametrize("state", list(State))
def test_only_what_is_on_its_way_is_frozen(state: State) -> None:
    assert (state in (State.SEALED, State.UPLOADING)) == Draft(REF, state).is_frozen
