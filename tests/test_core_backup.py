"""Backup and restore: the same install comes back, from a running one too, and nothing is ever half restored."""

import io
import shutil
import sqlite3
import tarfile
import threading
from pathlib import Path

import orjson
import pytest
from rows import bodies, chat, settled, stored, wait_until

from core import config, migrate
from core.backup import Manifest, backup, restore
from core.config import Settings
from core.errors import SetupError
from core.secret import Secret
from core.spool import Spool
from core.store import Store
from core.types import Subject
from core.unit import encode
from core.writer import Writer

ADAPTER = "artifacts/0123abcd/adapter_model.safetensors"
ROWS = "datasets/89abcdef/rows.jsonl"


def settings_in(folder: Path, **ledger: object) -> Settings:
    return config.parse({"data": str(folder), "ledger": ledger})


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """An install with two interactions in the ledger, one in the spool, an artifact and an unfinished one."""
    settings = settings_in(tmp_path / "data")
    Secret.load(settings.data)
    migrate.upgrade(settings.database_url)
    write(settings, "a", "b")
    waiting = Spool.open(settings.data / "spool", 2**20)
    waiting.append([encode(chat("waiting"))])
    waiting.close()
    for name in (ADAPTER, ROWS, "artifacts/.draft-x/weights"):
        (settings.data / name).parent.mkdir(parents=True)
        (settings.data / name).write_bytes(b"weights")
    (settings.data / "logs").mkdir()
    (settings.data / "logs" / "engine.log").write_text("noise")
    return settings


def write(settings: Settings, *names: str) -> None:
    """Write and replay whatever waits."""
    store = Store.open(settings.database_url)
    writer = Writer(store, Spool.open(settings.data / "spool", 2**20), settings.ledger)
    writer.start()
    for name in names:
        writer.submit(chat(name)).result(10)
    wait_until(lambda: settled(writer))
    writer.close()
    store.close()


def rows_of(settings: Settings) -> list[str]:
    store = Store.open(settings.database_url)
    try:
        return stored(store)
    finally:
        store.close()


