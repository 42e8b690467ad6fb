"""The Python API for asyncio: `Client`, many calls at once."""
