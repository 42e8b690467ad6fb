"""Builds the parts from a Config: the only place that constructs them and knows them all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from modelfs.cache.blocks import BlockCache
from modelfs.config import Config
from modelfs.fs.handles import Handles, cached_bytes
from modelfs.fs.tree import Tree
from modelfs.registry import open_registry
from modelfs.registry.base import Registry
from modelfs.registry.caching import CachingRegistry
from modelfs.registry.shelf import shelf_for
from modelfs.waiting import Wait

# Questions to registries in flight at once; each is one small request.
_ASKERS = 8
# Ranges on their way at once, of all files together.
_FETCHERS = 16


@dataclass(frozen=True)
class Parts:
    """The parts of one mount, wired together. Nothing runs before `start`."""

    registries: dict[str, Registry]
    cache: BlockCache
    tree: Tree
    handles: Handles
    askers: ThreadPoolExecutor

    def start(self) -> None:
        """Start threads and look at the cache directory: after any fork."""
        self.cache.start()

    def stop(self) -> None:
        """End the threads; what hangs in a request is left behind."""
        self.askers.shutdown(wait=False, cancel_futures=True)
        self.cache.stop()
        for registry in self.registries.values():
            registry.close()


def assemble(config: Config, wait: Wait) -> Parts:
    """The parts that `config` describes, whose callers wait through `wait`."""
    askers = ThreadPoolExecutor(_ASKERS, thread_name_prefix="ask")
    registries = {
        mount.name: _remembered(open_registry(mount.spec, config), config, askers, wait)
        for mount in config.registries
    }
    cache = BlockCache(
        config.cache_dir / "blocks",
        budget=config.cache_size,
        floor=config.cache_floor,
        workers=_FETCHERS,
    )
    return Parts(
        registries=registries,
        cache=cache,
        tree=Tree(registries, lambda origin: cached_bytes(cache, origin)),
        handles=Handles(cache, wait),
        askers=askers,
    )


def _remembered(
    registry: Registry, config: Config, askers: ThreadPoolExecutor, wait: Wait
) -> Registry:
    return CachingRegistry(
        registry,
        shelf=shelf_for(config.cache_dir, registry.traits.identity),
        executor=askers,
        wait=wait,
        is_offline=config.is_offline,
    )
