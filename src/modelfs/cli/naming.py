"""What a person names on the command line: a ref, a path in one, or a path in a mount."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from modelfs.cli.finding import mount_of
from modelfs.config import Config, Mount
from modelfs.errors import Usage
from modelfs.mount import mountpoint
from modelfs.mount.records import recorded
from modelfs.refs import Ref


@dataclass(frozen=True, slots=True)
class Named:
    """A path of names through the levels of one registry, and on through a version's files."""

    mount: Mount
    path: str

    def config(self, config: Config) -> Config:
        """`config`, for this registry alone."""
        return replace(config, registries=(self.mount,))


def named(text: str, config: Config) -> Named:
    """What `text` names; Usage if it is of no registry that is known here."""
    if os.path.exists(text) and mountpoint.covering(Path(text).resolve()) is not None:
        return _in_mount(text, config)
    ref = Ref.parse(text)
    names = {mount.name: mount for mount in config.registries}
    if "" in names:
        return Named(names[""], str(ref))
    name = ref.parts[0] if ref.parts else ""
    if name not in names:
        raise Usage(f"no such registry: {name!r}", hint=f"there are {', '.join(names)}")
    return Named(names[name], str(Ref(ref.parts[1:])))


def _in_mount(text: str, config: Config) -> Named:
    path = Path(text).resolve()
    top = mount_of(path)
    parts = path.relative_to(top).parts
    for serving in recorded(config.state_dir):
        if serving.mountpoint != top:
            continue
        for shown in serving.registries:
            if not shown.name or parts[:1] == (shown.name,):
                below = parts[1:] if shown.name else parts
                return Named(Mount("", shown.spec), "/".join(below))
    raise Usage(f"not in a mount of this user's: {text}")
