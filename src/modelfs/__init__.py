"""A model registry, mounted: versions are directories, read lazily, cached for ever."""

from importlib.metadata import version as _version

__version__ = _version("modelfs")
