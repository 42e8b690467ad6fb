"""The drafts of a state directory, with or without a mount: of which registries there are any.

Reads without the staging area's lock, so what it says may be a moment old. Discarding takes the
lock. Asks no registry anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelfs.errors import NotFound, WrongState
from modelfs.fs.drafts import State
from modelfs.fs.journal import ASKED_FOR, Journal, Phase
from modelfs.fs.staging import Staging, write_durably
from modelfs.model import Traits
from modelfs.refs import Ref

_REGISTRY = "registry.json"

_STATES = {
    Phase.NONE: State.OPEN,
    Phase.ARMED: State.ARMED,
    Phase.SEALED: State.SEALED,
    Phase.FAILED: State.FAILED,
}


@dataclass(frozen=True, slots=True)
class Area:
    """The drafts for the registry of that `identity`."""

    identity: str
    staging: Staging

    def drafts(self) -> list[Ref]:
        """All drafts there are by now."""
        self.staging.look()
        return self.staging.drafts()

    def status(self, ref: Ref) -> dict[str, Any]:
        """What is known of a draft while no mount has it, as status.json would say it."""
        try:
            journal = Journal.load(self.staging.read_journal(ref))
        except WrongState as exc:
            journal = Journal(Phase.FAILED, reason=str(exc))
        state = _STATES.get(journal.phase, State.UPLOADING)
        told: dict[str, Any] = {"ref": str(ref), "state": str(state)}
        return told | ({"reason": journal.reason} if state is State.FAILED else {})

    def discard(self, ref: Ref) -> None:
        """Remove a draft. WrongState while a mount has it, or if it may be a version already."""
        self.staging.start()
        try:
            if not self.staging.is_draft(ref):
                raise NotFound(f"there is no such draft: {ref}")
            if Journal.load(self.staging.read_journal(ref)).phase in ASKED_FOR:
                raise WrongState(
                    f"{ref} may be a version already",
                    hint=f"the next mount of {self.identity} finds that out",
                )
            self.staging.remove(ref)
        finally:
            self.staging.stop()


def describe(staging: Staging, traits: Traits) -> None:
    """Write down which registry the drafts are for."""
    ours = {"identity": traits.identity, "depth": traits.depth}
    path = staging.directory / _REGISTRY
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        found = None
    # Another version of this program may have more to say.
    known = found if isinstance(found, dict) else {}
    if known | ours != found:
        write_durably(path, json.dumps(known | ours).encode())


def areas(state_dir: Path) -> Iterator[Area]:
    """Every staging area that a mount has ever used, by identity."""
    found = []
    for path in (state_dir / "drafts").glob(f"*/{_REGISTRY}"):
        try:
            value = json.loads(path.read_bytes())
            found.append(Area(str(value["identity"]), Staging(path.parent, int(value["depth"]))))
        except (OSError, ValueError, KeyError, TypeError):
            continue  # made anew by the next mount
    return iter(sorted(found, key=lambda area: area.identity))
