from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from seas_runtime.errors import UserError
from seas_runtime.outputs import replacing, temporary
from seas_runtime.outputs.checking import check_out, refuse_overlap
from seas_runtime.outputs.kinds import MARKER, Kind, entries, owned
from seas_runtime.outputs.replacing import replace_directory
from seas_runtime.outputs.temporary import temporary_folder

THING = Kind("a thing", "key.json", ("key.json", "data/*.bin"))
FOREIGN = ["NOTES.txt", "data/photo.png", "data/more/deep.txt", "data/mine.bin", "own/"]
CLUTTER = [".DS_Store", "data/Thumbs.db", "lost+found/x", ".gitkeep", "data/._k"]


def make(out: Path, text: str = "one", names: tuple[str, ...] = ("a", "b")) -> None:
    with replace_directory(out, THING) as fresh:
        (fresh / "data").mkdir()
        for name in names:
            (fresh / f"data/{name}.bin").write_text(text)
        (fresh / "key.json").write_text(json.dumps(text))


def put(out: Path, name: str) -> Path:
    path = out / name
    if name.endswith("/"):
        path.mkdir(parents=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    return path


def contents(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_strangers_file_is_refused_and_survives_what_replaces_anyway(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    make(out)
    mine = put(out, name)
    with pytest.raises(UserError, match=r"no command of ours wrote.*move these away") as error:
        check_out(out, THING, "--out", force=True)
    assert name.rstrip("/") in str(error.value)
    make(out, "two", ("b", "c"))  # as a build that continues does
    assert mine.exists()
    found = {key: text for key, text in contents(out).items() if key not in (name, MARKER)}
    assert found == {"data/b.bin": "two", "data/c.bin": "two", "key.json": '"two"'}
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", CLUTTER)
def test_clutter_does_not_count_and_stays(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    mine = put(out, name)
    check_out(out, THING)
    make(out)
    check_out(out, THING, force=True)
    make(out, "two")
    assert mine.read_text() == "mine"
    assert contents(out)["data/a.bin"] == "two"


def test_a_file_of_ours_that_a_person_changed_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "out")
    (tmp_path / "out/data/a.bin").write_text("retouched by hand")
    with pytest.raises(UserError, match=r"or not as they are now: data/a\.bin"):
        check_out(tmp_path / "out", THING, force=True)


def test_what_an_earlier_version_wrote_is_known_by_its_names_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(out)
    (out / MARKER).unlink()
    check_out(out, THING, force=True)
    put(out, "readme.md")
    with pytest.raises(UserError, match=r"readme\.md"):
        check_out(out, THING, force=True)
    (out / "key.json").unlink()
    with pytest.raises(UserError, match="expected an empty folder or a thing, found other files"):
        check_out(out, THING, force=True)


def test_another_kinds_folder_is_not_replaced(tmp_path: Path) -> None:
    make(tmp_path / "out")
    with pytest.raises(UserError, match="expected an empty folder or another thing"):
        check_out(tmp_path / "out", Kind("another thing", "key.json", THING.patterns), force=True)


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EXDEV])
def test_a_folder_that_cannot_be_renamed_gets_the_files_moved_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    out, rename = tmp_path / "out", Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self == out:
            raise OSError(number, os.strerror(number))
        return rename(self, target)

    make(out)
    monkeypatch.setattr(Path, "rename", refuse)
    make(out, "two", ("b", "c"))
    assert set(contents(out)) == {"data/b.bin", "data/c.bin", "key.json", MARKER}
    assert [item.name for item in tmp_path.iterdir()] == ["out"]


def test_a_mount_point_is_written_from_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(replacing.os.path, "ismount", lambda path: Path(path) == out)
    inode = out.stat().st_ino
    seen = []
    for text in ("one", "two"):
        with replace_directory(out, THING) as fresh:
            seen.append(fresh.is_relative_to(out))
            (fresh / "key.json").write_text(text)
    assert seen == [True, True]
    assert out.stat().st_ino == inode
    assert set(contents(out)) == {"key.json", MARKER}
    assert contents(out)["key.json"] == "two"


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A folder of memory that is mounted, as a volume in a container is."""
    out = tmp_path / "volume"
    out.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(out)]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield out
    finally:
        subprocess.run(["umount", str(out)], check=True)


def test_a_volume_is_written_and_replaced_and_its_other_files_stay(mounted: Path) -> None:
    check_out(mounted, THING)
    make(mounted)
    assert contents(mounted)["data/a.bin"] == "one"
    (mounted / "lost+found").mkdir()
    check_out(mounted, THING, force=True)
    make(mounted, "two", ("b", "c"))
    assert set(contents(mounted)) == {"data/b.bin", "data/c.bin", "key.json", MARKER}
    note = put(mounted, "NOTES.txt")
    with pytest.raises(UserError, match=r"NOTES\.txt"):
        check_out(mounted, THING, force=True)
    make(mounted, "three")
    assert note.read_text() == "mine"
    assert [item.name for item in mounted.parent.iterdir()] == ["volume"]
    assert mounted.is_mount()


def test_a_folder_on_another_disk_behind_a_link_is_written_there(mounted: Path, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(mounted / "deeper")
    (mounted / "deeper").mkdir()
    make(tmp_path / "out")
    make(tmp_path / "out", "two")
    assert contents(mounted / "deeper")["data/a.bin"] == "two"
    assert (tmp_path / "out").is_symlink()
    assert [item.name for item in mounted.iterdir()] == ["deeper"]


def test_a_volume_without_room_keeps_what_it_held(mounted: Path) -> None:
    make(mounted)
    before = contents(mounted)
    with pytest.raises(UserError, match="the disk is full"), replace_directory(mounted, THING) as fresh:
        (fresh / "key.json").write_bytes(bytes(32 << 20))
    assert contents(mounted) == before


def test_an_interrupted_move_is_known_to_be_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    make(out)
    put(out, "NOTES.txt")
    moves = []

    def fail(source: Path, target: Path) -> None:
        moves.append(target)
        if len(moves) == 2:
            raise OSError(errno.EIO, "Input/output error")
        source.replace(target)

    monkeypatch.setattr(replacing, "_move", fail)
    with pytest.raises(UserError, match="Input/output error"):
        make(out, "two", ("c", "d"))
    monkeypatch.undo()
    assert not (out / "key.json").exists()  # nobody takes it for whole
    assert entries(out) - (owned(out, THING) or set()) == {"NOTES.txt"}
    make(out, "three")
    assert contents(out)["NOTES.txt"] == "mine"
    assert contents(out)["key.json"] == '"three"'


def test_a_link_stays_one_and_what_is_behind_a_link_inside_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    make(tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk/key.json").exists()
    elsewhere = put(tmp_path, "elsewhere/a.bin")
    for file in (tmp_path / "disk/data").iterdir():
        file.unlink()
    (tmp_path / "disk/data").rmdir()
    (tmp_path / "disk/data").symlink_to(elsewhere.parent)
    with pytest.raises(UserError, match="data"):
        check_out(tmp_path / "out", THING, force=True)
    with pytest.raises(UserError, match="where ours would go"):
        make(tmp_path / "out", "two")
    assert elsewhere.read_text() == "mine"


KILLED = """
import sys, time
from pathlib import Path
from seas_runtime.outputs.temporary import temporary_folder
with temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "large.bin").write_text("x")
    print(folder.parent, flush=True)
    time.sleep(60)
