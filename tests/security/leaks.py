"""Looks for secrets where they must not be, in every form that a program may have written them.

Owns nothing. Says where it found what; what is not there to be read is skipped.
"""

from __future__ import annotations

import base64
import os
import re
import urllib.parse
from collections.abc import Iterable, Iterator
from pathlib import Path


def forms_of(secret: str) -> set[bytes]:
    """How `secret` looks plain, in addresses, in hexadecimal, and within any Base64."""
    data = secret.encode()
    plain = {secret, urllib.parse.quote(secret, safe=""), urllib.parse.quote_plus(secret)}
    found = {text.encode() for text in plain} | {data.hex().encode(), data.hex().upper().encode()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            # Whatever is before and after it, the characters of these are its own.
            whole = encode(bytes(shift) + data)
            found.add(whole[-(-shift * 8 // 6) : (shift + len(data)) * 8 // 6])
    return found


class Scan:
    """A search for some secrets; `found` is where they are."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in forms_of(secret)}
        assert all(len(form) >= 10 for form in forms)
        self._pattern = re.compile(b"|".join(map(re.escape, sorted(forms))))
        self.found: list[str] = []
        self.looked: set[str] = set()

    def bytes(self, where: object, data: bytes) -> None:
        self.looked.add(str(where))
        if self._pattern.search(data):
            self.found.append(str(where))

    def text(self, where: object, text: str) -> None:
        self.bytes(where, text.encode(errors="surrogateescape"))

    def tree(self, top: Path, besides: Iterable[Path] = ()) -> None:
        """Names, contents, targets of links and attributes of all that is in a directory."""
        for path in (top, *_below(top)):
            if path in besides:
                continue
            self.text(f"name of {path}", path.name)
            for name in _attributes(path):
                self.bytes(f"{name} of {path}", name.encode() + _attribute(path, name))
            if path.is_symlink():
                self.text(f"target of {path}", os.readlink(path))
            elif path.is_file():
                self.bytes(path, path.read_bytes())

    def processes(self) -> None:
        """The command lines of all processes: anybody can read them."""
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    self.bytes(entry / "cmdline", (entry / "cmdline").read_bytes())
                    self.bytes(entry / "comm", (entry / "comm").read_bytes())
                except OSError:
                    continue


def _below(top: Path) -> Iterator[Path]:
    for directory, directories, files in os.walk(top):
        for name in (*directories, *files):
            yield Path(directory, name)


def _attributes(path: Path) -> list[str]:
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def _attribute(path: Path, name: str) -> bytes:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return b""
