"""What a draft's journal says when a mount starts: what goes on, what failed with the last mount.

Reads and writes journals, and tells failures where they are looked for. No lock and no state.
"""

from __future__ import annotations

import logging

from modelfs.errors import WrongState
from modelfs.fs import receipts
from modelfs.fs.journal import Journal, Phase
from modelfs.fs.publishing import boot_id
from modelfs.fs.staging import Staging
from modelfs.refs import Ref

log = logging.getLogger(__name__)

_COPYING = "the mount ended while files were still being copied; see that all of them are there"
_POWER_CUT = "the machine stopped before all files were on its disk; see that they are as they were"


def remembered(staging: Staging, ref: Ref) -> Journal:
    """The journal of a draft, in whose phase FAILED it was told why."""
    journal, reason = Journal(), ""
    try:
        journal = Journal.load(staging.read_journal(ref))
    except WrongState as exc:
        reason = str(exc)
    is_ours = not reason
    if journal.phase is Phase.ARMED:
        reason = _COPYING
    elif journal.phase is Phase.SEALED and journal.boot != boot_id():
        reason = _POWER_CUT
    if reason:
        receipts.tell_failure(staging.path(ref), reason)
        journal.phase, journal.reason = Phase.FAILED, reason
        if is_ours:
            try:
                staging.write_journal(ref, journal.dump())
            except OSError as exc:  # a full disk, on which drafts can be read, and removed
                log.info("%s: its journal cannot be written: %s", ref, exc)
        log.warning("%s was not published: %s", ref, reason)
    return journal
