"""One table of errors for the kernel, for HTTP and for people."""

from __future__ import annotations

import inspect
from concurrent.futures import Future

import pytest

from modelfs import errors
from modelfs.waiting import wait

CLASSES = [
    cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.Error)
]


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_has_an_errno_and_a_status(cls: type[errors.Error]) -> None:
    assert cls.errno > 0
    assert 400 <= cls.status < 600
    assert "a" == str(cls("a", hint="b"))
    assert "b" == cls("a", hint="b").hint


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, errors.InvalidName),
        (401, errors.Unauthenticated),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Exists),
        (429, errors.TooManyRequests),
        (500, errors.Unavailable),
        (502, errors.Unavailable),
        (599, errors.Unavailable),
        (418, errors.Error),
    ],
)
def test_a_status_names_the_class_a_client_can_act_on(status: int, cls: type[errors.Error]) -> None:
    assert cls is errors.for_status(status)


def test_a_wait_ends_at_its_deadline() -> None:
    with pytest.raises(errors.DeadlinePassed, match="no answer within"):
        wait(Future(), deadline=0.01)


def test_a_timeout_of_the_work_itself_is_its_own() -> None:
    future: Future[None] = Future()
    future.set_exception(TimeoutError("of the work"))
    with pytest.raises(TimeoutError, match="of the work"):
        wait(future)
