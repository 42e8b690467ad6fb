"""One mount, from its start to its end: signals, readiness, its record.

`serve` runs in the process that is the daemon; `in_background` is how a command becomes one. All
that can fail is done before the mount, and everything that starts a thread after the fork.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelfs.assemble import Parts, assemble
from modelfs.cache.blockmap import BLOCK
from modelfs.config import Config
from modelfs.errors import Error, Usage
from modelfs.fs import processes
from modelfs.mount import allocator, binding, keeping, mountpoint
from modelfs.mount.changes import Changes
from modelfs.mount.heart import Heart, Pulse
from modelfs.mount.loop import SessionLoop
from modelfs.mount.notices import Notices
from modelfs.mount.ops import Ops
from modelfs.mount.overlay import Overlay
from modelfs.mount.passthrough import Choice, Passthrough
from modelfs.mount.published import Look
from modelfs.mount.records import Record, Shown
from modelfs.mount.wire import MAX_REQUEST
from modelfs.waiting import DEADLINE

log = logging.getLogger(__name__)

# For a daemon to say that it serves. Nothing in its start waits for a network.
_READY_DEADLINE = 20.0
# For requests at hand to be answered when the daemon is told to end.
_DRAIN_DEADLINE = 3.0

# What tells a daemon to end.
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

# What keeps a mount harmless to whoever else is on this machine.
_FIXED = frozenset({"nosuid", "nodev", "default_permissions"})

_LOG_BYTES = 4 << 20
_LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@dataclass(frozen=True, slots=True)
class Options:
    """How to mount, beyond what a Config says. `extra` are options for the FUSE library."""

    is_shared: bool = False
    uid: int = -1
    gid: int = -1
    umask: int = 0
    passthrough: Choice = Choice.AUTO
    # Take the mount away when this process dies, and end it when it hangs.
    is_watched: bool = True
    patience: float = 60.0
    # Where the watchdog says what it did; None for standard error.
    log_file: Path | None = None
    extra: tuple[str, ...] = ()


def serve(config: Config, options: Options, path: Path, ready: Callable[[], None]) -> None:
    """Mount at `path` and serve until unmounted or told to end; `ready` is called once serving."""
    _hold_signals()
    allocator.restrain()
    warn_of_hasty_kernel()
    passthrough = Passthrough(options.passthrough, config.cache_dir)
    loop = binding.new_loop(passthrough)
    notices = Notices()
    parts = assemble(config, loop.wait, notices.drop, lambda: loop.caller)
    parts.start()
    look = _look(options)
    operations = _operations(parts, loop, look)
    if not config.is_deleting:  # single names of versions disappear there, and nowhere else
        loop.overlay = Overlay(operations, passthrough, lambda: loop.reply, look)
    record = Record(config.state_dir, path)
    record.write(_shown(config, parts), options.log_file)
    heart = Heart(Pulse(lambda: loop.progress), options.patience)
    ours = ""

    def end() -> None:
        notices.stop()
        if notices.is_writing:  # until reads are answered, for which requests have to be taken
            loop.drain(_DRAIN_DEADLINE)
        loop.end()

    def serving() -> None:
        nonlocal ours
        ours = mountpoint.record(path)
        notices.start(loop.fd)
        # Only now: fusepy and libfuse have set theirs while they mounted.
        for number in _ENDING:
            # On a thread: the main one may be interrupted while it holds what `end` needs.
            signal.signal(number, lambda *_: threading.Thread(target=end).start())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        mountpoint.read_ahead(path, BLOCK)
        if options.is_watched:
            heart.start(path, options.log_file)
        log.info("serving %s at %s", ", ".join(m.spec for m in config.registries), path)
        log.info("in effect: %s", ", ".join(in_effect(config, options, chosen)))
        ready()

    def ended() -> None:
        notices.stop()
        _unmount(path, ours)
        loop.drain(_DRAIN_DEADLINE)

    chosen = _library_options(config, options)
    try:
        with allocator.trimming():
            binding.serve(operations, str(path), chosen, loop, serving, ended)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
        record.remove(os.getpid())
        _stop(parts)
        heart.stop()
    log.info("unmounted %s", path)


def _hold_signals() -> None:
    """Keep those that end us until we serve: libfuse's handlers would swallow one, in any thread.

    Threads that start from here on never take one.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    # Whoever breaks a lease of ours (see fs.unseen) ends us otherwise.
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def _look(options: Options) -> Look:
    uid = os.getuid() if options.uid < 0 else options.uid
    gid = os.getgid() if options.gid < 0 else options.gid
    return Look(uid, gid, options.umask)


