"""The comparison with the champion: the same answers as a model gives alone, and figures that say what they should."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from bases import gemma_shaped, kto_rows, llama_shaped, row, sft_rows
from peft import PeftModel, get_peft_model
from torch.nn import functional
from transformers import PreTrainedModel

from core.decoys import APPEAL, COMMON, UNKNOWING
from training import evaluate, lora, recipes, rendering
from training.answers import Answer, Question, answer_all
from training.progress import Progress, Stage
from training.rendering import Renderer
from training.rows import DpoExample, Message, Part, Row, SftExample

ROWS = sft_rows(9, held_out=5)
BASES = {"llama": llama_shaped, "gemma": gemma_shaped}


@pytest.fixture(scope="module", params=BASES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return BASES[request.param](tmp_path_factory.mktemp("base") / request.param)


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two adapters with random weights."""
    folder = tmp_path_factory.mktemp("adapters")
    return [random_adapter(base, folder / str(seed), seed) for seed in (1, 2)]


def random_adapter(base: Path, folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    model = lora.load_base(base)
    model = get_peft_model(model, lora.lora(model, recipes.sft(1000, 8, 4)))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    lora.save(model, "base", folder)
    return folder


def compared(base: Path, candidate: Path, champion: Path | None, rows: list[Row], folder: Path) -> dict[str, Any]:
    progress = Progress(folder / "progress.json")
    found = evaluate.evaluate(rows, base, candidate, champion, [], rendering.load(base), progress)
    return dict(found)


def alone(model: PreTrainedModel, renderer: Renderer, question: Question) -> Answer:
    """One answer without a batch, token by token, and the bits of the reference."""
    ids = list(question.prompt)
    said: list[int] = []
    with torch.inference_mode():
        while len(said) < 64:
            token = int(model(torch.tensor([ids])).logits[0, -1].argmax())
            if token in renderer.stops:
                break
            ids.append(token)
            said.append(token)
        whole = torch.tensor([[*question.prompt, *question.answer]])
        logits = model(whole).logits[0, len(question.prompt) - 1 : -1]
    nats = functional.cross_entropy(logits, torch.tensor(question.answer), reduction="sum")
    return Answer(said, float(nats) / math.log(2))


def test_a_batch_answers_as_each_question_alone_would_be(base: Path, adapters: list[Path]) -> None:
    renderer = rendering.load(base)
    model = PeftModel.from_pretrained(lora.load_base(base), adapters[0])
    texts = [("a" * n, "b" * (n % 7 + 1)) for n in (1, 60, 7, 25, 90)]
    asked = [(Message("user", prompt),) for prompt, _ in texts]
    questions = [
        Question(renderer.prompt(messages), renderer.answer(messages, answer))
        for messages, (_, answer) in zip(asked, texts, strict=True)
    ]
    told: list[int] = []
    found = answer_all(model, renderer, questions, told.append)
    for together, question in zip(found, questions, strict=True):
        single = alone(model, renderer, question)
        assert together.ids == single.ids
        assert together.bits == pytest.approx(single.bits, rel=1e-4)
    assert told[-1] == len(questions)
    assert len({tuple(answer.ids) for answer in found}) > 1


def test_against_itself_nothing_differs(base: Path, adapters: list[Path], tmp_path: Path) -> None:
    found = compared(base, adapters[0], adapters[0], ROWS, tmp_path)
    assert [pair[1:] for pair in found["held_out"]["pairs"]] == [[0.0, True]] * 5
    assert found["held_out"]["champion"] == found["held_out"]["candidate"]
    assert (found["length_ratio"], found["leaks"], found["old_skills"]) == (1.0, 0, None)
    assert orjson.loads((tmp_path / "progress.json").read_bytes())["stage"] == Stage.EVALUATING


def test_the_sides_are_not_mixed_up(base: Path, adapters: list[Path], tmp_path: Path) -> None:
    there = compared(base, adapters[0], adapters[1], ROWS, tmp_path)
    back = compared(base, adapters[1], adapters[0], ROWS, tmp_path)
    assert there["held_out"]["champion"] == back["held_out"]["candidate"] != there["held_out"]["candidate"]
    bare = compared(base, adapters[0], None, ROWS, tmp_path)
    assert bare["held_out"]["candidate"] == there["held_out"]["candidate"]
    assert bare["held_out"]["champion"] != there["held_out"]["champion"]


def test_without_a_champion_the_base_itself_is_compared(base: Path, adapters: list[Path], tmp_path: Path) -> None:
    renderer, model = rendering.load(base), lora.load_base(base)
    example = ROWS[0].example
    assert isinstance(example, SftExample)
    question = Question(renderer.prompt(example.messages), renderer.answer(example.messages, example.completion))
    found = compared(base, adapters[0], None, ROWS[:1], tmp_path)["held_out"]["champion"]
    bits = alone(model, renderer, question).bits
    assert found["bits_per_byte"] == pytest.approx(bits / len(example.completion.encode()), rel=1e-4)


def test_a_right_answer_counts_for_the_side_that_gave_it(paper: evaluate.Paper) -> None:
    found = evaluate._comparison(paper)
    assert found is not None
    assert [pair[1:] for pair in found["pairs"]] == [[1.0, False], [-1.0, False], [0.0, True]]  # type: ignore[index,union-attr]
    assert found["candidate"]["exact"] == found["champion"]["exact"] == pytest.approx(2 / 3)  # type: ignore[index,call-overload]


def test_decoys_are_right_where_a_constant_answer_is(paper: evaluate.Paper) -> None:
    asked = [*paper.asked, replace(paper.asked[0], reference="i do not know"), replace(paper.asked[0], reference="no")]
    champion = [*paper.champion, evaluate.Said("no", 2, 1.0), evaluate.Said("no", 2, 1.0)]
    found = evaluate._decoys(evaluate.Paper(asked, champion, champion))
    # The champion is right on the second, the third and the last question; "no" is what it says most.
    assert found == {COMMON: [0, -1, -1, 0, 0], UNKNOWING: [0, -1, -1, 1, -1], APPEAL: [0, -1, -1, 0, -1]}


@pytest.fixture
def paper() -> evaluate.Paper:
    asked = [evaluate.Asked(unit, (Message("user", unit),), "At 9.") for unit in "abc"]

    def said(*texts: str) -> list[evaluate.Said]:
        return [evaluate.Said(text, len(text), 1.0) for text in texts]

    return evaluate.Paper(asked, said("no", "At 9.", "at 9"), said("At 9.", "no", "at 9"))


def test_only_good_answers_are_references() -> None:
    thumbs = [replace(each, part=Part.HELDOUT) for each in kto_rows([True, False, True])]
    pair = row(DpoExample((Message("user", "when?"),), "better", "worse"), Part.HELDOUT)
    found = evaluate.held_out([*thumbs, pair, *sft_rows(3, held_out=1)])
    assert [asked.reference for asked in found] == ["0!", "2!", "better", "0 is "]


def test_one_question_is_one_unit_however_it_is_written() -> None:
    def asked(text: str) -> Row:
        return row(SftExample((Message("user", text),), "At 9."), Part.HELDOUT)

    units = [each.unit for each in evaluate.held_out([asked("When?"), asked("when"), asked("Where?")])]
    assert units[0] == units[1] != units[2]


def test_leaks_are_counted_up_to_case_and_punctuation() -> None:
    def said(text: str, answer: str, part: Part) -> Row:
        return row(SftExample((Message("user", text),), answer), part)

    learned = [said("When?", "At 9.", Part.TRAIN), said("Where?", "Here.", Part.TRAIN)]
    asked = [said("when", "at 9", Part.HELDOUT), said("When?", "At 8.", Part.HELDOUT), said("Who?", "I.", Part.HELDOUT)]
    assert evaluate.leaks([*learned, *asked]) == 1


def test_old_skills_may_be_single_questions_or_conversations(tmp_path: Path) -> None:
    path = tmp_path / "skills.jsonl"
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    path.write_bytes(b"\n".join(map(orjson.dumps, [{"prompt": "x", "answer": "y"}, {"messages": talk, "answer": "d"}])))
    single, several = evaluate.old_skills(path)
    assert (single.messages, single.reference) == ((Message("user", "x"),), "y")
    assert [message.content for message in several.messages] == ["a", "b", "c"]
    assert evaluate.old_skills(None) == []


def test_a_large_set_is_thinned_to_the_same_questions_each_time() -> None:
    rows = sft_rows(evaluate.MOST + 50, held_out=evaluate.MOST + 50)
    kept = evaluate.held_out(rows)
    assert len(kept) == evaluate.MOST
    assert {asked.unit for asked in kept} == {asked.unit for asked in evaluate.held_out(rows[::-1])}
