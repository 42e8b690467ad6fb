"""What a remembering registry asks, one question at a time; parts of `caching`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass
from typing import Any, TypeVar

from modelfs.refs import Ref
from modelfs.registry.plain import Form

T = TypeVar("T")
Key = tuple[str, Ref]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Something that is being asked."""

    key: Key
    form: Form[Any]
    ask: Callable[[], Any]
    last_resort: Callable[[Ref], Any]
    flight: Future[Any]
    epoch: int

    @property
    def name(self) -> str:
        kind, ref = self.key
        return f"{kind} of {ref or 'the registry'}"


def within(flight: Future[T], seconds: float, instead: Callable[[], T | None]) -> Future[T]:
    """What `flight` gives; or, after some seconds, what `instead` does, unless that is None."""
    answer: Future[T] = Future()

    def give_other() -> None:
        try:
            if (other := instead()) is not None:
                answer.set_result(other)
        except InvalidStateError:
            pass

    timer = threading.Timer(seconds, give_other)
    timer.daemon = True

    def give(done: Future[T]) -> None:
        timer.cancel()
        try:
            if (error := done.exception()) is not None:
                answer.set_exception(error)
            else:
                answer.set_result(done.result())
        except InvalidStateError:
            pass

    timer.start()
    flight.add_done_callback(give)
    return answer
