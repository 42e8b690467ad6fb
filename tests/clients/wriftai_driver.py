"""Makes the calls that it reads, with the client that it is told: a program of its own.

Run by the Python that has the client: `python wriftai_driver.py wriftai` or `… modelfs.wriftai`.
Each line it reads is a call, `[mode, name, arguments, options]`, each line it prints what came of
it. It knows nothing but the standard library and the client's documented names.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import json
import sys
from typing import Any


def outcome(client: Any, loop: asyncio.AbstractEventLoop, call: list[Any]) -> dict[str, Any]:
    mode, name, arguments, options = call
    place, _, method = name.rpartition(".")
    resource = getattr(client, place)
    try:
        if mode == "async":
            made = getattr(resource, f"async_{method}")(*arguments, **options)
            result = loop.run_until_complete(made)
        else:
            result = getattr(resource, method)(*arguments, **options)
    except Exception as exc:
        return {"error": fault(exc)}
    return {"result": plain(result)}


def fault(exc: Exception) -> dict[str, Any]:
    response = getattr(exc, "response", None)
    return {
        "kinds": [kind.__name__ for kind in type(exc).__mro__],
        "status": getattr(response, "status_code", getattr(exc, "status", None)),
        "text": str(exc),
    }


def plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]


def main() -> None:
    client = importlib.import_module(sys.argv[1]).Client()
    loop = asyncio.new_event_loop()
    for line in sys.stdin:
        print(json.dumps(outcome(client, loop, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
