"""Reads files in many ways at once, each in a process of its own, and tells what each got.

A program: takes a JSON list of [way, path, start, stop] and prints one of texts: the SHA-256 of the
bytes, `errno N` or `signal N`. A mapped file whose page cannot be read ends its reader.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

Wish = tuple[str, str, int, int]


def read_all(wishes: Sequence[tuple[str, Path, int, int]], deadline: float = 300.0) -> list[str]:
    """What became of each."""
    asked = json.dumps([(way, str(path), start, stop) for way, path, start, stop in wishes])
    done = subprocess.run(
        [sys.executable, "-I", "-S", __file__],
        input=asked,
        capture_output=True,
        text=True,
        check=True,
        timeout=deadline,
    )
    told: list[str] = json.loads(done.stdout)
    return told


def _content(way: str, path: str, start: int, stop: int) -> bytes:
    with open(path, "rb", buffering=0) as file:
        if way == "mapped":
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                return mapped[start:stop]
        if way == "whole":
            return file.readall()
        content = b""
        while len(content) < stop - start:
            piece = os.pread(file.fileno(), stop - start - len(content), start + len(content))
            if not piece:
                break
            content += piece
        return content


def _begin(wish: Wish) -> tuple[int, int]:
    """A process that does it, and where it tells of it."""
    heard, telling = os.pipe()
    if pid := os.fork():
        os.close(telling)
        return pid, heard
    try:
        text = hashlib.sha256(_content(*wish)).hexdigest()
    except OSError as exc:
        text = f"errno {exc.errno}"
    os.write(telling, text.encode())
    os._exit(0)


def _end(pid: int, heard: int) -> str:
    with open(heard, "rb") as pipe:
        text = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else text


if __name__ == "__main__":
    begun = [_begin(wish) for wish in json.load(sys.stdin)]
    print(json.dumps([_end(*each) for each in begun]))
