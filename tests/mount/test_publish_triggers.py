"""Saving NOTES publishes a draft: at once, or once all is quiet, whatever program does it.

Everything is done by processes that end, as from a shell; a process that made the draft and lives
on (a file manager, a script) is one that may go on writing.
"""

from __future__ import annotations

import itertools
import os
import pickle
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from clients.official import files_of, make_files
from mounting import Mounted
from polling import wait_for
from published import BASE, SETTLE, held, settled, state
from serving import own_environ
from sims.content import BERT, plant

FILES = {
    "config.json": b'{"layers": 12}',
    "empty": b"",
    "weights/a.bin": bytes(range(256)) * 1000,
    "weights/deep/er/b.bin": b"b" * 300_000,
}
WORDS = "what this version is"
Mounts = Callable[[float], tuple[Mounted, Path]]


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounts]:
    """A mount, and the registry it shows, for drafts that must be quiet for so many seconds."""
    found: dict[float, tuple[Mounted, Path]] = {}
    with ExitStack() as stack:

        def mount(settle: float) -> tuple[Mounted, Path]:
            if settle not in found:
                folder = tmp_path_factory.mktemp("triggers")
                plant(folder / "registry", [BERT])
                shown = Mounted(folder, f"local:{folder / 'registry'}", "--settle", str(settle))
                found[settle] = (stack.enter_context(shown), folder / "registry")
            return found[settle]

        yield mount


