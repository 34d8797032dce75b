"""`hone chat`: a conversation led with single keys, at a real terminal, and line by line in pipes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures_command import Terminal, at_terminal, environment, hone
from fixtures_service import KEY, FakeService, serving

from agent.cli.api_client import ApiClient
from agent.cli.chat import Talk
from agent.cli.conversation import Conversation
from agent.cli.keyboard import following
from agent.cli.openai_calls import open_client
from core import migrate
from core.keys import Keys
from core.secret import Secret
from core.store import Store

END, CTRL_C = "\x04", "\x03"
ARROW_UP, DELETE, ALT_X, BACKSPACE = "\x1b[A", "\x1b[3~", "\x1bx", "\x7f"


@dataclass
class Typist:
    """A keyboard on which somebody types this, each line ended with a line feed, and then leaves."""

    keys: str

    def read_key(self) -> str:
        if not self.keys:
            raise EOFError
        key, self.keys = self.keys[0], self.keys[1:]
        return key

    def read_line(self, prompt: str, begun: str = "") -> str:
        if not self.keys:
            raise EOFError
        line, _, self.keys = self.keys.partition("\n")
        return begun + line


def talk(service: FakeService, keys: str) -> None:
    with serving(service) as url, open_client(url, KEY, retries=0) as client:
        Talk(Conversation(client, ApiClient(url, KEY), "hone"), Typist(keys)).run()


def test_one_key_rates_an_answer_up() -> None:
    service = FakeService()
    talk(service, "how are you\n+")
    assert service.ratings == [{"response_id": "chatcmpl-1", "name": "thumbs", "value": True, "idempotency": None}]


def test_another_key_rates_it_down_and_the_conversation_goes_on() -> None:
    service = FakeService()
    talk(service, "how are you\n-and now\n")
    assert [rating["value"] for rating in service.ratings] == [False]
    assert [message["content"] for message in service.chats[1]["messages"]] == ["how are you", "HOW ARE YOU", "and now"]


def test_a_third_key_opens_the_correction() -> None:
    service = FakeService()
    talk(service, "how are you\n=Very well.\n")
    assert [(rating["value"], rating["correction"]) for rating in service.ratings] == [(False, "Very well.")]


def test_only_an_answer_that_is_asked_about_comes_with_the_question(capsys: pytest.CaptureFixture[str]) -> None:
    talk(FakeService(asks=lambda number: number == 2), "one\ntwo\nthree\n")
    first, second, third = capsys.readouterr().out.split("hone> ")[1:]
    assert "Was this good?" in second
    assert "Was this good?" not in first + third


def test_an_answer_that_is_not_asked_about_may_be_rated_all_the_same() -> None:
    service = FakeService(asks=lambda number: False)
    talk(service, "one\n+")
    assert [rating["value"] for rating in service.ratings] == [True]


def test_an_answer_that_failed_does_not_ask_about_the_one_before(capsys: pytest.CaptureFixture[str]) -> None:
    talk(FakeService(), "one\ntoo long\n")
    assert capsys.readouterr().out.count("Was this good?") == 1


def test_an_empty_correction_notes_nothing() -> None:
    service = FakeService()
    talk(service, "how are you\n=\n")
    assert service.ratings == []


def test_these_keys_are_letters_like_others_before_the_first_answer() -> None:
    service = FakeService()
    talk(service, "+1 or -1\n")
    assert (service.ratings, service.chats[0]["messages"][0]["content"]) == ([], "+1 or -1")


def test_new_forgets_what_was_said() -> None:
    service = FakeService()
    talk(service, "one\n/new\ntwo\n")
    assert [len(chat["messages"]) for chat in service.chats] == [1, 1]


def test_an_unknown_command_is_not_sent_as_a_question(capsys: pytest.CaptureFixture[str]) -> None:
    service = FakeService()
    talk(service, "/nwe\n\n/help\n/quit\nnever\n")
    assert service.chats == []
    assert "There is no /nwe; /help shows" in capsys.readouterr().err


def test_an_error_is_told_and_the_conversation_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    service = FakeService()
    talk(service, "too long\nshort\n")
    assert "The prompt is too long. /new starts afresh." in capsys.readouterr().err
    assert [len(chat["messages"]) for chat in service.chats] == [1, 1]


def test_a_rating_that_is_refused_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    talk(FakeService(feedback_fails=True), "one\n+")
    assert "not stored" in capsys.readouterr().err


@contextmanager
def at_chat(service: FakeService) -> Iterator[Terminal]:
    with (
        serving(service) as url,
        at_terminal("chat", environ=environment(HONE_URL=url, HONE_KEY=KEY, TERM="xterm")) as terminal,
    ):
        terminal.expect("you> ")
        yield terminal


def test_at_a_terminal_the_first_key_of_a_question_is_not_lost_and_odd_keys_do_nothing() -> None:
    service = FakeService()
    with at_chat(service) as terminal:
        terminal.type("one\n")
        terminal.expect("you> ")
        terminal.type(f"{ARROW_UP}{DELETE}{ALT_X}{BACKSPACE}+\u00fcber \u4e16\u754c\n")
        terminal.expect("hone> ")
        terminal.type(END)
        assert terminal.status() == 0
    assert service.chats[1]["messages"][-1]["content"] == "\u00fcber \u4e16\u754c"
    assert [rating["value"] for rating in service.ratings] == [True]


def test_ctrl_c_cuts_an_answer_keeps_the_conversation_and_then_leaves() -> None:
    service = FakeService(stalled=True)
    with at_chat(service) as terminal:
        terminal.type("never ends\n")
        terminal.expect("hone> NEVER")
        terminal.type(CTRL_C)
        terminal.expect("[cut]")
        terminal.expect("you> ")
        terminal.type("-")
        terminal.expect("Rated bad.")
        terminal.expect("you> ")
        terminal.type(CTRL_C)
        assert terminal.status() == 0
        assert "Traceback" not in terminal.seen
    assert [rating["response_id"] for rating in service.ratings] == ["chatcmpl-1"]


def test_one_question_on_the_command_line_gets_one_answer() -> None:
    with serving(FakeService()) as url:
        result = hone("chat", "how are you", HONE_URL=url, HONE_KEY=KEY)
    assert (result.returncode, result.stdout, result.stderr) == (0, "HOW ARE YOU\n", "")


def test_lines_of_a_pipe_are_one_conversation() -> None:
    service = FakeService()
    with serving(service) as url:
        result = hone("chat", stdin="one\n\ntwo\n", HONE_URL=url, HONE_KEY=KEY)
        as_json = hone("chat", "--json", stdin="three\n", HONE_URL=url, HONE_KEY=KEY)
    assert result.stdout == "ONE\nTWO\n"
    assert [len(chat["messages"]) for chat in service.chats] == [1, 3, 1]
    assert json.loads(as_json.stdout) == {"id": "chatcmpl-3", "answer": "THREE", "finish": "stop", "asked": True}


def test_a_hone_that_is_not_ready_is_told_apart_from_one_that_is_not_there() -> None:
    with serving(FakeService(ready=False)) as url:
        starting = hone("chat", "x", HONE_URL=url, HONE_KEY=KEY)
    gone = hone("chat", "x", HONE_URL=url, HONE_KEY=KEY)
    assert (starting.returncode, gone.returncode) == (1, 1)
    assert "is not ready to answer" in starting.stderr
    assert "connection refused" in gone.stderr


def test_without_a_key_the_local_one_is_lent_and_revoked(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    database = f"sqlite:///{data / 'ledger.db'}"
    migrate.upgrade(database)
    with serving(FakeService()) as url:
        result = hone("chat", "x", HONE_URL=url, HONE_DATA=str(data))
    # The stand-in knows only its own key; what matters is that one was made, shown, and ended.
    assert "This key is not one of ours." in result.stderr
    store = Store.open(database)
    made = Keys(store, Secret.load(data)).list()
    store.close()
    assert [(key.name, key.role, key.revoked_at is not None) for key in made] == [("local chat", "user", True)]


def test_a_character_of_utf8_is_read_whole() -> None:
    assert [following(char.encode()[0]) for char in ("a", "\u00fc", "\u4e16", "\U0001f600")] == [0, 1, 2, 3]
