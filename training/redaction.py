"""Structured personal data out of texts: each find becomes a placeholder that says what stood there.

Patterns propose, checksums and ranges decide. Names, postal addresses and free descriptions are not found: they have no
structure. Pure; knows nothing of conversations.
"""

import ipaddress
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A kind of personal data, or of what nobody should learn by heart."""

    SECRET = "secret"
    EMAIL = "email"
    IBAN = "iban"
    CARD = "card"
    IP = "ip"
    NATIONAL_ID = "national_id"
    PHONE = "phone"

    @property
    def placeholder(self) -> str:
        return f"[{self.upper()}]"


ALL_KINDS = frozenset(Kind)

Span = tuple[int, int]

_SPACE = r" \u00a0\u2007\u2009\u202f"
_DASH = r"\-\u2010-\u2015"
_SEPARATOR = rf"[{_SPACE}{_DASH}]"
_GAP = rf"[{_SPACE}{_DASH}./]"
_DATE = re.compile(r"\d{4}([-/. ])\d{1,2}\1\d{1,2}(?!\d)|\d{1,2}([-/. ])\d{1,2}\2(?:19|20)\d{2}(?!\d)")
_DECIMAL = re.compile(r"\d+[.,]\d+")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a kind may look like, and which part of such a place, if any, it really is."""

    kind: Kind
    shape: re.Pattern[str]
    find: Callable[[str], Span | None]


def redact(text: str, kinds: Collection[Kind] = ALL_KINDS, keep: Iterable[str] = ()) -> str:
    """The text with each find of these kinds replaced; what `keep` lists is public and stays as it is."""
    public = frozenset(map(_plain, keep))
    for pattern in PATTERNS:
        if pattern.kind in kinds:
            text = _replace_all(text, pattern, public)
    return text


def count(texts: Iterable[str]) -> Mapping[str, int]:
    """How many placeholders of each kind these texts hold; kinds without any are left out."""
    joined = "\n".join(texts)
    counts = {kind.value: joined.count(kind.placeholder) for kind in Kind}
    return {kind: number for kind, number in counts.items() if number}


def _replace_all(text: str, pattern: Pattern, public: Collection[str]) -> str:
    return pattern.shape.sub(lambda place: _replace(place[0], pattern, public), text)


def _replace(place: str, pattern: Pattern, public: Collection[str]) -> str:
    span = pattern.find(place)
    if span is None:
        return place
    start, end = span
    data = place[start:end]
    shown = data if _plain(data) in public else pattern.kind.placeholder
    before, after = (_replace_all(rest, pattern, public) for rest in (place[:start], place[end:]))
    return before + shown + after


def _plain(text: str) -> str:
    return re.sub(_GAP, "", text).casefold()


def _digits(text: str) -> list[int]:
    return [int(char) for char in text if char.isdecimal()]


def _whole(check: Callable[[str], bool] = bool) -> Callable[[str], Span | None]:
    """The whole place or nothing."""
    return lambda place: (0, len(place)) if check(place) else None


def _words(check: Callable[[str], bool], most: int) -> Callable[[str], Span | None]:
    """The longest run of words of a place, of at most `most` characters, that passes: neighbours are often glued on."""

    def find(place: str) -> Span | None:
        words = [word.span() for word in re.finditer(r"[^\W_]+", place)]
        runs = [(start, end) for at, (start, _) in enumerate(words) for _, end in words[at : at + most]]
        runs = [(start, end) for start, end in runs if end - start <= 2 * most]
        runs.sort(key=lambda run: run[0] - run[1])
        return next((run for run in runs if check(place[slice(*run)])), None)

    return find