class Desk:
    """Where a user works: a folder that is to become a version, and a shell."""

    def __init__(self, mount: Mounted, registry: Path, folder: Path) -> None:
        self.mount = mount
        self.folder = folder
        self.source = make_files(folder / "source", FILES)
        self.instance = mount.path / BASE
        self.pickled = folder / "files.pickle"
        self.pickled.write_bytes(pickle.dumps(FILES))
        self._registry = registry
        self._names = itertools.count()

    def run(self, *command: str | Path, cwd: Path | None = None) -> None:
        """Run a program that must end well."""
        done = subprocess.run(
            command,
            cwd=cwd or self.folder,
            env=own_environ(self.folder / "home"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert 0 == done.returncode, done.stderr + self.mount.log[-2000:]

    def name(self) -> Path:
        """A name for a new draft."""
        return self.instance / f"{self.folder.name}-{next(self._names)}"

    def draft(self, *, is_full: bool = True) -> Path:
        """A new draft, filled by processes that have ended."""
        draft = self.name()
        self.run("mkdir", draft)
        if is_full:
            self.run("cp", "-r", f"{self.source}/.", draft)
        return draft

    def check(self, draft: Path, files: dict[str, bytes] | None = None, notes: str = WORDS) -> str:
        """The draft is published, whole; its version."""
        told = settled(draft)
        version: str = told["version"]
        with held(self._registry) as holdings:
            assert (FILES if files is None else files) == holdings.files(version)
            assert notes == holdings.notes(version)
        return version

    def versions(self) -> list[str]:
        with held(self._registry) as holdings:
            return holdings.names(BASE)


@pytest.fixture
def desk(mounts: Mounts, tmp_path: Path) -> Desk:
    """Drafts that would have to be quiet for a minute: whatever is published here was at once."""
    return Desk(*mounts(60.0), tmp_path)


@pytest.fixture
def quiet(mounts: Mounts, tmp_path: Path) -> Desk:
    """Drafts that have to be quiet for a moment."""
    return Desk(*mounts(SETTLE), tmp_path)


# At once, with the close or the rename that completes the notes.

SHELL = {
    "echo": f"echo '{WORDS}' > NOTES",
    "append": f"echo '{WORDS}' >> NOTES",
    "here document": f"cat > NOTES <<END\n{WORDS}\nEND",
    "tee": f"echo '{WORDS}' | tee NOTES",
    "cp": "cp ../notes NOTES",
    "mv from elsewhere": "mv ../notes NOTES",
    "mv within": "cp ../notes .notes.new && mv .notes.new NOTES",
    "dd": "dd if=../notes of=NOTES status=none",
    "install": "install -m 600 ../notes NOTES",
    "cp -p": "cp -p ../notes NOTES",
    "and then a mode": f"echo '{WORDS}' > NOTES && chmod 600 NOTES && touch -d 2001-01-01 NOTES",
    "subshell": f"(echo '{WORDS}') > NOTES",
    "from a child": f"sh -c \"echo '{WORDS}'\" > NOTES",
}


@pytest.mark.parametrize("script", SHELL.values(), ids=SHELL)
def test_notes_of_a_shell_publish_at_once(desk: Desk, script: str) -> None:
    draft = desk.draft()
    (desk.folder / "notes").write_text(f"{WORDS}\n")
    script = script.replace("../notes", str(desk.folder / "notes"))
    desk.run("sh", "-e", "-c", script, cwd=draft)
    assert "published" == state(draft)
    desk.check(draft)


def test_notes_of_bash_publish_at_once(desk: Desk) -> None:
    draft = desk.draft()
    desk.run("bash", "-c", f"echo '{WORDS}' > NOTES", cwd=draft)
    assert "published" == state(draft)
    desk.check(draft)


def test_notes_of_a_program_publish_at_once(desk: Desk) -> None:
    draft = desk.draft()
    code = f"import os; f = open('NOTES', 'w'); f.write({WORDS!r}); f.flush(); f.write('!')"
    desk.run(sys.executable, "-c", code, cwd=draft)
    assert "published" == state(draft)
    desk.check(draft, notes=WORDS + "!")


def test_notes_saved_as_desktop_editors_do_publish_at_once(desk: Desk) -> None:
    draft = desk.draft()
    code = (
        "import os\n"
        f"with open('.goutputstream-A1B2C3', 'w') as file: file.write({WORDS!r})\n"
        "os.rename('.goutputstream-A1B2C3', 'NOTES')\n"
    )
    desk.run(sys.executable, "-c", code, cwd=draft)
    assert "published" == state(draft)
    desk.check(draft)


def test_who_is_in_the_draft_is_in_the_version(desk: Desk) -> None:
    draft = desk.draft()
    script = (
        f"echo '{WORDS}' > NOTES; ls; cat config.json; test -f weights/a.bin; stat .; ls -la;"
        " cat .modelfs/status.json; cd weights; ls; cat ../NOTES; cd ..; pwd"
    )
    desk.run("sh", "-e", "-c", script, cwd=draft)
    wait_for(draft.is_symlink, 5.0, "the name is a link")
    desk.check(draft)


# What is beside NOTES when they are closed or renamed, and goes only after that.
SAVING = {
    "emacs": f"ln -s me@host.1:2 .#NOTES; echo '{WORDS}' > NOTES; rm -f .#NOTES",
    "kate": f"echo x > .NOTES.kate-swp; sh -c \"echo '{WORDS}' > NOTES.a\"; mv NOTES.a NOTES;"
    " rm -f .NOTES.kate-swp",
    "an IDE": f"touch NOTES; echo '{WORDS}' > NOTES___jb_tmp___; mv NOTES NOTES___jb_old___;"
    " mv NOTES___jb_tmp___ NOTES; rm -f NOTES___jb_old___",
}


@pytest.mark.parametrize("script", SAVING.values(), ids=SAVING)
def test_notes_are_published_while_an_editor_has_its_own_files_there(
    desk: Desk, script: str
) -> None:
    draft = desk.draft()
    desk.run("sh", "-ec", script, cwd=draft)
    assert "published" == state(draft)
    desk.check(draft)


@pytest.mark.parametrize("how", ["yes", "no", "auto"])
def test_vim_publishes_with_wq(desk: Desk, how: str) -> None:
    if not shutil.which("vim"):
        pytest.skip("no vim")
    draft = desk.draft()
    desk.run("touch", draft / "NOTES")
    save = ["-c", f"set backup backupcopy={how}", "-c", f"call setline(1, '{WORDS}')", "-c", "wq"]
    desk.run("vim", "-N", "-u", "NONE", "-es", *save, "NOTES", cwd=draft)
    assert "published" == state(draft)
    desk.check(draft)


def test_nano_publishes_when_it_saves(desk: Desk) -> None:
    if not shutil.which("nano"):
        pytest.skip("no nano")
    draft = desk.draft()
    typed = [b"what this version is", b"\x0f", b"\r", b"\x18"]  # write out, to that name, exit
    assert 0 == typing(["nano", "NOTES"], typed, draft)
    assert "published" == state(draft)
    desk.check(draft)


def typing(command: list[str], keys: list[bytes], cwd: Path) -> int:
    """Run a program on a terminal and type; its exit status."""
    master, slave = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "TERM": "xterm", "HOME": "/nonexistent"}
    process = subprocess.Popen(
        command, cwd=cwd, env=environ, stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    try:
        for typed in keys:
            _until_silent(master)
            os.write(master, typed)
        _until_silent(master)
        return process.wait(20)
    finally:
        process.kill()
        process.wait(5)
        os.close(master)


def _until_silent(terminal: int) -> None:
    """Take what a program shows until it has no more to show."""
    timeout = 10.0
    while select.select([terminal], [], [], timeout)[0]:
        try:
            os.read(terminal, 65536)
        except OSError:  # nobody has the terminal open any more
            return
        timeout = 0.3


@pytest.mark.parametrize(
    "script", ["touch NOTES", ": > NOTES", "echo -n > NOTES", "cp /dev/null NOTES"]
)
def test_empty_notes_publish_nothing(quiet: Desk, script: str) -> None:
    draft = quiet.draft()
    before = quiet.versions()
    quiet.run("bash", "-c", script, cwd=draft)
    time.sleep(2 * SETTLE)  # in which nothing may happen
    assert "open" == state(draft)
    assert before == quiet.versions()
    assert b"" == (draft / "NOTES").read_bytes()


# Once all is quiet: who writes the notes may write more.

PYTHON = """
import os, pathlib, pickle, sys, time
draft, order, pause = pathlib.Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
files = pickle.loads(pathlib.Path(sys.argv[4]).read_bytes())
draft.mkdir(exist_ok=True)
names = list(files)
names.insert({"first": 0, "middle": 2, "last": len(names)}[order], "NOTES")
for name in names:
    path = draft / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(files.get(name, b"what this version is"))
    time.sleep(pause)
"""


@pytest.mark.parametrize("is_made_before", [True, False], ids=["in a draft", "in a new one"])
@pytest.mark.parametrize("order", ["first", "middle", "last"])
def test_a_program_writes_everything(quiet: Desk, order: str, is_made_before: bool) -> None:
    draft = quiet.draft(is_full=False) if is_made_before else quiet.name()
    quiet.run(sys.executable, "-c", PYTHON, draft, order, "0.1", quiet.pickled)
    quiet.check(draft)


@pytest.mark.parametrize(
    "names",
    [
        ("NOTES", "config.json", "empty", "weights"),
        ("config.json", "NOTES", "weights", "empty"),
        ("weights", "empty", "config.json", "NOTES"),
    ],
    ids=["first", "middle", "last"],
)
def test_cp_of_several_files(quiet: Desk, names: tuple[str, ...]) -> None:
    (quiet.source / "NOTES").write_text(WORDS)
    draft = quiet.draft(is_full=False)
    quiet.run("cp", "-r", "-t", draft, *names, cwd=quiet.source)
    quiet.check(draft)


@pytest.mark.parametrize("is_first", [True, False])
def test_cp_of_a_folder(quiet: Desk, is_first: bool) -> None:
    """What is copied first is the disk's choice; of two orders, one has the notes early."""
    shutil.rmtree(quiet.source)
    notes = {"NOTES": WORDS.encode()}
    make_files(quiet.source, notes | FILES if is_first else FILES | notes)
    draft = quiet.name()
    quiet.run("cp", "-r", quiet.source, draft)
    quiet.check(draft)


def test_a_dragged_folder_keeps_its_name_as_a_link(quiet: Desk) -> None:
    (quiet.source / "NOTES").write_text(WORDS)
    quiet.source.rename(quiet.folder / "My Model (final)")
    quiet.run("cp", "-r", quiet.folder / "My Model (final)", quiet.instance)
    draft = quiet.instance / "My Model (final)"
    number = quiet.check(draft).rpartition("/")[2]
    wait_for(draft.is_symlink, 5.0, "the name is a link")
    assert number == os.readlink(draft)
    assert {number, "My Model (final)"} < set(os.listdir(quiet.instance))
    assert FILES | {"NOTES": f"{WORDS}\n".encode()} == files_of(draft)
    wait_for(lambda: os.readlink(quiet.instance / "latest") == number, 5.0, "the latest")
    with pytest.raises(OSError, match="Read-only"):
        (draft / "config.json").write_text("changed")


SOURCE_AND_NAME = {
    "rsync": ("rsync", "-a", "{source}/", "{draft}"),
    "rsync in place": ("rsync", "-a", "--inplace", "{source}/", "{draft}/"),
    "rsync twice": (
        "sh",
        "-ec",
        "mkdir {draft}; rsync -a {source}/weights {source}/NOTES {draft};"
        " rsync -a {source}/ {draft}",
    ),
    "copytree": (
        sys.executable,
        "-c",
        "import shutil, sys; shutil.copytree(*sys.argv[1:])",
        "{source}",
        "{draft}",
    ),
    "tar": ("sh", "-ec", "tar c -C {source} . | (mkdir {draft} && tar x -C {draft})"),
    "tar, compressed": (
        "sh",
        "-ec",
        "tar czf archive -C {source} NOTES weights empty config.json && mkdir {draft}"
        " && tar xzf archive -C {draft}",
    ),
    "unzip": ("sh", "-ec", "(cd {source}; zip -qr ../x.zip .); unzip -q x.zip -d {draft}"),
    "gio copy": (
        "sh",
        "-ec",
        "mkdir -p {draft}/weights/deep/er; cd {source};"
        " for file in NOTES config.json empty weights/a.bin weights/deep/er/b.bin;"
        " do gio copy $file {draft}/$file; done",
    ),
    "find and cp": (
        "sh",
        "-ec",
        "cd {source}; find . -type d -exec mkdir -p {draft}/{{}} ';';"
        " find . -type f ! -name NOTES -exec cp {{}} {draft}/{{}} ';'; cp NOTES {draft}",
    ),
    "sed -i": (
        "sh",
        "-ec",
        "cp -r {source} {draft}.new; rm {draft}.new/NOTES; echo > {draft}.new/NOTES.txt;"
        " mv {draft}.new {draft}; cd {draft}; rm NOTES.txt; echo x > n; mv n m;"
        " sed -i 's/x/what this version is/' m; mv m NOTES",
    ),
}


@pytest.mark.parametrize("command", SOURCE_AND_NAME.values(), ids=SOURCE_AND_NAME)
def test_a_folder_with_its_notes_is_copied_by(quiet: Desk, command: tuple[str, ...]) -> None:
    words = [word.format(source=quiet.source, draft=(draft := quiet.name())) for word in command]
    tool = words[2].split()[0] if words[1] == "-ec" else words[0]
    for needed in ("rsync", "unzip", "zip", "gio"):
        if any(needed in word for word in words) and not shutil.which(needed):
            pytest.skip(f"no {needed}, which {tool} is about")
    (quiet.source / "NOTES").write_text(WORDS)
    quiet.run(*words)
    quiet.check(draft)


def test_a_clone_is_published_without_its_history(quiet: Desk) -> None:
    git = ("git", "-c", "user.name=n", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    quiet.run(*git, "init", "-q", ".", cwd=quiet.source)
    quiet.run(*git, "add", ".", cwd=quiet.source)
    quiet.run(*git, "commit", "-qm", "all", cwd=quiet.source)
    draft = quiet.name()
    quiet.run("git", "clone", "-q", "--no-hardlinks", quiet.source, draft)
    assert (draft / ".git/HEAD").exists()
    quiet.run("sh", "-c", f"echo '{WORDS}' > NOTES", cwd=draft)
    quiet.check(draft)


# Whose work is waited for.


def test_notes_wait_while_another_program_copies(quiet: Desk) -> None:
    draft = quiet.draft(is_full=False)
    code = PYTHON.replace(
        'names.insert({"first": 0, "middle": 2, "last": len(names)}[order], "NOTES")', ""
    )
    command = [sys.executable, "-c", code, str(draft), "last", "0.3", quiet.pickled]
    with subprocess.Popen(command) as copying:
        wait_for((draft / "config.json").exists, 20.0, "the first file")
        quiet.run("sh", "-c", f"echo '{WORDS}' > NOTES", cwd=draft)
        assert "armed" == state(draft)
        copying.wait(20)
    quiet.check(draft)


def test_a_file_that_is_open_for_writing_is_waited_for(quiet: Desk) -> None:
    draft = quiet.draft()
    with (draft / "late.bin").open("wb", buffering=0) as file:
        file.write(b"first half, ")
        quiet.run("sh", "-c", f"echo '{WORDS}' > NOTES", cwd=draft)
        time.sleep(2 * SETTLE)  # in which nothing may happen
        assert "armed" == state(draft)
        file.write(b"second half")
    quiet.check(draft, FILES | {"late.bin": b"first half, second half"})


# What is sent.


def test_many_files_empty_ones_and_deep_ones(desk: Desk) -> None:
    files = {f"part-{n:03}/of-{n % 7}/f{n}.bin": b"%d" % n * (n % 5) for n in range(120)}
    files |= {f"{n}.txt": b"" for n in range(30)} | {"/".join("d" * 60): b"deep"}
    draft = desk.draft(is_full=False)
    make_files(desk.folder / "many", files)
    desk.run("cp", "-r", f"{desk.folder / 'many'}/.", draft)
    desk.run("sh", "-c", f"echo '{WORDS}' > NOTES", cwd=draft)
    desk.check(draft, files)


def test_odd_names_are_sent_as_they_are(desk: Desk) -> None:
    files = {
        "with space.txt": b"1",
        "grüße/模型 🤗.bin": b"2",
        "plus+percent%41&equals=question?.txt": b"3",
        ".hidden": b"4",
        "#sharp": b"5",
        "x" * 200: b"6",
    }
    draft = desk.draft(is_full=False)
    desk.run("cp", "-r", f"{make_files(desk.folder / 'odd', files)}/.", draft)
    desk.run("sh", "-c", f"echo '{WORDS}' > NOTES", cwd=draft)
    desk.check(draft, files)


def test_junk_is_never_sent(desk: Desk) -> None:
    junk = [
        *(".DS_Store", "weights/.DS_Store", "._config.json", "Thumbs.db", "desktop.ini"),
        *(".Trash-1000/files/x", ".directory", "config.json~", ".config.json.swp"),
        *(".git/HEAD", ".cache/x", ".huggingface/x", ".fuse_hidden0001"),
        *("config.json:Zone.Identifier", "#config.json#", ".~lock.config.json#"),
    ]
    make_files(desk.source, dict.fromkeys(junk, b"junk"))
    draft = desk.draft()
    desk.run("sh", "-c", f"echo '{WORDS}' > NOTES", cwd=draft)
    desk.check(draft)


def test_modes_times_and_empty_directories_are_no_part_of_a_version(desk: Desk) -> None:
    draft = desk.draft()
    desk.run("mkdir", "-p", draft / "nothing/in/it")
    desk.run("chmod", "000", draft / "config.json")
    desk.run("sh", "-c", f"echo '{WORDS}' > NOTES", cwd=draft)
    desk.check(draft)


def test_the_numbered_draft_becomes_the_version(desk: Desk) -> None:
    number = str(int(desk.versions()[-1]) + 1)
    draft = desk.instance / number
    desk.run("cp", "-r", desk.source, draft)
    desk.run("sh", "-c", f"echo '{WORDS}' > NOTES", cwd=draft)
    assert f"{BASE}/{number}" == desk.check(draft)
    assert not draft.is_symlink()
    assert FILES | {"NOTES": f"{WORDS}\n".encode()} == files_of(draft)
    assert 0o444 == (draft / "config.json").stat().st_mode & 0o777


def test_a_new_model_is_made_with_its_first_version(desk: Desk, mounts: Mounts) -> None:
    path = desk.mount.path / "alice/new-model/jax/first/1"
    desk.run("mkdir", "-p", path)
    model = path.parents[2] / "model-metadata.json"
    desk.run("sed", "-i", 's/"title": ".*"/"title": "A new model"/', model)
    instance = path.parent / "model-instance-metadata.json"
    desk.run("sed", "-i", 's/"licenseName": ".*"/"licenseName": "MIT"/', instance)
    desk.run("cp", "-r", f"{desk.source}/.", path)
    desk.run("sh", "-c", f"echo '{WORDS}' > NOTES", cwd=path)
    assert "alice/new-model/jax/first/1" == desk.check(path)
    with held(mounts(60.0)[1]) as holdings:
        told = holdings.metadata("alice/new-model")
        assert ("A new model", True) == (told["title"], told["isPrivate"])
        assert "MIT" == holdings.metadata("alice/new-model/jax/first")["licenseName"]
    wait_for(lambda: "A new model" in model.read_text(), 5.0, "the registry's text")
    assert {"1", "latest", "model-instance-metadata.json"} == set(os.listdir(path.parent))
