"""Builds the parts from a Config: the only place that constructs them and knows them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from modelfs import waiting
from modelfs.buffers import Buffers
from modelfs.cache.blocks import BlockCache
from modelfs.config import Config
from modelfs.errors import Error
from modelfs.fs.deleting import Deletions
from modelfs.fs.documents import Documents
from modelfs.fs.handles import Drop, Handles, cached_bytes
from modelfs.fs.local import Local
from modelfs.fs.publish import Publisher
from modelfs.fs.staging import Staging
from modelfs.fs.tree import Tree
from modelfs.model import Manifest
from modelfs.refs import Ref
from modelfs.registry import open_registry
from modelfs.registry.base import Registry
from modelfs.registry.caching import CachingRegistry
from modelfs.registry.pinned import PinnedRegistry, open_pins
from modelfs.registry.shelf import shelf_for
from modelfs.waiting import Wait

log = logging.getLogger(__name__)

T = TypeVar("T")

# Questions to one registry in flight at once; each is one small request.
_ASKERS = 8
# The same for programs, on threads that are made on demand: as many as there are connections.
_CALLERS = 128
# Edited metadata and deletions on their way at once.
_CHANGERS = 4
# Ranges on their way at once, of all files together.
_FETCHERS = 16


@dataclass(frozen=True)
class Parts:
    """The parts of one mount, wired together. Nothing runs before `start`."""

    registries: dict[str, Registry]
    cache: BlockCache
    tree: Tree
    handles: Handles
    deletions: Deletions
    # What is local, by the identity of the registry; those that may not be written to are left out.
    locals: dict[str, Local]
    # One for each registry: what one does not answer keeps no other from being asked.
    askers: Sequence[ThreadPoolExecutor]
    # Changes of what is published, each of which may ask questions in turn.
    changers: ThreadPoolExecutor

    def start(self) -> None:
        """Start threads and look at the cache and state directories: after any fork."""
        self.cache.start()
        for identity, local in list(self.locals.items()):
            try:
                local.start()
            except (Error, OSError) as exc:
                log.warning("nothing can be published to %s from here: %s", identity, exc)
                del self.locals[identity]

    def stop(self) -> None:
        """End the threads; what hangs in a request is left behind, what was sent half goes on."""
        for local in self.locals.values():
            local.stop()
        for executor in (self.changers, *self.askers):
            executor.shutdown(wait=False, cancel_futures=True)
        # First, so that nobody waits for an answer any more.
        for registry in self.registries.values():
            registry.close()
        self.cache.stop()


def assemble(config: Config, wait: Wait, drop: Drop, caller: Callable[[], int]) -> Parts:
    """The parts that `config` describes, whose callers wait through `wait`.

    `drop` has the kernel drop the bytes of an inode; `caller` tells the process being served.
    """
    askers = [ThreadPoolExecutor(_ASKERS, thread_name_prefix="ask") for _ in config.registries]
    changers = ThreadPoolExecutor(_CHANGERS, thread_name_prefix="change")
    registries = {
        mount.name: _remembered(open_registry(mount.spec, config), config, executor, wait)
        for mount, executor in zip(config.registries, askers, strict=True)
    }
    cache = BlockCache(
        config.cache_dir / "blocks",
        budget=config.cache_size,
        floor=config.cache_floor,
        workers=_FETCHERS,
        memory=Buffers(config.buffer_memory),
        is_proven_first=config.verify == "first",
        # Whoever locks digests wants nothing that does not have them.
        is_quick=config.verify == "quick" and config.pin is None,
        on_reject=lambda backing: handles.rejected(backing),
        on_proof=lambda backing: handles.proved(backing),
    )
    handles = Handles(cache, wait, drop)
    shown = _pinned(registries, config, changers, wait)
    tree = Tree(shown, lambda origin: cached_bytes(cache, origin))
    writable = [] if config.is_read_only or config.pin else registries.values()
    locals = {
        registry.traits.identity: _local(registry, config, cache, tree, changers, wait, caller)
        for registry in writable
        if registry.traits.is_writable
    }
    return Parts(
        registries=dict(shown),
        cache=cache,
        tree=tree,
        handles=handles,
        deletions=Deletions(is_allowed=config.is_deleting),
        locals=locals,
        askers=askers,
        changers=changers,
    )


def _pinned(
    registries: Mapping[str, CachingRegistry], config: Config, executor: Executor, wait: Wait
) -> Mapping[str, Registry]:
    """The registries as far as the lock file lets them be seen, if there is one."""
    if config.pin is None:
        return registries

    def aside(work: Callable[[], T]) -> T:
        return wait(executor.submit(work))

    pins = open_pins(config.pin, registries.values(), aside)
    return {name: PinnedRegistry(registry, pins) for name, registry in registries.items()}


def _local(
    registry: CachingRegistry,
    config: Config,
    cache: BlockCache,
    tree: Tree,
    changers: ThreadPoolExecutor,
    wait: Wait,
    caller: Callable[[], int],
) -> Local:
    """The drafts of one registry."""
    traits = registry.traits
    name = sha256(traits.identity.encode()).hexdigest()[:16]
    staging = Staging(config.state_dir / "drafts" / name, traits.depth)

    def became(draft: Ref, version: Ref, manifest: Manifest | None) -> None:
        registry.made(version, manifest)
        tree.became(registry, draft, version)
        documents.became(draft)

    documents = Documents(registry, staging, changers, wait)
    # Asked directly: an old listing would not show a version whose creation was not answered.
    publisher = Publisher(
        registry.direct(), staging, cache, settle=config.settle, on_published=became
    )
    return Local(registry, staging, publisher, documents, caller=caller, wait=wait)


def _remembered(
    registry: Registry, config: Config, askers: ThreadPoolExecutor, wait: Wait
) -> CachingRegistry:
    return CachingRegistry(
        registry,
        shelf=shelf_for(config.cache_dir, registry.traits.identity),
        executor=askers,
        wait=wait,
        is_offline=config.is_offline,
    )


@dataclass(frozen=True)
class Access:
    """One registry and the cache, without a mount. The cache runs once its owner starts it."""

    registry: CachingRegistry
    cache: BlockCache
    askers: ThreadPoolExecutor

    def stop(self) -> None:
        """End the threads; what hangs in a request is left behind."""
        self.askers.shutdown(wait=False, cancel_futures=True)
        self.registry.close()
        self.cache.stop()


def access(config: Config) -> Access:
    """The first registry of `config`; its callers may have many threads, or an event loop."""
    executor = ThreadPoolExecutor(_CALLERS, thread_name_prefix="ask")
    cache = BlockCache(
        config.cache_dir / "blocks",
        budget=config.cache_size,
        floor=config.cache_floor,
        workers=_FETCHERS,
        memory=Buffers(config.buffer_memory),
    )
    registry = open_registry(config.registry, config)
    return Access(_remembered(registry, config, executor, waiting.wait), cache, executor)
