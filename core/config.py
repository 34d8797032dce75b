"""Every setting, with its default and one sentence: the only place that reads the environment.

`load` merges defaults, the TOML file and four environment variables into a frozen `Settings`; an unknown key is an
error that names the nearest known one. `python -m core.config` prints config.toml, which a test keeps equal to this.
"""

import difflib
import hashlib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from core.errors import ConfigError

BUILT_IN_MODEL = "hone-tiny"
_METRICS = "feedback.names"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Engine(Section):
    """The vLLM server that runs the model."""

    model: str = Field(BUILT_IN_MODEL, description="hone-tiny, or a Hugging Face model id, or a folder (HONE_MODEL).")
    url: str = Field(
        "", description="Address of an engine that others run; empty: Hone starts its own on this machine."
    )
    host: str = Field("127.0.0.1", description="Address that Hone's own engine listens on; keep it private.")
    port: int = Field(0, ge=0, le=65535, description="Port of Hone's own engine; 0: the gateway's port + 1.")
    dtype: str = Field("bfloat16", description="Number format that vLLM computes in.")
    max_model_len: int = Field(
        0, ge=0, description="Longest prompt and answer together, in tokens; 0: the model's own."
    )
    max_loras: int = Field(4, ge=4, description="Adapters in one batch: champion, previous, challenger, shadow.")
    max_lora_rank: int = Field(16, ge=1, description="Largest adapter rank that can be served or trained.")
    kv_cache_gib: float = Field(
        0, ge=0, description="Memory for the key-value cache of a CPU engine, in GiB; 0: by the size of the model."
    )
    gpu_memory_share: float = Field(0.85, gt=0, le=1, description="Share of a GPU's memory that the engine may take.")
    start_timeout: float = Field(600, gt=0, description="Seconds until an engine that is not ready counts as failed.")
    arguments: tuple[str, ...] = Field((), description="Further command-line arguments for vLLM, as it spells them.")


class Gateway(Section):
    """The HTTP face."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=1, le=65535, description="Port to listen on (HONE_PORT).")
    workers: int = Field(1, ge=1, le=64, description="Gateway processes that share the port.")
    max_body_mib: float = Field(10, gt=0, description="Largest request body, in MiB; beyond it 413.")
    deadline: float = Field(600, gt=0, description="Seconds that one call may take from first to last byte.")
    drain: float = Field(30, gt=0, description="Seconds that open answers may take to finish at shutdown.")
    failed_logins_per_minute: int = Field(30, ge=1, description="Wrong keys per client address before it gets 429.")


class Ledger(Section):
    """Where every interaction and rating is kept."""

    url: str = Field(
        "",
        description="SQLAlchemy address, e.g. postgresql+psycopg://user@host/hone; empty: SQLite in the data folder.",
    )
    batch: int = Field(256, ge=1, description="Most rows that one commit takes.")
    queue: int = Field(20000, ge=1, description="Most rows that may wait for a commit; beyond it 503.")
    patience: float = Field(1.0, gt=0, le=1, description="Seconds of database trouble before rows go to the spool.")
    spool_mib: int = Field(256, ge=1, description="Largest local spool, in MiB.")
    on_failure: Literal["serve", "refuse"] = Field(
        "serve",
        description="When neither database nor spool takes a row: serve chats on from memory, or refuse them.",
    )
    hold: int = Field(1000, ge=0, description="Rows kept in memory under `serve`; beyond it 503.")


class Metric(Section):
    """A name that feedback may carry."""

    type: Literal["boolean", "number", "label"] = Field(description="boolean also takes a number from 0 to 1.")
    low: float = Field(0.0, description="Smallest number.")
    high: float = Field(1.0, description="Largest number.")
    labels: tuple[str, ...] = Field((), description="The words of a label.")
    better: Literal["higher", "lower", "none"] = Field("higher", description="Which direction is good.")
    may_train: bool = Field(False, description="Whether it may become a training row.")

    @model_validator(mode="after")
    def _can_be_given(self) -> "Metric":
        if self.low >= self.high:
            raise ValueError(f"low must be below high, not {self.low} and {self.high}")
        if (self.type == "label") != bool(self.labels):
            raise ValueError("labels belong to the type label, which needs at least one")
        return self


class FeedbackNames(Section):
    """What people may say of an answer."""

    names: Mapping[str, Metric] = Field(
        {
            "thumbs": Metric(type="boolean", may_train=True),
            "rating": Metric(type="number", low=0.0, high=1.0),
        },
        description="Declared metrics by name; feedback under any other name is refused.",
    )
    max_text: int = Field(20000, ge=1, description="Longest comment or correction, in characters.")


class Provider(Section):
    """A model that others run, reached through LiteLLM."""

    model: str = Field("", description="LiteLLM's provider/name; empty: none.")
    api_base: str = Field("", description="Address of the provider where it is not LiteLLM's default.")
    api_key_file: str = Field("", description="File that holds the provider's key.")
    timeout: float = Field(60, gt=0, description="Seconds for one call.")


class Providers(Section):
    """Models beside our own engine; the default needs none."""

    fallback: Provider = Field(Provider(), description="Answers chats while our engine is down; its rows say so.")
    teacher: Provider = Field(Provider(), description="Writes answers to learn from.")
    judge: Provider = Field(Provider(), description="Compares answers.")
    embeddings: Provider = Field(Provider(), description="Turns texts into vectors.")


class Settings(Section):
    """All of Hone's settings; each process takes the smallest section that it needs."""

    data: Path = Field(Path(".hone"), description="Folder of ledger, artifacts, logs and keys (HONE_DATA).")
    engine: Engine = Field(Engine(), description="")
    gateway: Gateway = Field(Gateway(), description="")
    ledger: Ledger = Field(Ledger(), description="")
    feedback: FeedbackNames = Field(FeedbackNames(), description="")
    providers: Providers = Field(Providers(), description="")

    @property
    def engine_url(self) -> str:
        """Where the gateway finds the engine."""
        return self.engine.url or f"http://{self.engine.host}:{self.engine.port or self.gateway.port + 1}"

    @property
    def database_url(self) -> str:
        return self.ledger.url or f"sqlite:///{self.data / 'ledger.db'}"

    def digest(self) -> str:
        """SHA-256 of all settings; each interaction carries it, so that a row says under which rules it was made."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


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
