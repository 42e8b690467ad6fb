"""Publishes as many a script does: it copies the files to where they are read, and says so.

Run with the folder to publish, the folder that is to be the version, and how: "in place", or
"aside", where they are copied beside it first and renamed. Neither has them on the disk for
certain when it says that they are published.
"""

from __future__ import annotations

import os
import shutil
import sys


def main(source: str, target: str, manner: str) -> None:
    if manner == "aside":
        shutil.copytree(source, f"{target}.new")
        os.rename(f"{target}.new", target)
    else:
        shutil.copytree(source, target)
    print("published", flush=True)
    # A step more, to die at after that.
    with open(os.devnull, "w"):
        pass


if __name__ == "__main__":
    main(*sys.argv[1:])
