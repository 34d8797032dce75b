"""The spool: on the disk before it counts, whole or not at all, and inherited from the dead."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from core.spool import Spool, SpoolFull

CAP = 2**20


def lines(*words: str) -> list[bytes]:
    return [f"{word}\n".encode() for word in words]


def waiting(spool: Spool) -> list[bytes]:
    """Take everything, a few lines at a time."""
    taken: list[bytes] = []
    while chunk := spool.peek(3):
        taken += chunk.lines
        spool.done(chunk, {})
    return taken


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def test_lines_come_out_in_the_order_in_which_they_went_in(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, CAP)
    words = [str(number) for number in range(10)]
    for word in words:
        spool.append(lines(word))
    assert waiting(spool) == lines(*words)
    assert spool.waiting == 0


def test_a_chunk_that_is_not_done_comes_again(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, CAP)
    spool.append(lines("a", "b"))
    assert spool.peek(1) == spool.peek(1)
    assert waiting(spool) == lines("a", "b")


def test_an_append_is_on_the_disk_when_it_returns(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, CAP)
    spool.append(lines("a", "b"))
    assert files(tmp_path)[0].read_bytes() == b"a\nb\n"


def test_an_empty_spool_leaves_nothing_behind(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, CAP)
    spool.append(lines("a"))
    waiting(spool)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool", CAP)
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    assert files(tmp_path / "spool")[0].stat().st_mode & 0o777 == 0o600
    spool.close()


def test_beyond_its_cap_it_takes_nothing_until_it_is_empty(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, cap=10)
    spool.append(lines("12345"))
    with pytest.raises(SpoolFull):
        spool.append(lines("12345"))
    assert waiting(spool) == lines("12345")
    spool.append(lines("12345678"))


def test_what_a_closed_spool_left_is_adopted_once(tmp_path: Path) -> None:
    first = Spool.open(tmp_path, CAP)
    first.append(lines("a"))
    first.close()
    second, third = Spool.open(tmp_path, CAP), Spool.open(tmp_path, CAP)
    assert waiting(third) == []
    assert waiting(second) == lines("a")
    assert len(files(tmp_path)) == 2


def test_a_living_process_keeps_its_own(tmp_path: Path) -> None:
    code = f"""
        from pathlib import Path
        from core.spool import Spool
        spool = Spool.open(Path({str(tmp_path)!r}), 1000)
        spool.append([b"theirs\\n"])
        print("ready", flush=True)
        input()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    other = subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout and other.stdout.readline() == "ready\n"
    living = Spool.open(tmp_path, CAP)
    assert waiting(living) == []
    other.kill()
    other.communicate()
    assert waiting(Spool.open(tmp_path, CAP)) == lines("theirs")


def test_a_torn_last_line_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "1-dead.jsonl").write_bytes(b"a\nb\nhalf a li")
    (tmp_path / "2-dead.jsonl").write_bytes(b"x" * 100_000)
    (tmp_path / "3-dead.jsonl").write_bytes(b"c\n" + b"\0" * 100_000)
    spool = Spool.open(tmp_path, CAP)
    assert sorted(waiting(spool)) == lines("a", "b", "c")
    assert len(files(tmp_path)) == 1


def test_refused_lines_are_set_aside_and_the_others_are_done(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool.open(tmp_path, CAP)
    spool.append(lines("a", "b", "c"))
    chunk = spool.peek(9)
    assert chunk
    spool.done(chunk, {1: "no such table"})
    assert spool.peek(9) is None
    assert [path.read_bytes() for path in tmp_path.glob("*.rejected")] == [b"b\n"]
    assert "no such table" in caplog.text


def test_set_aside_lines_are_never_adopted(tmp_path: Path) -> None:
    (tmp_path / "1-dead.rejected").write_bytes(b"a\n")
    assert waiting(Spool.open(tmp_path, CAP)) == []
    assert (tmp_path / "1-dead.rejected").exists()


def test_a_file_that_was_taken_away_takes_no_more_lines(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool", CAP)
    spool.append(lines("a"))
    (tmp_path / "spool").rename(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="No such file"):
        spool.append(lines("lost"))
    (tmp_path / "elsewhere").rename(tmp_path / "spool")
    spool.append(lines("b"))
    assert waiting(spool) == lines("a", "b")


def test_a_removed_file_is_begun_anew_and_its_lines_are_not_lost(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, CAP)
    spool.append(lines("a"))
    files(tmp_path)[0].unlink()
    spool.append(lines("b"))
    assert files(tmp_path)[0].read_bytes() == b"b\n"
    assert waiting(spool) == lines("a", "b")


def test_a_disk_that_is_full_takes_all_of_an_append_or_nothing(tmp_path: Path) -> None:
    code = f"""
        import resource
        from pathlib import Path
        from core.spool import Spool
        spool = Spool.open(Path({str(tmp_path)!r}), 10**9)
        spool.append([b"first\\n"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
        try:
            spool.append([b"x" * 600 + b"\\n", b"y" * 600 + b"\\n"])
        except OSError as error:
            print(error.strerror)
        spool.append([b"small\\n"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        spool.append([b"last\\n"])
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert done.stdout == "File too large\n"
    assert waiting(Spool.open(tmp_path, CAP)) == lines("first", "small", "last")


def test_a_chunk_is_bounded_in_bytes_as_well(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path, 2**30)
    big = b"x" * (3 * 2**20) + b"\n"
    spool.append([big] * 4)
    chunk = spool.peek(100)
    assert chunk
    assert len(chunk.lines) == 2
    assert waiting(spool) == [big] * 4


def test_many_processes_open_and_close_it_at_once_and_lose_nothing(tmp_path: Path) -> None:
    code = f"""
        import sys
        from pathlib import Path
        from core.spool import Spool
        for turn in range(30):
            spool = Spool.open(Path({str(tmp_path)!r}), 10**9)
            spool.append([f"{{sys.argv[1]}}-{{turn}}\\n".encode()])
            spool.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    started = [subprocess.Popen([*command, str(number)]) for number in range(4)]
    assert [process.wait(60) for process in started] == [0] * 4
    expected = {f"{number}-{turn}\n".encode() for number in range(4) for turn in range(30)}
    assert set(waiting(Spool.open(tmp_path, CAP))) == expected
