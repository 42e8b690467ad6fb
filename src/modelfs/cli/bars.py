"""A bar on the terminal that says how far something is. Nothing where there is no terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

# `show(phase, percent, text)`.
Show = Callable[[str, float, str], None]

# Of the bar itself, in characters.
_WIDTH = 20


@contextmanager
def bar(*, is_quiet: bool) -> Iterator[Show | None]:
    """Shows on standard error; None if nobody looks."""
    if is_quiet or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(
        length=100,
        label="checking ",
        width=_WIDTH,
        show_eta=False,
        show_percent=False,
        item_show_func=lambda text: text,
        bar_template="%(label)s [%(bar)s] %(info)s",
        update_min_steps=-100,  # it also goes back, from one phase to the next
        file=sys.stderr,
    ) as drawn:

        def show(phase: str, percent: float, text: str) -> None:
            room = shutil.get_terminal_size().columns - _WIDTH - 15
            drawn.label = f"{phase:9}"
            drawn.finished = False
            drawn.update(int(percent) - drawn.pos, text[:room])

        yield show
