"""What one attempt at publishing remembers, how it waits and how it is ended.

Owns the draft's journal while the attempt runs. One lock guards the journal and whether the attempt
is over; it is held for one small durable write, so that nothing is written once it is over.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from modelfs.errors import Error, Interrupted, NotFound, Unavailable, WrongState
from modelfs.fs.journal import ASKED_FOR, Journal, Phase
from modelfs.fs.material import Material
from modelfs.fs.progress import Progress
from modelfs.refs import Ref

T = TypeVar("T")


class Over(Interrupted):
    """The attempt was told to end."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to bear with a registry; seconds."""

    # After a refusal that may pass: doubled each time up to the longest.
    pause: float = 0.5
    longest: float = 60.0
    # How often in a row without any progress: with the pauses above, a quarter of an hour.
    tries: int = 20
    # When to look for a version whose creation was not answered: the request may still be at work.
    looks: tuple[float, ...] = (0.0, 2.0, 5.0, 15.0, 40.0)
    # How long a new version may take to list its files.
    settling: float = 900.0

    def delay(self, count: int) -> float:
        """Before the next try after `count` failures; never the same for two who failed at once."""
        longest: float = min(self.longest, self.pause * 2 ** min(count - 1, 30))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311


class Course:
    """The course of one attempt for the draft `ref`."""

    def __init__(
        self,
        material: Material,
        ref: Ref,
        journal: Journal | None,
        patience: Patience,
        progress: Progress,
    ) -> None:
        self.ref = ref
        self.patience = patience
        self.progress = progress
        self._material = material
        self._journal = journal
        self._over = threading.Event()
        self._writing = threading.Lock()

    @property
    def journal(self) -> Journal:
        """What is remembered; read from disk when it is asked for first.

        Raises WrongState if another version of this program wrote it.
        """
        if self._journal is None:
            self._journal = Journal.load(self._material.read_journal())
        return self._journal

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def end(self) -> None:
        """Have it end soon, as it stands; it writes nothing more."""
        with self._writing:
            journal = self._journal
            if not self.is_over and journal is not None and journal.phase is Phase.UPLOADING:
                try:
                    self._material.write_journal(journal.dump())
                except OSError:
                    pass  # what was uploaded lately is uploaded again
            self._over.set()

    def cancel(self) -> None:
        """End it for good; WrongState once the version may have been asked for."""
        with self._writing:
            if self._journal is not None and self._journal.phase in ASKED_FOR:
                raise WrongState(f"{self.ref} is being created on the registry")
            self._over.set()

    def ask(self, question: Callable[[], T], tries: int | None) -> T:
        """An answer; a registry that cannot be reached is asked again, for ever if `tries` is None.

        For ever: while it is not known whether a version was made, there is nothing else to do.
        """
        count = 0
        while True:
            self.check_over()
            try:
                answer = question()
            except NotFound:
                raise
            except Error as exc:
                count += 1
                is_passing = isinstance(exc, Unavailable) or tries is None
                if not is_passing or (tries is not None and count >= tries):
                    raise
                self.progress.note = str(exc)
                self.pause(self.patience.delay(count))
            else:
                self.progress.note = ""
                return answer

    def pause(self, seconds: float) -> None:
        self._over.wait(seconds)
        self.check_over()

    def check_over(self) -> None:
        if self._over.is_set():
            raise Over("publishing was ended")

    def remember(self, phase: Phase, **changes: Any) -> None:
        """Change the journal, durably or not at all."""
        with self._writing:
            self.check_over()
            changed = replace(self.journal, phase=phase, **changes)
            try:
                self._material.write_journal(changed.dump())
            except OSError as exc:
                raise WrongState(f"the journal cannot be written: {exc.strerror}") from exc
            self._journal = changed
