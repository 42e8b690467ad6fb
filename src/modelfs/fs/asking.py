"""What a command asks of the daemon through the mount itself: names of attributes and files. Pure.

There is no other way in, so whoever may change a draft may ask, and nobody else. The attributes
are set on a draft's directory; they are requests, stored nowhere:

    setfattr -n user.modelfs.publish -v 1 DRAFT
"""

from __future__ import annotations

from modelfs.model import RESERVED

# Attributes of this prefix are ours: told of what is published, and asked of drafts.
PREFIX = "user.modelfs."

# Publish now. A refusal before anything began is the call's error; the rest is in status.json.
PUBLISH = f"{PREFIX}publish"
# The value becomes NOTES, which publishes nothing yet.
NOTE = f"{PREFIX}notes"
# Do not publish after all; refused once the registry may have been asked for the version.
CANCEL = f"{PREFIX}cancel"

# How publishing goes, in the hidden directory of drafts and versions.
STATUS = "status.json"
STATUS_PATH = f"{RESERVED}/{STATUS}"
