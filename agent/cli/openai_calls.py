"""The official OpenAI client, pointed at a Hone, and its errors as ours."""

from collections.abc import Iterator
from contextlib import contextmanager

import openai

from agent.cli.api_client import error_of, is_loopback, unreachable
from core.errors import DeadlineExceeded, HoneError

PATH = "/v1"


def open_client(url: str, key: str, retries: int = 2) -> openai.OpenAI:
    """A client to use in a `with` block; a proxy of the environment is not used for this machine itself."""
    http = openai.DefaultHttpxClient(trust_env=not is_loopback(url))
    return openai.OpenAI(base_url=url + PATH, api_key=key, max_retries=retries, http_client=http)


def open_async_client(url: str, key: str, retries: int = 2) -> openai.AsyncOpenAI:
    """The same for `async with`."""
    http = openai.DefaultAsyncHttpxClient(trust_env=not is_loopback(url))
    return openai.AsyncOpenAI(base_url=url + PATH, api_key=key, max_retries=retries, http_client=http)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Raise our own error in place of the client's."""
    try:
        yield
    except openai.APIStatusError as error:
        raise error_of(error.status_code, error.response.content) from None
    except openai.APITimeoutError:
        raise DeadlineExceeded(f"{url} took too long to answer.") from None
    except openai.APIConnectionError as error:
        raise unreachable(url, error.__cause__ or error) from None
    except openai.APIError as error:
        raise HoneError(f"The answer broke off: {error.message}") from None
