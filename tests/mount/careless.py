"""A careless publisher that dies as our mounts do: what shows that those deaths do harm.

The same files, the same steps, the same look at what is left (`lanes.fault`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from clients.official import files_of, make_files
from mount.lanes import FILES, NEVER, PATIENCE, fault
from serving import own_environ

_DYING = Path(__file__).parents[1] / "dying"


class Careless:
    """Publishes into `published`, in one of the manners of `dying/careless`."""

    def __init__(self, folder: Path, published: Path, disk: Path | None = None) -> None:
        published.mkdir(exist_ok=True)
        self._published = published
        self._order = folder / "order"
        self._steps = folder / "steps"
        self._source = make_files(folder / "source", FILES)
        self._environ = own_environ(
            folder / "home",
            PYTHONPATH=str(_DYING),
            PYTHONDONTWRITEBYTECODE="1",
            DYING_AT=str(self._order),
            DYING_LOG=str(self._steps),
            DYING_DISK=str(disk or ""),
        )

    def found(
        self, manner: str, every: int, between: Callable[[], None] = lambda: None
    ) -> Counter[bool]:
        """After how many deaths something is wrong, and after how many nothing is.

        It dies at each `every`-th step, the last among them; `between` is what happens then.
        """
        assert not self._die(manner, NEVER)[0]
        count = len(self._steps.read_text().splitlines())
        found: Counter[bool] = Counter()
        for at in range(count, 0, -every):
            has_died, is_told = self._die(manner, at)
            assert has_died
            between()
            found[bool(fault(self._left(f"{manner} {at}"), is_told=is_told))] += 1
        print(
            f"a careless publisher, {manner}: wrong after {found[True]} of {found.total()} deaths"
        )
        return found

    def _die(self, manner: str, at: int) -> tuple[bool, bool]:
        """Whether it died, and whether it had said by then that it had published."""
        self._order.write_text(str(at))
        self._steps.write_text("")
        done = subprocess.run(
            [
                *(sys.executable, _DYING / "careless.py"),
                *(self._source, self._published / f"{manner} {at}", manner),
            ],
            env=self._environ,
            stdout=subprocess.PIPE,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode in (0, -signal.SIGKILL)
        return done.returncode != 0, b"published" in done.stdout

    def _left(self, name: str) -> dict[str, bytes] | None:
        path = self._published / name
        return files_of(path) if os.path.isdir(path) else None
