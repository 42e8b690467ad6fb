"""The Python API: what the mount and the command line do, as calls.

`Client` blocks; `modelfs.aio.AsyncClient` is the same for asyncio.
"""

from modelfs.api.client import Client
from modelfs.api.listing import Listing
from modelfs.api.progress import Progress, Tell

__all__ = ["Client", "Listing", "Progress", "Tell"]
