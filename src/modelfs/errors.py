"""The errors this package raises on purpose.

Each class says once what it means to the kernel (`errno`), to HTTP (`status`) and to a person
(`hint`: what to do about it, printed by the command line only). Foreign exceptions become one of
these where the foreign library is called. Messages are lower case, subject first, value after a
colon, no full stop, and never hold a token or a signed URL.
"""

from __future__ import annotations

import errno as _errno
from typing import ClassVar


class Error(Exception):
    """Base of everything this package raises on purpose."""

    errno: ClassVar[int] = _errno.EIO
    status: ClassVar[int] = 500
    hint: str = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class NotFound(Error):
    """The registry has nothing of that name, or does not admit that it has."""

    errno, status = _errno.ENOENT, 404


class Exists(Error):
    """The name is taken."""

    errno, status = _errno.EEXIST, 409


class ReadOnly(Error):
    """Published content does not change, or the mount was asked not to change anything."""

    errno, status = _errno.EROFS, 405


class NotPermitted(Error):
    """The operation is one this mount was not started for."""

    errno, status = _errno.EPERM, 405


class Forbidden(Error):
    """The registry knows who asks and says no."""

    errno, status = _errno.EACCES, 403


class Unauthenticated(Error):
    """The registry does not know who asks."""

    errno, status = _errno.EACCES, 401


class InvalidName(Error):
    """A name, number or document that cannot be right, whoever is asked."""

    errno, status = _errno.EINVAL, 400


class TooLarge(Error):
    """More than the receiver takes in one piece."""

    errno, status = _errno.EFBIG, 413


class WrongState(Error):
    """Right operation, wrong moment."""

    errno, status = _errno.EBUSY, 409


class Expired(WrongState):
    """An upload that the registry has forgotten; it has to begin again."""


class NoSpace(Error):
    """The local disk is full."""

    errno, status = _errno.ENOSPC, 507


class Unsupported(Error):
    """This registry cannot do that at all."""

    errno, status = _errno.EOPNOTSUPP, 501


class Unavailable(Error):
    """The registry did not answer, or asked to be left alone for a while; may be retried."""

    errno, status = _errno.EIO, 503


class TooManyRequests(Unavailable):
    """The registry asked to be left alone for a while."""

    errno, status = _errno.EIO, 429


class DeadlinePassed(Unavailable):
    """No answer in the time there was; the work may still be going on."""

    errno, status = _errno.ETIMEDOUT, 504


class Interrupted(Error):
    """The caller was told to stop waiting."""

    errno, status = _errno.EINTR, 499


class Corrupt(Error):
    """Bytes or lengths that disagree with what the registry promised."""

    errno, status = _errno.EIO, 502


class Usage(Error):
    """The command line, the environment or the configuration file is wrong."""

    errno, status = _errno.EINVAL, 400


def for_status(status: int) -> type[Error]:
    """The class that an HTTP status of a registry stands for (4xx and 5xx)."""
    return _BY_STATUS.get(status) or (Unavailable if status >= 500 else Error)


# Where two classes share a status, the one a client can act on.
_PREFERRED: tuple[type[Error], ...] = (
    InvalidName,
    Unauthenticated,
    Forbidden,
    NotFound,
    ReadOnly,
    Exists,
    TooLarge,
    TooManyRequests,
    Unsupported,
    Unavailable,
    DeadlinePassed,
)
_BY_STATUS: dict[int, type[Error]] = {
    **{cls.status: cls for cls in _PREFERRED},
    410: NotFound,
    422: InvalidName,
    502: Unavailable,
}


def without_frames(error: BaseException) -> None:
    """Take from `error`, and from what it came of, the frames that they went through.

    Frames hold buffers and open files. Some of the libraries below us keep an error in a frame that
    it went through; such a ring is there until the collector comes by, in an idle process never.
    """
    found: list[BaseException | None] = [error]
    for each in found:
        if each is not None and each.__traceback__ is not None:
            each.__traceback__ = None
            found += [each.__cause__, each.__context__]
