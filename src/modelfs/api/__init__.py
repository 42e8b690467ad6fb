"""The Python API: what the mount and the command line do, as calls.

`Client` blocks; `modelfs.aio.AsyncClient` is the same for asyncio.
"""