def rewrite(source: Path, target: Path, change: dict[str, bytes | None], add: tarfile.TarInfo | None = None) -> None:
    """The same tar with members changed, or left out where the change is None."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        if add is not None:
            new.addfile(add, io.BytesIO(b"x" * add.size))
        for member in old:
            content = change.get(member.name, old.extractfile(member).read())  # type: ignore[union-attr]
            if content is not None:
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))


def test_what_was_backed_up_comes_back(settings: Settings, tmp_path: Path) -> None:
    made = backup(settings, tmp_path / "hone.tar")
    other = settings_in(tmp_path / "other")
    assert restore(other, tmp_path / "hone.tar") == made
    assert rows_of(other) == ["a", "b"]
    assert Secret.load(other.data).subject("k", "u") == Secret.load(settings.data).subject("k", "u") != Subject("")
    assert (other.data / ADAPTER).read_bytes() == b"weights"
    write(other)
    assert rows_of(other) == ["a", "b", "waiting"]


def test_it_holds_what_is_needed_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    made = backup(settings, tmp_path / "hone.tar")
    names = set(made.files)
    assert {name for name in names if not name.startswith("spool/")} == {"ledger.db", "secret", ADAPTER, ROWS}
    assert len(names) == 5
    assert made.revision == migrate.head()
    restore(settings_in(tmp_path / "other"), tmp_path / "hone.tar")
    restored = {path.name for path in (tmp_path / "other").iterdir()}
    assert restored == {"artifacts", "datasets", "ledger.db", "secret", "spool"}


def test_others_cannot_read_it_nor_what_is_restored(settings: Settings, tmp_path: Path) -> None:
    backup(settings, tmp_path / "hone.tar")
    other = settings_in(tmp_path / "other")
    restore(other, tmp_path / "hone.tar")
    for path in (tmp_path / "hone.tar", other.data, *other.data.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_backup_of_a_busy_ledger_is_whole(settings: Settings, tmp_path: Path) -> None:
    store = Store.open(settings.database_url)
    writer = Writer(store, Spool.open(settings.data / "spool", 2**20), settings.ledger)
    writer.start()
    done = threading.Event()
    written: list[str] = []

    def work() -> None:
        while not done.is_set():
            written.append(f"n{len(written):05}")
            writer.submit(chat(written[-1])).result(10)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: len(written) > 50)
    certain = len(written) - 1
    backup(settings, tmp_path / "hone.tar")
    done.set()
    thread.join()
    writer.close()
    store.close()
    other = settings_in(tmp_path / "other")
    restore(other, tmp_path / "hone.tar")
    write(other)
    found = rows_of(other)
    assert set(written[:certain]) <= set(found)
    copy = Store.open(other.database_url)
    assert sorted(bodies(copy)) == found
    copy.close()


def test_a_folder_that_is_not_empty_is_left_alone(settings: Settings, tmp_path: Path) -> None:
    backup(settings, tmp_path / "hone.tar")
    before = {path: path.read_bytes() for path in settings.data.rglob("*") if path.is_file()}
    with pytest.raises(SetupError, match="not empty"):
        restore(settings, tmp_path / "hone.tar")
    assert {path: path.read_bytes() for path in settings.data.rglob("*") if path.is_file()} == before


def test_an_empty_folder_that_is_there_will_do(settings: Settings, tmp_path: Path) -> None:
    backup(settings, tmp_path / "hone.tar")
    other = settings_in(tmp_path / "other")
    other.data.mkdir()
    restore(other, tmp_path / "hone.tar")
    assert rows_of(other) == ["a", "b"]


def test_an_existing_file_is_not_overwritten(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "hone.tar").write_text("precious")
    with pytest.raises(SetupError, match="exists already"):
        backup(settings, tmp_path / "hone.tar")
    assert (tmp_path / "hone.tar").read_text() == "precious"


DAMAGE: dict[str, dict[str, bytes | None]] = {
    "no manifest": {"manifest.json": None},
    "a broken manifest": {"manifest.json": b"{"},
    "a manifest of another shape": {"manifest.json": b'{"files":{}}'},
    "a manifest of nothing": {"manifest.json": b'{"format":1,"created_at":1,"revision":"0001","files":[1]}'},
    "a missing secret": {"secret": None},
    "another secret": {"secret": b"x" * 32},
    "a missing artifact": {ADAPTER: None},
    "another artifact": {ADAPTER: b"wrong"},
    "another ledger": {"ledger.db": b"no database"},
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_backup_is_refused_and_leaves_nothing(
    settings: Settings, tmp_path: Path, change: dict[str, bytes | None]
) -> None:
    backup(settings, tmp_path / "hone.tar")
    rewrite(tmp_path / "hone.tar", tmp_path / "bad.tar", change)
    other = settings_in(tmp_path / "other")
    with pytest.raises(SetupError, match=r"bad\.tar"):
        restore(other, tmp_path / "bad.tar")
    assert list(other.data.iterdir()) == []


def test_a_cut_off_backup_is_refused(settings: Settings, tmp_path: Path) -> None:
    backup(settings, tmp_path / "hone.tar")
    whole = (tmp_path / "hone.tar").read_bytes()
    for share in (0.0, 0.3, 0.6, 0.9):
        (tmp_path / "cut.tar").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(SetupError, match=r"cut\.tar"):
            restore(settings_in(tmp_path / "other"), tmp_path / "cut.tar")
    with pytest.raises(SetupError, match=r"missing\.tar"):
        restore(settings_in(tmp_path / "other"), tmp_path / "missing.tar")


@pytest.mark.parametrize(
    "name",
    ["../evil", "/tmp/evil", "artifacts/../../evil", "config.toml", "spool/.hidden", "artifacts//x", "ledger.db/x"],
)
def test_a_name_that_has_no_place_in_a_backup_is_refused(settings: Settings, tmp_path: Path, name: str) -> None:
    backup(settings, tmp_path / "hone.tar")
    member = tarfile.TarInfo(name)
    member.size = 3
    rewrite(tmp_path / "hone.tar", tmp_path / "bad.tar", {}, member)
    with pytest.raises(SetupError, match="no backup does"):
        restore(settings_in(tmp_path / "other"), tmp_path / "bad.tar")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_no_plain_file_is_refused(settings: Settings, tmp_path: Path, kind: bytes) -> None:
    backup(settings, tmp_path / "hone.tar")
    member = tarfile.TarInfo("artifacts/x")
    member.type, member.linkname = kind, "secret"
    rewrite(tmp_path / "hone.tar", tmp_path / "bad.tar", {}, member)
    with pytest.raises(SetupError):
        restore(settings_in(tmp_path / "other"), tmp_path / "bad.tar")


def test_a_backup_of_a_newer_hone_is_refused(settings: Settings, tmp_path: Path) -> None:
    made = backup(settings, tmp_path / "hone.tar")
    newer = Manifest(made.format, made.created_at, "9999", made.files)
    rewrite(tmp_path / "hone.tar", tmp_path / "new.tar", {"manifest.json": orjson.dumps(newer)})
    with pytest.raises(SetupError, match="9999"):
        restore(settings_in(tmp_path / "other"), tmp_path / "new.tar")


def test_a_damaged_ledger_is_not_backed_up(settings: Settings, tmp_path: Path) -> None:
    ledger = settings.data / "ledger.db"
    with sqlite3.connect(ledger) as conn:
        conn.execute("PRAGMA journal_mode = delete")
    conn.close()
    content = bytearray(ledger.read_bytes())
    content[5 * 4096 : 12 * 4096] = bytes(7 * 4096)
    ledger.write_bytes(content)
    with pytest.raises(SetupError):
        backup(settings, tmp_path / "hone.tar")
    assert not (tmp_path / "hone.tar").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_nothing_to_back_up_is_said_so(settings: Settings, tmp_path: Path) -> None:
    shutil.rmtree(settings.data)
    with pytest.raises(SetupError, match="no ledger"):
        backup(settings, tmp_path / "hone.tar")
    assert list(tmp_path.iterdir()) == []


def test_postgres_has_tools_of_its_own(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, url="postgresql+psycopg://u@h/d")
    with pytest.raises(SetupError, match="pg_dump"):
        backup(settings, tmp_path / "hone.tar")
    with pytest.raises(SetupError, match="pg_restore"):
        restore(settings, tmp_path / "hone.tar")
