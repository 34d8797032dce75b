"""The settings as types: every section with its defaults and one sentence a setting. core/config.py reads them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from core.rules import (
    Approval,
    Calibration,
    Drift,
    Experiment,
    Gate,
    Judge,
    Monitoring,
    Notify,
    Shadow,
    Training,
    Triggers,
)
from core.section import Section

BUILT_IN_MODEL = "hone-tiny"


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
            "preference": Metric(type="boolean", may_train=True),
        },
        description="Declared metrics by name; feedback under any other name is refused.",
    )
    max_text: int = Field(20000, ge=1, description="Longest comment or correction, in characters.")
    ask: float = Field(
        1.0, ge=0, le=1, description="Share of the answers whose rating is asked for; the header x-hone-ask says it."
    )
    ask_more: float = Field(1.0, ge=0, le=1, description="The share while ratings are worth most, as after an alarm.")


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
    training: Training = Field(Training(), description="")
    triggers: Triggers = Field(Triggers(), description="")
    monitoring: Monitoring = Field(Monitoring(), description="")
    drift: Drift = Field(Drift(), description="")
    calibration: Calibration = Field(Calibration(), description="")
    shadow: Shadow = Field(Shadow(), description="")
    experiment: Experiment = Field(Experiment(), description="")
    gate: Gate = Field(Gate(), description="")
    judge: Judge = Field(Judge(), description="")
    approval: Approval = Field(Approval(), description="")
    notify: Notify = Field(Notify(), description="")

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
