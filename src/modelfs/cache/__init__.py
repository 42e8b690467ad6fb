"""Bytes of published files on disk: fetched once, shared, checked, never more than a budget."""

from modelfs.cache.blocks import BlockCache, CacheState, Verification
from modelfs.cache.opened import CachedFile
from modelfs.cache.space import Usage

__all__ = ["BlockCache", "CacheState", "CachedFile", "Usage", "Verification"]
