"""Redaction: structured personal data is found in a seeded set, and ordinary text is left alone."""

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessons import ALL, curated, judged

from training.redaction import Kind, count, is_card, is_iban, redact
from training.rows import SftExample

EACH = 400


def digits(rng: Random, number: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(number))


def grouped(text: str, rng: Random, size: int = 4) -> str:
    gap = rng.choice(["", " ", "-", "\u00a0"])
    return gap.join(text[at : at + size] for at in range(0, len(text), size))


def make_iban(rng: Random) -> str:
    country, length = rng.choice([("DE", 18), ("NO", 11), ("FR", 23), ("GB", 18), ("MT", 27), ("BE", 12)])
    body = digits(rng, length)
    if country in ("GB", "MT"):
        body = "".join(rng.choice("ABCDEFGHIJ") for _ in range(4)) + body[4:]
    number = int("".join(str(int(char, 36)) for char in f"{body}{country}00"))
    return grouped(f"{country}{98 - number % 97:02}{body}", rng)


def make_card(rng: Random) -> str:
    body = rng.choice(["4", "51", "37", "6011"])
    body += digits(rng, (14 if body == "37" else 15) - len(body))
    total = sum(
        sum(divmod(2 * int(char), 10)) if place % 2 == 0 else int(char) for place, char in enumerate(reversed(body))
    )
    return grouped(body + str(-total % 10), rng)


def make_email(rng: Random) -> str:
    user = rng.choice(["ann", "j.smith", "info+news", "o'neill", "m\u00fcller", "a_b-c", "x"])
    host = rng.choice(["mail.example.org", "shop.co.uk", "b\u00fcro.de", "x1.io"])
    return f"{user}{rng.choice(['', digits(rng, 3)])}@{host}"


def make_phone(rng: Random) -> str:
    a, b, c = digits(rng, 3), digits(rng, 3), digits(rng, 4)
    area = str(rng.randint(200, 999))
    return rng.choice(
        [
            f"+49 {area} {b}{c}",
            f"+1-{area}-{b}-{c}",
            f"+44 (0) 20 {b}{a[0]} {c}",
            f"+33 6 {a[:2]} {b[:2]} {c[:2]} {c[2:]}",
            f"({area}) {b}-{c}",
            f"{area}-{b}-{c}",
            f"{area}.{b}.{c}",
            f"1-{area}-{b}-{c}",
            f"0{rng.randint(10, 99)}/{b}{c}",
            f"({rng.choice(['030', '089', '0221'])}) {b}{c}",
            f"07{a} {b}{c[:3]}",
            f"0049 {area} {b}{c}",
            f"01 {a[:2]} {b[:2]} {c[:2]} {c[2:]}",
            f"+{rng.randint(20, 99)}{area}{b}{c}",
        ]
    )


def make_address(rng: Random) -> str:
    four = ".".join(str(rng.randint(0, 255)) for _ in range(4))
    full = ":".join(f"{rng.randint(0, 65535):x}" for _ in range(8))
    return rng.choice([four, full, f"2001:db8::{rng.randint(1, 65535):x}", "fe80::1ff:fe23:4567:890a"])


def make_national_id(rng: Random) -> str:
    number = digits(rng, 8)
    french = f"{rng.choice('12')}{digits(rng, 2)}{rng.randint(1, 12):02}{rng.randint(1, 95):02}{digits(rng, 6)}"
    return rng.choice(
        [
            f"{rng.randint(1, 665):03}-{rng.randint(1, 99):02}-{rng.randint(1, 9999):04}",
            f"AB{digits(rng, 6)}C",
            f"AB {number[:2]} {number[2:4]} {number[4:6]} C",
            f"RSSMRA{digits(rng, 2)}A{digits(rng, 2)}H{digits(rng, 3)}Z",
            f"{number}{'TRWAGMYFPDXBNJZSQVHLCKE'[int(number) % 23]}",
            f"{french}{97 - int(french) % 97:02}",
            "529.982.247-25",
            "44051401359",
        ]
    )


def make_secret(rng: Random) -> str:
    letters = "".join(rng.choice("abcdefghijABCDEFGHIJ0123456789") for _ in range(48))
    return rng.choice([f"sk-{letters}", f"ghp_{letters[:36]}", f"hone_user_{letters[:43]}", "AKIAIOSFODNN7EXAMPLE"])


