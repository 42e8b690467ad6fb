"""A model registry, mounted: versions are directories, read lazily, cached for ever."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelfs.aio import AsyncClient
    from modelfs.api import Client

    __version__: str

__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    # Reading the package's metadata takes as long as starting Python, the clients longer: only
    # for those who ask.
    if name == "__version__":
        from importlib.metadata import version

        return version("modelfs")
    if name == "Client":
        from modelfs.api import Client

        return Client
    if name == "AsyncClient":
        from modelfs.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
