"""The cases: what is compared with what. A new one is a line in `cases` of one of the modules."""

from __future__ import annotations

from benchmarks import cold, names, together, warm, writing
from benchmarks.measure import Case
from benchmarks.planting import Sizes
from benchmarks.stage import Stage


def cases(sizes: Sizes) -> list[Case[Stage]]:
    """All cases, in the order of the table."""
    modules = (warm, cold, together, names, writing)
    found = [case for module in modules for case in module.cases(sizes)]
    return [*found, *together.last_cases()]