def _operations(parts: Parts, loop: SessionLoop, look: Look) -> Ops:
    changes = Changes(
        parts.tree,
        parts.handles,
        parts.locals,
        parts.deletions,
        executor=parts.changers,
        wait=loop.wait,
        reply=lambda: loop.reply,
    )
    return Ops(
        parts.tree,
        parts.handles,
        parts.cache,
        changes,
        reply=lambda: loop.reply,
        look=look,
        gauges=lambda: {**loop.gauges, **parts.cache.gauges},
    )


def _shown(config: Config, parts: Parts) -> list[Shown]:
    found = []
    for mount in config.registries:
        identity = parts.registries[mount.name].traits.identity
        found.append(Shown(mount.name, mount.spec, identity, identity in parts.locals))
    return found


def _unmount(path: Path, ours: str) -> None:
    """Take the mount away if nobody has yet; who still uses it keeps a dead one, not a hung one.

    `ours` is its record. After it was unmounted lazily, there may be the next one at `path`.
    """
    if mountpoint.is_ours(path) and ours in ("", mountpoint.record(path)):
        try:
            mountpoint.unmount(path, is_lazy=True)
        except Error as exc:
            log.error("%s", exc)


def _stop(parts: Parts) -> None:
    try:
        parts.stop()
    except Error as exc:
        log.error("cannot stop cleanly: %s", exc)


def _library_options(config: Config, options: Options) -> dict[str, str | bool]:
    """Options for libfuse. What an option of `extra` says wins, but for those of safety."""
    chosen: dict[str, str | bool] = {
        "fsname": "modelfs",
        "subtype": "modelfs",
        "nosuid": True,
        "nodev": True,
        # Nobody but us writes to what is published, so access times would be noise.
        "noatime": True,
        # The kernel checks permissions by mode and owner, as everywhere.
        "default_permissions": True,
        "use_ino": True,
        "splice_write": True,
        # A draft's file that is removed while it is open is gone at once, not renamed first.
        "hard_remove": True,
        # The default of libfuse cuts writes into pieces of 4 KiB.
        "big_writes": True,
        # What may change is believed for a second; what cannot, longer (see Ops); the attributes
        # of a local file not at all: another name of it (a hard link) is another file to libfuse.
        "entry_timeout": "1",
        "attr_timeout": "0",
        "negative_timeout": "1",
        "max_read": str(MAX_REQUEST),
    }
    if options.is_shared:
        chosen["allow_other"] = True
    if config.is_read_only:
        chosen["ro"] = True
    for text in options.extra:
        name, separator, value = text.partition("=")
        is_undoing = f"no{name}" in _FIXED or (separator and name in _FIXED)
        # A backslash at the end would make one option of this and the next.
        if is_undoing or text.endswith("\\"):
            raise Usage(f"not an option for a mount of what others publish: {text}")
        chosen[name] = value if separator else True
    return chosen


def in_effect(config: Config, options: Options, chosen: dict[str, str | bool]) -> list[str]:
    """What this mount goes by, after flags, environment, file and defaults, for its log."""
    read_only = "pinned" if config.pin else "read-only" if config.is_read_only else "writable"
    return [
        read_only + (", deleting" if config.is_deleting else ""),
        *(["offline"] if config.is_offline else []),
        f"cache {config.cache_dir} of {config.cache_size} bytes",
        f"{config.cache_floor} bytes left to others",
        f"state {config.state_dir}",
        f"verify {config.verify}",
        f"passthrough {options.passthrough.value}",
        f"settle {config.settle:g} s",
        f"patience {options.patience:g} s" if options.is_watched else "no watchdog",
        *(name if value is True else f"{name}={value}" for name, value in chosen.items()),
    ]


