"""The install secret: made once, kept from others, and never one key for two jobs."""

import multiprocessing
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SetupError
from core.secret import FILE, SIZE, Secret

ROOT = Secret.of(bytes(range(SIZE)))


def test_the_first_use_makes_a_file_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    first = Secret.load(folder)
    assert (folder / FILE).stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert len((folder / FILE).read_bytes()) == SIZE
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert Secret.load(folder) == first


def test_a_lax_umask_does_not_open_the_file(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        Secret.load(tmp_path)
    finally:
        os.umask(old)
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600


def _engine_key(folder: Path) -> str:
    return Secret.load(folder).engine_key()


def test_processes_that_start_at_once_agree_on_one_secret(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert len(set(pool.map(_engine_key, [tmp_path] * 16, chunksize=1))) == 1
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1])
def test_a_file_of_another_length_is_refused_and_left_alone(tmp_path: Path, size: int) -> None:
    path = tmp_path / FILE
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    with pytest.raises(SetupError, match=f"file of {SIZE} bytes; restore it"):
        Secret.load(tmp_path)
    assert path.read_bytes() == bytes(size)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    Secret.load(tmp_path)
    (tmp_path / FILE).chmod(mode)
    with pytest.raises(SetupError, match="chmod 600"):
        Secret.load(tmp_path)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="file/data/secret cannot be"):
        Secret.load(tmp_path / "file" / "data")


def test_keys_are_those_of_hkdf() -> None:
    # HKDF-SHA256 of RFC 5869 with a salt of zeros, computed by the `cryptography` package for this root and purpose.
    assert ROOT.derive("session").hex() == "88495158abdaf19c09acc9ebfc0e90ad43f395d3dc44a92fc75aabe18ae21bd9"


def test_the_secret_does_not_show_in_its_text() -> None:
    shown = repr(ROOT) + str(ROOT)
    assert "\\x" not in shown and ROOT.derive("session").hex() not in shown


def test_a_digest_of_one_purpose_is_worthless_for_another() -> None:
    purposes = ["session", "csrf", "api-key", "subject", "node", "engine"]
    assert len({ROOT.derive(purpose) for purpose in purposes}) == len(purposes)
    assert len({ROOT.digest(purpose, "text") for purpose in purposes}) == len(purposes)
    assert ROOT.engine_key() not in {ROOT.digest(purpose, "") for purpose in purposes}


def test_two_installs_share_no_digest() -> None:
    other = Secret.of(bytes(SIZE))
    assert ROOT.subject("key", "ada") != other.subject("key", "ada")
    assert ROOT.engine_key() != other.engine_key()


def test_a_subject_depends_on_key_and_user_and_hides_both() -> None:
    subjects = {ROOT.subject(key, user) for key in ("a", "ab") for user in ("", "b", "bb", "\x00")}
    assert len(subjects) == 8
    assert all(len(subject) == 64 and "ada" not in subject for subject in subjects)
    assert ROOT.subject("a", None) == ROOT.subject("a", "")


@given(st.text(), st.text(), st.text(), st.text())
def test_no_two_pairs_of_key_and_user_make_one_subject(a: str, b: str, c: str, d: str) -> None:
    assert (ROOT.subject(a, b) == ROOT.subject(c, d)) == ((a, b) == (c, d))


def test_a_node_depends_on_its_subject_its_past_and_its_message_but_not_on_the_order_of_fields() -> None:
    ada, bob = ROOT.subject("k", "ada"), ROOT.subject("k", "bob")
    hello = {"role": "user", "content": "hello"}
    first = ROOT.node(ada, None, hello)
    assert first == ROOT.node(ada, None, {"content": "hello", "role": "user"})
    others = [
        ROOT.node(bob, None, hello),
        ROOT.node(ada, first, hello),
        ROOT.node(ada, None, {**hello, "role": "system"}),
        ROOT.node(ada, None, {**hello, "name": "x"}),
    ]
    assert len({first, *others}) == 5
