"""Names that may be in a draft and are never sent: what systems and editors leave behind. Pure."""

from __future__ import annotations

import fnmatch
import re

from modelfs.model import RESERVED

# Ours: says why a draft was not published, and what to do about it.
FAILURE = "PUBLISH_FAILED.txt"

_PATTERNS = (
    # Desktops.
    ".DS_Store",
    "._*",
    "Thumbs.db",
    "desktop.ini",
    ".Trash-*",
    ".directory",
    "*.goutputstream*",
    # What Windows knows of a file's origin, where it is a file of its own.
    "*:Zone.Identifier",
    # Editors; vim tries whether it may make files with one called 4913, and ends one in .swpx.
    "*~",
    ".*.sw?",
    ".*.sw?x",
    "4913",
    # Emacs's locks, which are links to nothing, and unsaved texts; Kate; JetBrains; LibreOffice.
    ".#*",
    "#*#",
    ".*.kate-swp",
    "*___jb_???___",
    ".~lock.*#",
    # A file that was removed while it was open.
    ".fuse_hidden*",
    # What the official clients of registries leave out.
    ".git",
    ".cache",
    ".huggingface",
    RESERVED,
    FAILURE,
)
_JUNK = re.compile("|".join(fnmatch.translate(pattern) for pattern in _PATTERNS))


def is_junk(path: str) -> bool:
    """True if a path in a draft, or a directory that it is in, is never sent."""
    return any(_JUNK.match(name) for name in path.split("/"))