def request_timeout(settings: Path = Path("/proc/sys/fs/fuse")) -> int:
    """Seconds after which this kernel takes a mount away for one slow request; 0 for never."""
    found = []
    for name in ("default_request_timeout", "max_request_timeout"):
        try:
            found.append(int((settings / name).read_text()))
        except (OSError, ValueError):  # Linux before 6.15
            continue
    return min((seconds for seconds in found if seconds > 0), default=0)


def warn_of_hasty_kernel(settings: Path = Path("/proc/sys/fs/fuse")) -> None:
    """Say so if the kernel has less patience with a request than we need to answer it."""
    seconds = request_timeout(settings)
    if 0 < seconds <= DEADLINE:
        log.warning(
            "this kernel takes a mount away when a request takes %d s, and ours may take %d s: set"
            " fs.fuse.default_request_timeout and fs.fuse.max_request_timeout to 0, or above that",
            seconds,
            DEADLINE,
        )


def end(path: Path, state_dir: Path, *, is_lazy: bool) -> None:
    """Unmount `path` and wait until its daemon has ended; raises Error if it cannot."""
    record = Record(state_dir, path)
    pid = record.pid()
    mountpoint.unmount(path, is_lazy=is_lazy)
    if not is_lazy:
        mountpoint.wait_until_gone(path, pid)
    if pid is None or not processes.is_alive(pid):
        record.remove(pid)  # it was killed, and could not


def forget(path: Path, state_dir: Path) -> bool:
    """Remove the note of a mount that was killed and is gone; true if there was one."""
    record = Record(state_dir, path)
    pid = record.pid()
    if pid is None or processes.is_alive(pid):
        return False
    record.remove(pid)
    return True


# Becoming a daemon.


def in_background(run: Callable[[Callable[[], None]], int], path: Path, log_file: Path) -> int:
    """Run `run(ready)` in a daemon; the exit status of the command that starts it.

    Returns 0 once the mount truly serves; otherwise the daemon's own status, after it has said
    why on our standard error.
    """
    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os.setsid()
        os._exit(_daemon(run, writer, log_file))
    os.close(writer)
    with os.fdopen(reader, "rb", buffering=0) as pipe:
        is_in_time = bool(select.select([pipe], [], [], _READY_DEADLINE)[0])
        if is_in_time and pipe.read(1) == b"+":
            return _confirm(path)
    if not is_in_time:
        os.kill(child, signal.SIGTERM)
        raise Error(f"the daemon did not start within {_READY_DEADLINE:g} s", hint=_see(log_file))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) or 1


def _daemon(run: Callable[[Callable[[], None]], int], writer: int, log_file: Path) -> int:
    """The child: errors go to the terminal until it serves, and to the log from then on."""
    os.chdir("/")

    def ready() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        sink = keeping.open_private(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.dup2(sink, 2)  # what libfuse or the interpreter has to say in extremis
        os.write(writer, b"+")
        os.close(writer)

    try:
        return run(ready)
    finally:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()


def _confirm(path: Path) -> int:
    """See for ourselves that the mount serves: its root answers, and is not what was below."""
    end = time.monotonic() + _READY_DEADLINE
    while not path.is_mount():
        if time.monotonic() > end:
            raise Error(f"the mount at {path} does not answer")
        time.sleep(0.01)
    return 0


def _see(log_file: Path) -> str:
    return f"see {log_file}"


def log_to(log_file: Path | None, *, is_verbose: bool) -> None:
    """Send our log to a file that never grows beyond two of `_LOG_BYTES`, or to standard error."""
    # A disk that takes no more lines is no reason for tracebacks in their place.
    logging.raiseExceptions = False
    handler: logging.Handler
    if log_file is None:
        handler = logging.StreamHandler()
    else:
        log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            handler = keeping.Log(log_file, maxBytes=_LOG_BYTES, backupCount=1)
        except OSError as exc:
            raise Error(f"cannot write the log {log_file}: {exc.strerror}") from exc
    handler.setFormatter(logging.Formatter(_LOG_FORMAT))
    ours = logging.getLogger("modelfs")
    ours.addHandler(handler)
    ours.setLevel(logging.DEBUG if is_verbose else logging.INFO)
