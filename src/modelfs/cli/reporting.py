"""The one place where errors become sentences on standard error and exit statuses.

Statuses: 0 done, 1 it failed, 2 the command line, the environment or the configuration is wrong,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from modelfs.errors import Error, Usage


def report(run: Callable[[], object]) -> int:
    """Run a command; its exit status. What went wrong is said in a sentence, not a traceback."""
    try:
        status = run()
    except click.ClickException as exc:
        exc.show()
        return 2
    except (click.Abort, KeyboardInterrupt):
        return 130
    except Error as exc:
        click.echo(f"modelfs: {exc}", err=True)
        if exc.hint:
            click.echo(f"  {exc.hint}", err=True)
        return 2 if isinstance(exc, Usage) else 1
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as exc:
        where = f": {exc.filename}" if exc.filename else ""
        click.echo(f"modelfs: {(exc.strerror or str(exc)).lower()}{where}", err=True)
        return 1
    return status if isinstance(status, int) else 0
