"""Memory that is free goes back to the system, however many threads there were."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Threads that are there at one time; each allocates as a mount's do, and leaves something small.
_SCRIPT = """
import ctypes, json, re, threading
from modelfs.mount import allocator

is_told = allocator.restrain()
together, kept = threading.Barrier(24), []

def work():
    together.wait(30)
    for n in range(40):
        large = [bytes(300_000 + 9_000 * n), bytearray(1 << 20)]
        kept.append(bytes(5_000))
        del large
    together.wait(30)

threads = [threading.Thread(target=work) for _ in range(24)]
for thread in threads: thread.start()
for thread in threads: thread.join(30)

library = ctypes.CDLL(None)
text, size = ctypes.c_char_p(), ctypes.c_size_t()
library.open_memstream.restype = ctypes.c_void_p
stream = ctypes.c_void_p(library.open_memstream(ctypes.byref(text), ctypes.byref(size)))
library.malloc_info(0, stream)
library.fclose(stream)
told = text.value.decode()
free = re.findall('<total type="rest" count="[0-9]+" size="([0-9]+)"', told)[-1]
print(json.dumps([is_told, told.count("<heap"), int(free)]))
"""


def test_threads_that_come_and_go_leave_two_heaps_and_little_that_is_free() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True, timeout=60
    )
    is_told, heaps, free = json.loads(done.stdout)
    if not is_told:
        pytest.skip("the C library is not glibc")
    assert heaps <= 2
    assert free < 16 << 20


# Large blocks that are free between small ones that are not, below what goes back by itself.
_HOLES = """
import time
from modelfs.mount import allocator

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if not allocator.restrain():
    raise SystemExit(3)
before = resident()
kept = [(bytearray(100_000), bytearray(1_000)) for _ in range(600)]
kept = [small for large, small in kept]
holes = resident() - before
deadline = time.monotonic() + 30
with allocator.trimming(0.01):
    while resident() - before > holes / 4 and time.monotonic() < deadline:
        time.sleep(0.01)
print(holes, resident() - before)
"""


def test_free_pages_between_used_ones_go_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HOLES], capture_output=True, text=True, timeout=60
    )
    if done.returncode == 3:
        pytest.skip("the C library is not glibc")
    holes, left = map(int, done.stdout.split())
    assert holes > 40 << 20
    assert left < holes / 4
