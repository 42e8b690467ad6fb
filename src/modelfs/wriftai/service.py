"""What the parts of the client share: the calls of the service, and threads for those that wait.

Owns the threads, which begin with the first call that is awaited; an executor has its own lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from modelfs.registry.wriftai_calls import Calls

P = ParamSpec("P")
T = TypeVar("T")

# Calls that are awaited at once; more of them wait for one to end.
AT_ONCE = 100


class Service:
    """The service at the other end of `calls`."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="wriftai")

    async def aside(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `call` gives, waited for without holding up the event loop.

        Somebody who stops waiting does not stop the call.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, lambda: call(*args, **kwargs))

    def close(self) -> None:
        self.calls.close()
        self._threads.shutdown()


class Resource:
    """Something that the service has, and what can be done with it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._calls = service.calls
