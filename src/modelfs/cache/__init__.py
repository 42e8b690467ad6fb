"""Bytes of published files on disk: fetched once, shared, checked, never more than a budget."""

from modelfs.cache.blocks import BlockCache
from modelfs.cache.inventory import CacheState, Kept
from modelfs.cache.opened import CachedFile
from modelfs.cache.space import Usage
from modelfs.cache.verifying import Fault, Verification

__all__ = ["BlockCache", "CacheState", "CachedFile", "Fault", "Kept", "Usage", "Verification"]
