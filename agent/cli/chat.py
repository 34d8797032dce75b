"""`hone chat`: a conversation in the terminal, with one key to rate an answer and one to correct it.

The keys work after every answer; the question whether it was good comes only where Hone asks for a rating."""

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.api_client import ApiClient, connect, is_loopback
from agent.cli.pen import Pen
from agent.cli.terminal import note, say, say_json_line
from core import config
from core.errors import HoneError, Unavailable
from core.types import Role

if TYPE_CHECKING:
    from agent.cli.conversation import Conversation
    from agent.cli.keyboard import Keyboard

GOOD, BAD, CORRECT = "+", "-", "="
KEYS = f"{GOOD} good   {BAD} bad   {CORRECT} write a better answer   or just type on"
HELP = f"""After an answer: {KEYS}.
/new   start afresh; Hone forgets what was said here
/help  this text
/quit  leave; Ctrl-D does too
Ctrl-C cuts an answer that is being written, and leaves at the prompt."""
QUESTION = f"Was this good?  {GOOD} yes   {BAD} no   {CORRECT} write a better answer"
PROMPT, ANSWER, BETTER = "you> ", "hone> ", "better> "


def chat(
    question: Annotated[str, typer.Argument(help="Ask this one question and leave.", show_default=False)] = "",
    model: Annotated[str, typer.Option("--model", help="Another version; needs an operator's key.")] = "hone",
    as_json: Annotated[bool, typer.Option("--json", help="Print each answer as a line of JSON with its id.")] = False,
) -> None:
    """Chat in the terminal, or line by line from stdin.

    Without HONE_KEY, on the machine where Hone runs, it lends itself a key for as long as it lasts.
    """
    with _conversation(model) as conversation:
        if question:
            _answer(conversation, question, as_json)
        elif sys.stdin.isatty() and sys.stdout.isatty() and not as_json:
            from agent.cli.keyboard import TerminalKeyboard

            with TerminalKeyboard() as keyboard:
                Talk(conversation, keyboard).run()
        else:
            for line in filter(str.strip, sys.stdin):
                _answer(conversation, line.strip(), as_json)


@contextmanager
def _conversation(model: str) -> Iterator["Conversation"]:
    caller = config.caller()
    if not ApiClient(caller.url, None).is_ready():
        raise Unavailable(f"Hone at {caller.url} is not ready to answer; `hone status` shows why.")
    from agent.cli.conversation import Conversation
    from agent.cli.openai_calls import open_client

    with _key(caller) as key, open_client(caller.url, key) as client:
        yield Conversation(client, ApiClient(caller.url, key), model)


@contextmanager
def _key(caller: config.Caller) -> Iterator[str]:
    """The caller's key, or on this machine one of our own making."""
    from agent.cli.local import lent_key

    settings = config.load()
    if caller.key is None and is_loopback(caller.url) and (settings.ledger.url or settings.data.exists()):
        for number in (signal.SIGTERM, signal.SIGHUP):
            # Leave as by Ctrl-C, so that the key is revoked on the way out.
            signal.signal(number, signal.default_int_handler)
        with lent_key(settings, "local chat", Role.USER) as key:
            yield key
    else:
        yield str(connect(caller, Role.USER).key)


def _answer(conversation: "Conversation", question: str, as_json: bool) -> None:
    """One question, its answer on stdout."""
    for piece in conversation.ask(question):
        if not as_json:
            typer.echo(piece, nl=False)
    answer = conversation.answer
    if as_json and answer:
        say_json_line({"id": answer.id, "answer": answer.text, "finish": answer.finish, "asked": answer.asked})
    else:
        say()


class Talk:
    """A conversation with somebody at a terminal."""

    def __init__(self, conversation: "Conversation", keyboard: "Keyboard") -> None:
        self._conversation = conversation
        self._keyboard = keyboard

    def run(self) -> None:
        """Go on until the person leaves."""
        note("Chat with Hone. /new starts afresh, /help shows the keys, /quit leaves.")
        try:
            while (text := self._next()) != "/quit":
                self._take(text)
        except (EOFError, KeyboardInterrupt):
            say()

    def _take(self, text: str) -> None:
        if text == "/new":
            self._conversation.restart()
            note("A new conversation.")
        elif text == "/help":
            note(HELP)
        elif text.startswith("/"):
            note(f"There is no {text.split()[0]}; /help shows what there is.")
        elif text:
            self._ask(text)

    def _next(self) -> str:
        """The next line; ratings of the last answer are dealt with on the way."""
        begun = ""
        while self._conversation.answer and not begun:
            typer.echo(PROMPT, nl=False)
            key = self._keyboard.read_key()
            typer.echo("\r", nl=False)
            if key in (GOOD, BAD):
                self._rate(key == GOOD)
            elif key == CORRECT:
                self._correct(self._keyboard.read_line(BETTER).strip())
            elif key == "\n":
                say()
            else:
                begun = key
        return self._keyboard.read_line(PROMPT, begun).strip()

    def _ask(self, text: str) -> None:
        typer.secho(ANSWER, nl=False, bold=True)
        before = self._conversation.answer
        pen = Pen(lambda words: typer.echo(words, nl=False), shutil.get_terminal_size().columns, len(ANSWER))
        try:
            for piece in self._conversation.ask(text):
                pen.write(piece)
            pen.finish()
        except KeyboardInterrupt:
            pen.finish(" [cut]")
        except HoneError as error:
            pen.finish()
            note(error.message + (" /new starts afresh." if error.code == "context_length_exceeded" else ""))
        answer = self._conversation.answer
        if answer and answer is not before and answer.asked:
            typer.secho(f"      {QUESTION}", dim=True)

    def _rate(self, good: bool, correction: str | None = None) -> None:
        try:
            self._conversation.rate(good, correction)
        except HoneError as error:
            note(error.message)
        else:
            note("Noted, thank you." if correction else f"Rated {'good' if good else 'bad'}.")

    def _correct(self, text: str) -> None:
        if text:
            self._rate(False, text)
        else:
            note("Nothing written, nothing noted.")
