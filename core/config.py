"""Every setting, with its default and one sentence: the only place that reads the environment.

`load` merges defaults, the TOML file and four environment variables into a frozen `Settings`; an unknown key is an
error that names the nearest known one. `python -m core.config` prints config.toml, which a test keeps equal to this.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from core.errors import ConfigError
from core.section import Section
from core.settings import BUILT_IN_MODEL as BUILT_IN_MODEL
from core.settings import Engine as Engine
from core.settings import FeedbackNames as FeedbackNames
from core.settings import Gateway as Gateway
from core.settings import Ledger as Ledger
from core.settings import Metric as Metric
from core.settings import Provider as Provider
from core.settings import Settings as Settings

_METRICS = "feedback.names"


class Caller(Section):
    """What a command that speaks HTTP needs from the environment."""

    url: str
    key: str | None


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from HONE_CONFIG (if named) under HONE_MODEL, HONE_DATA and HONE_PORT.

    Raises ConfigError for a missing file, broken TOML, an unknown key or a value out of range.
    """
    env = os.environ if environ is None else environ
    values = _read(Path(env["HONE_CONFIG"])) if env.get("HONE_CONFIG") else {}
    overrides = {("data",): "HONE_DATA", ("engine", "model"): "HONE_MODEL", ("gateway", "port"): "HONE_PORT"}
    for path, name in overrides.items():
        if env.get(name):
            _put(values, path, env[name])
    return parse(values)


def parse(values: Mapping[str, Any]) -> Settings:
    """Settings from a nested mapping; raises ConfigError."""
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError("; ".join(_sentence(dict(e)) for e in error.errors())) from None
    return settings.model_copy(update={"data": settings.data.expanduser().absolute()})


def caller(environ: Mapping[str, str] | None = None) -> Caller:
    """HONE_URL (default: this machine, where the settings say that the gateway listens) and HONE_KEY."""
    env = os.environ if environ is None else environ
    gateway = load(env).gateway
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(gateway.host, gateway.host)
    url = env.get("HONE_URL") or f"http://{host}:{gateway.port}"
    return Caller(url=url.rstrip("/"), key=env.get("HONE_KEY") or None)


def environment(settings: Settings, **extra: str) -> dict[str, str]:
    """This process's environment for a child: the same settings wherever it is started."""
    chosen = {
        "HONE_DATA": str(settings.data),
        "HONE_MODEL": settings.engine.model,
        "HONE_PORT": str(settings.gateway.port),
    }
    return {**os.environ, **chosen, **extra}


def tame_litellm() -> None:
    """Before LiteLLM is imported: no price list from the network, no `.env` of whatever folder this is."""
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_MODE", "PRODUCTION")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"The settings file {path} does not exist; create it or unset HONE_CONFIG.") from None
    except OSError as error:
        raise ConfigError(f"The settings file {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"The settings file {path} is not TOML: {error}.") from None


def _put(values: dict[str, Any], path: tuple[str, ...], value: str) -> None:
    """Set one value; where a section should be and is not, `parse` says so."""
    for name in path[:-1]:
        section = values.setdefault(name, {})
        if not isinstance(section, dict):
            return
        values = section
    values[path[-1]] = value


def _sentence(error: Mapping[str, Any]) -> str:
    name = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return f"setting {name}: {error['msg'].removeprefix('Value error, ')} (got {error['input']!r})"
    kind, known = "setting", _settings_beside(name)
    if isinstance(error["input"], Mapping):
        kind, known = "section", [section for key in known for section in _sections_above(key)]
    # A known setting that stands in the wrong section is nearer than any other word.
    known = [key for key in known if key.rpartition(".")[2] == error["loc"][-1]] or known
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f"unknown {kind} {name}; the nearest known one is {near[0]}"


def _settings_beside(name: str) -> list[str]:
    """All known settings, those of a metric under the name that the file gives it."""
    metric = name.rpartition(".")[0] if name.startswith(f"{_METRICS}.") else f"{_METRICS}.NAME"
    return [*(key for key, _ in describe()), *(f"{metric}.{field}" for field in Metric.model_fields)]


def _sections_above(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


def describe(section: Section | None = None, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each setting's dotted name and sentence, in file order."""
    current = Settings() if section is None else section
    for name, info in type(current).model_fields.items():
        value = getattr(current, name)
        if isinstance(value, Section):
            yield from describe(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info.description or ""


def render() -> str:
    """config.toml: every section and setting with its default and sentence."""
    lines = ["# Every setting of Hone with its default. Point HONE_CONFIG at a copy that holds what you change."]
    lines += _render(Settings(), "")
    return "\n".join(lines) + "\n"


def _render(section: Section, path: str) -> Iterator[str]:
    nested: list[tuple[str, Section]] = []
    for name, info in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            nested.append((name, value))
        elif isinstance(value, Mapping):
            nested += [(f"{name}.{key}", item) for key, item in value.items()]
        else:
            yield f"{name} = {_toml(value)}  # {info.description}"
    for name, value in nested:
        dotted = f"{path}{name}"
        yield f"\n# {(type(value).__doc__ or '').strip()}"
        yield f"[{dotted}]"
        yield from _render(value, f"{dotted}.")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value) if isinstance(value, int | float) else f'"{value}"'


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201
