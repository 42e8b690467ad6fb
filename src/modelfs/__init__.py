"""A model registry, mounted: versions are directories, read lazily, cached for ever."""

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    # Reading the package's metadata takes as long as starting Python: only for those who ask.
    if name == "__version__":
        from importlib.metadata import version

        return version("modelfs")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
