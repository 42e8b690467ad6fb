"""A mount that is killed at any step of a publication makes one version of a draft, or none yet.

The real command, the real kernel, the real registry. The mount's process kills itself at the n-th
step after the notes are about to be saved (`dying/sitecustomize.py`); how many steps there are is
counted first. The next mount goes on by itself, or has the draft as it was: then saving the notes
again publishes it.
`scripts/crashes publish` dies at every step; here it is some of them (CRASH_POINTS).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from mount.careless import Careless
from mount.lanes import Kinds, Lane, deaths
from serving import Served
from sims.content import Instance, Model, Version, plant

FIRST = Version({"f": b"first"}, "the first")
# Mounts of one registry at work at the same time, each with its own state and cache.
LANES = 5
# Of each kind, of some 130 steps.
POINTS = int(os.environ.get("CRASH_POINTS", "10"))
# Threads do not take the same number of steps each time, and most of all not those of a machine
# that is busy while they are counted: the last points may not be reached.
DEATHS = 2 * 2 * POINTS // 2
KINDS: Kinds = (
    ("alice/old/other/it-{}/2", Lane.save),
    ("alice/new-{}/jax/it/1", Lane.save_late),
)


@pytest.mark.slow
@pytest.mark.timeout(1200 * max(1, POINTS // 16))
def test_a_mount_killed_at_any_step_publishes_once_what_was_there(tmp_path: Path) -> None:
    with ExitStack() as stack:

        def enter(registry: Path, *, is_served: bool) -> list[Lane]:
            instances = [Instance("other", f"it-{n}", (FIRST,)) for n in range(POINTS + 2)]
            plant(registry, [Model("alice", "old", instances)])
            what = stack.enter_context(Served(registry)) if is_served else registry
            names = (f"{registry.name}-{number}" for number in range(LANES))
            lanes = [Lane(registry.with_name(name), what, registry) for name in names]
            for lane in lanes:
                stack.enter_context(lane.mount)
            return lanes

        served = enter(tmp_path / "served", is_served=True)
        local = enter(tmp_path / "local", is_served=False)
        # Both at once: a mount that died in the middle looks for its version for a minute.
        with ThreadPoolExecutor(2) as pool:
            found = pool.map(lambda lanes: deaths(lanes, KINDS, POINTS), (served, local))
            assert sum(found) >= DEATHS


def test_a_careless_publisher_that_is_killed_leaves_half_a_version(tmp_path: Path) -> None:
    careless = Careless(tmp_path, tmp_path / "published")
    # In place, all that has begun is there; of what is renamed at its end, a death takes all.
    assert careless.found("in place", 1 if POINTS > 16 else 3)[True] >= 4
    assert 0 == careless.found("aside", 1 if POINTS > 16 else 6)[True]