"""


def test_what_a_killed_run_left_is_swept_and_what_a_live_one_writes_is_not(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    out = tmp_path / "out"
    persons = put(tmp_path, ".out.0123abcd.seas-tmp/photo.png")  # by its name ours, and not marked
    words = [sys.executable, "-c", KILLED, str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with temporary_folder(out) as mine:
            make(out)
            assert left.is_dir()
            assert mine.is_dir()
        process.send_signal(signal.SIGKILL)
    check_out(tmp_path / "other", THING)  # any command that writes beside it
    assert not left.exists()
    assert persons.read_text() == "mine"


def interrupted_at(step: int, beside: Path) -> bool:
    """Make a temporary folder and interrupt it at a step of its own code; whether it came so far."""
    steps = iter(range(step))

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != temporary.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode" and next(steps, None) is None:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with temporary_folder(beside) as folder:
            (folder / "file").touch()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_temporary_folder_goes_wherever_the_interrupt_comes(tmp_path: Path) -> None:
    step = 0
    while interrupted_at(step, tmp_path / "out"):
        assert list(tmp_path.iterdir()) == [], step
        step += 1
    assert step > 100


def test_a_name_of_255_bytes_has_room_for_ours(tmp_path: Path) -> None:
    out = tmp_path / ("\u00e4" * 127)
    check_out(out, THING)
    make(out)
    make(out, "two")
    assert contents(out)["key.json"] == '"two"'


def test_the_trial_leaves_nothing_and_finds_what_cannot_be_written(tmp_path: Path) -> None:
    check_out(tmp_path / "a/b/c", THING)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="expected a folder that can be written"):
        check_out(Path("/proc/self/out"), THING)
    (tmp_path / "link").symlink_to(tmp_path / "link")
    with pytest.raises(UserError, match="a link to nowhere"):
        check_out(tmp_path / "link", THING)


@pytest.mark.parametrize(
    ("out", "how"),
    [("in", "is"), (".", "holds"), ("in/deeper/out", "lies in"), ("link", "is"), ("in/../in", "is")],
)
def test_an_out_that_overlaps_an_input_is_refused(tmp_path: Path, out: str, how: str) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(UserError, match=f": {how} the photographs"):
        refuse_overlap(tmp_path / out, {"the photographs": tmp_path / "in"}, "--out")
    refuse_overlap(tmp_path / "in-training", {"the photographs": tmp_path / "in", "--base": None}, "--out")
