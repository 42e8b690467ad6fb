"""Other processes of this machine, as /proc tells of them."""

from __future__ import annotations

from pathlib import Path


def is_alive(pid: int) -> bool:
    """True if process `pid` is there and has not ended; also for one that cannot be told (0)."""
    if pid <= 0:
        return True
    try:
        # What follows the name, in which anything may be: the state.
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in ("Z", "X")  # nobody has looked at its exit status yet
