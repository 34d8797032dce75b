"""The install secret: 32 random bytes in the data folder, and the keyed digests made from it.

Each purpose has a key of its own (HKDF-SHA256, RFC 5869), so that a digest made for one is worthless for another. The
secret never leaves the machine's data folder; whoever loses it loses every key and every tie of a subject to its rows.
"""

import base64
import hmac
import os
import secrets
import stat
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import orjson

from core.disk import sync
from core.errors import SetupError
from core.types import JsonObject, Subject

FILE = "secret"
SIZE = 32


@dataclass(frozen=True, slots=True)
class Secret:
    """Makes keys and digests by purpose; two installs never agree on one."""

    _root: bytes = field(repr=False)

    @classmethod
    def load(cls, folder: Path) -> "Secret":
        """The folder's secret, made on first use (file mode 0600, folder 0700).

        Raises SetupError when the file has a wrong length, others may read it, or the folder cannot be used.
        """
        path = folder / FILE
        try:
            if not path.exists():
                _create(path)
            return cls.of(_read(path))
        except OSError as error:
            raise SetupError(f"The secret {path} cannot be read or made: {error.strerror}.") from None

    @classmethod
    def of(cls, material: bytes) -> "Secret":
        """A secret from 32 bytes of key material."""
        return cls(_mac(bytes(SIZE), material))

    def derive(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose."""
        return _derived(self._root, purpose)

    def digest(self, purpose: str, text: str) -> str:
        """Keyed digest of a text, 64 hex digits."""
        return self._digest(purpose, text.encode(errors="surrogatepass"))

    def subject(self, key_id: str, user: str | None) -> Subject:
        """The pseudonym of one client's user; no name and an empty name are the same user."""
        name = (user or "").encode(errors="surrogatepass")
        return Subject(self._digest("subject", key_id.encode(), name))

    def node(self, subject: Subject, parent: str | None, message: JsonObject) -> str:
        """The id of a message in its subject's tree of conversations: the same past and message give the same id."""
        canonical = orjson.dumps(message, option=orjson.OPT_SORT_KEYS)
        return self._digest("node", subject.encode(), (parent or "").encode(), canonical)

    def engine_key(self) -> str:
        """The API key between gateway and engine; the same in every process of this install."""
        return base64.urlsafe_b64encode(self.derive("engine")).rstrip(b"=").decode()

    def _digest(self, purpose: str, *parts: bytes) -> str:
        # Each part carries its length, so that no two lists of parts make the same message.
        message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
        return _mac(self.derive(purpose), message).hex()


@lru_cache(maxsize=64)
def _derived(root: bytes, purpose: str) -> bytes:
    return _mac(root, b"hone/" + purpose.encode() + b"\x01")


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _create(path: Path) -> None:
    """Link a finished file into place: readers see all of it or nothing, and of two makers one wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE}-{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(SIZE))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    sync(path.parent)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        material = file.read(SIZE + 1)
    if not stat.S_ISREG(mode) or len(material) != SIZE:
        raise SetupError(f"The secret {path} must be a file of {SIZE} bytes; restore it from a backup.")
    if mode & 0o077:
        raise SetupError(f"Others may read the secret {path} (mode {mode & 0o777:o}); run: chmod 600 {path}")
    return material