def is_iban(text: str) -> bool:
    """ISO 13616: letters count from 10, the first four characters move to the end, and 97 leaves 1."""
    plain = _plain(text)
    if not re.fullmatch(r"[a-z]{2}[0-9]{2}[a-z0-9]{11,30}", plain):
        return False
    return int("".join(str(int(char, 36)) for char in plain[4:] + plain[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """13 to 19 digits from an issuer of payment cards that pass Luhn's check (ISO/IEC 7812)."""
    digits = _digits(text)
    if not 13 <= len(digits) <= 19 or not 2 <= digits[0] <= 6:
        return False
    weighed = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(weighed) % 10 == 0


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return text != "::"


def _is_phone(text: str) -> bool:
    number = 7 <= len(_digits(text)) <= 15
    return number and not _DATE.match(text) and not _DECIMAL.fullmatch(text)


def _is_american(text: str) -> bool:
    number = "".join(map(str, _digits(text)))
    return number[:3] not in ("000", "666") and number < "900" and number[3:5] != "00" and number[5:] != "0000"


def _is_spanish(text: str) -> bool:
    plain = _plain(text).upper()
    number = int(plain[:-1].translate(str.maketrans("XYZ", "012")))
    return plain[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23]


def _is_french(text: str) -> bool:
    plain = _plain(text).replace("2a", "19").replace("2b", "18")
    return plain.isdecimal() and int(plain[-2:]) == 97 - int(plain[:-2]) % 97


def _is_brazilian(text: str) -> bool:
    digits = _digits(text)
    return len(set(digits)) > 1 and all(digits[end] == _brazilian_check(digits[:end]) for end in (9, 10))


def _brazilian_check(digits: list[int]) -> int:
    return sum(digit * (len(digits) + 1 - place) for place, digit in enumerate(digits)) * 10 % 11 % 10


def _is_polish(text: str) -> bool:
    digits = _digits(text)
    return (
        sum(digit * weight for digit, weight in zip(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True)) % 10 == 0
    )


_KEYS = (
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    r"\bhone_(?:user|reviewer|ops)_[\w-]{40,}",
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bgh[pousr]_\w{36,}",
    r"\bxox[abprs]-[\w-]{10,}",
    r"\b[sp]k[-_][\w-]{20,}",
    r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}",
)
_EMAIL = r"(?<![\w.+%-])[\w.+%'&#!$*/=?^`{|}~-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{1,62}(?![\w-])"
_PHONES = (
    rf"\+{_SEPARATOR}?\d(?:{_GAP}{{0,2}}[()]{{0,2}}{_GAP}?\d){{6,14}}",
    rf"\(0?\d{{2,5}}\){_GAP}{{0,2}}\d(?:{_GAP}?\d){{4,9}}",
    rf"(?:1{_GAP})?\d{{3}}{_GAP}\d{{3}}{_GAP}\d{{4}}",
    rf"0\d(?:{_GAP}{{0,2}}\d){{7,13}}",
)
_FRENCH = rf"[12](?:{_SEPARATOR}?\d\d){{2}}{_SEPARATOR}?(?:\d\d|2[AB])(?:{_SEPARATOR}?\d{{3}}){{2}}{_SEPARATOR}?\d\d"


def _bounded(*shapes: str) -> re.Pattern[str]:
    """A pattern for any of these that neither starts nor ends inside a word or number."""
    return re.compile(rf"(?<!\w)(?<!\d[.,])(?:{'|'.join(shapes)})(?!\w)(?![.,]\d)", re.IGNORECASE)


PATTERNS = (
    Pattern(Kind.SECRET, re.compile("|".join(_KEYS), re.DOTALL), _whole()),
    Pattern(Kind.EMAIL, re.compile(_EMAIL), _whole()),
    Pattern(Kind.IBAN, _bounded(rf"[A-Z]{{2}}\d{{2}}(?:{_SEPARATOR}?[A-Z0-9]){{11,38}}"), _words(is_iban, 34)),
    Pattern(Kind.NATIONAL_ID, _bounded(_FRENCH), _whole(_is_french)),
    Pattern(Kind.CARD, _bounded(rf"\d(?:{_GAP}?\d){{12,}}"), _words(is_card, 19)),
    Pattern(Kind.IP, _bounded(r"(?:\d{1,3}\.){3}\d{1,3}"), _whole(_is_address)),
    Pattern(Kind.IP, re.compile(r"(?i)(?<![\w:])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])"), _whole(_is_address)),
    Pattern(Kind.NATIONAL_ID, _bounded(rf"\d{{3}}({_SEPARATOR})\d{{2}}\1\d{{4}}"), _whole(_is_american)),
    Pattern(Kind.NATIONAL_ID, _bounded(r"[A-CEGHJ-PR-TW-Z]{2}(?: ?\d\d){3} ?[A-D]"), _whole()),
    Pattern(Kind.NATIONAL_ID, _bounded(r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]"), _whole()),
    Pattern(Kind.NATIONAL_ID, _bounded(r"(?:\d{8}|[XYZ]-?\d{7})-?[A-Z]"), _whole(_is_spanish)),
    Pattern(Kind.NATIONAL_ID, _bounded(r"\d{3}\.\d{3}\.\d{3}-\d\d", r"\d{11}"), _whole(_is_brazilian)),
    Pattern(Kind.NATIONAL_ID, _bounded(r"\d{11}"), _whole(_is_polish)),
    Pattern(Kind.PHONE, _bounded(*_PHONES), _whole(_is_phone)),
)