MAKERS: dict[Kind, Callable[[Random], str]] = {
    Kind.IBAN: make_iban,
    Kind.CARD: make_card,
    Kind.EMAIL: make_email,
    Kind.PHONE: make_phone,
    Kind.IP: make_address,
    Kind.NATIONAL_ID: make_national_id,
    Kind.SECRET: make_secret,
}
PLACES = [
    "My data: {}.",
    "{}",
    "please use {}, thanks",
    "({}) is mine",
    "It is {} and then 12 more",
    "Nr. {}; call me at 8 am",
    "first line\n{}\nlast line",
    "is it '{}'?",
    "I have 2 of them: {} then that",
]


@pytest.mark.parametrize("kind", Kind)
def test_nearly_all_of_a_seeded_set_is_found(kind: Kind) -> None:
    rng = Random(11)
    missed: Counter[str] = Counter()
    for _ in range(EACH):
        data = MAKERS[kind](rng)
        text = rng.choice(PLACES).format(data)
        cleaned = redact(text)
        if data in cleaned or "[" not in cleaned or sum(map(str.isdigit, cleaned)) > 4:
            missed[text] += 1
    assert sum(missed.values()) <= EACH * 0.01, missed


ORDINARY = [
    "For the clinic, call Ursula on extension 849.",
    "The dentist is open 7 am to 6 pm, Thursday to Saturday.",
    "It costs 1,234,567.89 euros, or 1.234.567,89 in German.",
    "Pi is 3.14159265358979 and e is 2.718281828.",
    "On 2024-01-15 at 12:30:45, and on 15.01.2024 10:30.",
    "The year 1984, the years 1999-2001, pages 120-135.",
    "Order 123456 has 3 items; invoice 2024/0012.",
    "Use std::vector and a[1:2:3].",
    "Version 2.13.0 needs Python 3.11 or 3.12.",
    "He said: me @ home, @ann and a@b.",
    "The ratio is 16:9, the score 3-2, room B-1204.",
    "One million is 1 000 000, one in 1/1000.",
    "Set it to 0.123456789 or 0,123456789.",
    "Card 1234 5678 9012 3456 fails the check.",
    "DE00 1234 5678 9012 3456 78 is no account.",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_a_placeholder_says_what_stood_there_and_is_counted() -> None:
    text = redact("Write to ann@example.org or bob@example.org, or call +49 30 1234567.")
    assert text == "Write to [EMAIL] or [EMAIL], or call [PHONE]."
    assert count([text, "[EMAIL]"]) == {"email": 3, "phone": 1}


def test_what_is_public_stays() -> None:
    text = "Write to help@shop.example or ann@shop.example, or call 030/1234567."
    assert redact(text, keep=["Help@shop.example", "(030) 1234567".replace("(", "").replace(")", "")]) == (
        "Write to help@shop.example or [EMAIL], or call 030/1234567."
    )


def test_a_kind_that_is_not_wanted_stays() -> None:
    assert redact("ann@example.org, 10.0.0.1", {Kind.IP}) == "ann@example.org, [IP]"


def test_two_numbers_side_by_side_are_both_found() -> None:
    assert redact("4111 1111 1111 1111 5500 0000 0000 0004") == "[CARD] [CARD]"
    assert redact("BE68 5390 0754 7034 then DE89 3704 0044 0532 0130 00") == "[IBAN] then [IBAN]"


def test_checksums() -> None:
    assert is_card("4111 1111 1111 1111")
    assert not is_card("4111 1111 1111 1112")
    assert not is_card("0000 0000 0000 0000")
    assert is_iban("GB82 WEST 1234 5698 7654 32")
    assert not is_iban("GB82 WEST 1234 5698 7654 33")


@given(st.text())
def test_redacting_twice_is_redacting_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["1 ", "a@", "a.", "1.1.", ":1", "DE12 ", "+1", "0-", "sk-", "4111 ", "eyJ", "A1"])
def test_long_hostile_text_takes_no_long_time(part: str) -> None:
    redact(part * (20_000 // len(part)))


def test_rows_carry_no_personal_data() -> None:
    given = judged("I am ann@example.org. Where is it?", correction="Ask bob@example.org.", reviewer=True, by="rita")
    result = curated([given])
    [row] = result.rows
    assert isinstance(row.example, SftExample)
    assert (row.example.messages[0].content, row.example.completion) == ("I am [EMAIL]. Where is it?", "Ask [EMAIL].")
    assert result.redactions == {"email": 2}
    assert curated([given], rules=ALL).rows
