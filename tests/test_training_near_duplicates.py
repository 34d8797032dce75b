"""Near duplicates: planted ones are found, whatever differs is kept, and the order does not matter."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st
from lessons import ALL, curated, judged, sentence

from training.near_duplicates import NearIndex, jaccard, shingles, sketch
from training.rows import Part, Reason, SftExample

PLANTED = 1_500


def runs(text: str) -> set[str]:
    """Five-character runs, counted another way than the code under test does."""
    plain = "".join(char for char in text.lower() if char.isalnum())
    return {plain[at : at + 5] for at in range(len(plain) - 4)}


def overlap(a: str, b: str) -> float:
    return len(runs(a) & runs(b)) / len(runs(a) | runs(b))


def disturb(text: str, rng: Random) -> str:
    """The same with a few characters changed, or with other case and punctuation only."""
    if rng.random() < 0.3:
        return text.upper().replace(" ", rng.choice(["  ", ", ", " - "])) + rng.choice(["?", "!", "..."])
    chars = list(text)
    for _ in range(rng.randint(1, 4)):
        chars[rng.randrange(len(chars))] = rng.choice("abcdefghij")
    return "".join(chars)


def test_planted_leaks_are_found_and_nothing_below_the_threshold() -> None:
    rng = Random(5)
    originals = [sentence(rng, rng.randint(6, 20)) for _ in range(PLANTED)]
    index = NearIndex(0.8)
    for number, text in enumerate(originals):
        index.add(str(number), sketch([text]))
    found = planted = 0
    for number, text in enumerate(originals):
        copy = disturb(text, rng)
        near = {neighbour.key for neighbour in index.near(sketch([copy]))}
        assert all(overlap(copy, originals[int(key)]) >= 0.8 for key in near)
        if overlap(copy, text) >= 0.8:
            planted += 1
            found += str(number) in near
    assert planted >= 1_000
    assert found / planted >= 0.99


def test_no_planted_leak_reaches_another_split() -> None:
    rng = Random(6)
    given, pairs = [], []
    for number in range(PLANTED):
        question, reply = sentence(rng), sentence(rng)
        copy = disturb(question, rng), disturb(reply, rng)
        given += [judged(question, reply, by=f"a{number}"), judged(*copy, by=f"b{number}")]
        if overlap(f"{question}. {reply}", ". ".join(copy)) >= 0.8:
            pairs.append((given[-2].feedback.id, given[-1].feedback.id))
    assert len(pairs) >= 1_000
    result = curated(given)
    part = {voice.feedback: row.part for row in result.rows for voice in row.provenance.voices}
    thrown = {one.item for one in result.exclusions if one.reason is Reason.NEAR_DUPLICATE}
    found = sum(len({a, b} & thrown) == 1 or part.get(a) is part.get(b) for a, b in pairs)
    assert found / len(pairs) >= 0.99
    assert {row.part for row in result.rows} == set(Part)


def test_one_of_two_that_say_almost_the_same_stays_and_the_other_is_counted() -> None:
    long = "The dentist on the ground floor of the east wing is open every day"
    result = curated([judged("When is the dentist open?", long), judged("When is the dentist open now?", long + ".")])
    assert len(result.rows) == 1
    assert [one.reason for one in result.exclusions] == [Reason.NEAR_DUPLICATE]


def test_another_number_is_another_fact() -> None:
    rest = "for the clinic on the second floor of the old mill in the west wing behind the big green door, please"
    questions = f"Which extension do I call {rest}?", f"Which extension do I call {rest}, pal?"
    answers = f"That is extension 849 {rest}.", f"That is extension 848 {rest}."
    assert overlap(questions[0] + answers[0], questions[1] + answers[1]) > 0.8
    result = curated([judged(*pair, by=pair[1]) for pair in zip(questions, answers, strict=True)])
    texts = {row.example.completion for row in result.rows if isinstance(row.example, SftExample)}
    assert texts == set(answers)
    assert len({row.part for row in result.rows}) == 1


def test_the_heavier_and_then_the_quieter_stays() -> None:
    question, reply = "When is the dentist in the east wing open?", "The dentist is open from early to late, every day."
    noisy = [judged(f"{n} {sentence(Random(n))}", by="noisy") for n in range(4)]
    loud, quiet = judged(question + " yes", reply, by="noisy"), judged(question + " no", reply, by="quiet")
    kept = {voice.feedback for row in curated([*noisy, loud, quiet]).rows for voice in row.provenance.voices}
    assert quiet.feedback.id in kept
    assert loud.feedback.id not in kept
    reviewed = judged(question + " so", reply, by="rita", reviewer=True)
    result = curated([*noisy, loud, quiet, reviewed], rules=ALL)
    kept = {voice.feedback for row in result.rows for voice in row.provenance.voices}
    assert reviewed.feedback.id in kept
    assert quiet.feedback.id not in kept


@given(st.text(), st.text())
def test_the_index_of_jaccard_is_symmetric_and_one_only_for_the_same(a: str, b: str) -> None:
    assert jaccard(shingles(a), shingles(b)) == jaccard(shingles(b), shingles(a))
    assert jaccard(shingles(a), shingles(a)) == 1.0


def test_texts_shorter_than_a_shingle_are_told_apart() -> None:
    assert jaccard(shingles("yes"), shingles("no")) == 0.0
    assert jaccard(shingles("Yes!"), shingles("yes")) == 1.0
