"""A model folder that is small enough to write in a test, and the session's real engine seen past the gateway."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pytest
from fixtures_hone import RunningHone
from safetensors.numpy import load_file, save_file

from core import config
from core.registry import Registry
from core.secret import Secret
from core.store import Store
from core.types import Version
from serving.adapters import zero_adapter
from serving.base import Base
from serving.client import EngineClient
from serving.fake_bytes import CHAT

HIDDEN, INNER, HEADS = 8, 16, 4
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HEADS, HIDDEN),
    "self_attn.v_proj": (HEADS, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
QUESTIONS = ("Hello", "Who are you?", "How do I reset my password?", "What is a quarkle?", "Ünïcode: 東京?")


def write_model(folder: Path, *, layers: int = 2, shards: int = 1, seed: int = 0, **settings: object) -> Path:
    """A model folder with everything that a base must have; `settings` change its config.json (None removes)."""
    folder.mkdir(parents=True, exist_ok=True)
    draws = np.random.default_rng(seed)
    weights = {
        f"model.layers.{layer}.{name}.weight": draws.standard_normal(shape).astype(np.float32)
        for layer in range(layers)
        for name, shape in SHAPES.items()
    }
    weights["model.embed_tokens.weight"] = draws.standard_normal((32, HIDDEN)).astype(np.float32)
    weights["model.layers.0.input_layernorm.weight"] = np.ones(HIDDEN, np.float32)
    if shards == 1:
        save_file(weights, folder / "model.safetensors")
    else:
        _write_shards(folder, weights, shards)
    content = {"architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 128} | settings
    (folder / "config.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def _write_shards(folder: Path, weights: dict[str, np.ndarray], shards: int) -> None:
    names = sorted(weights)
    places = {name: f"model-{i % shards}.safetensors" for i, name in enumerate(names)}
    for place in set(places.values()):
        save_file({name: weights[name] for name in names if places[name] == place}, folder / place)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


def write_noise_adapter(base: Base, folder: Path, rank: int = 4) -> None:
    """An adapter that changes every answer."""
    zero_adapter(base, folder)
    draws = np.random.default_rng(0)
    weights = {}
    for name, tensor in load_file(folder / "adapter_model.safetensors").items():
        shape = tuple(rank if size == 1 else size for size in tensor.shape)
        weights[name] = draws.standard_normal(shape).astype(np.float32)
    save_file(weights, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"r": rank, "lora_alpha": rank}))


async def greedy(client: EngineClient, model: str, question: str) -> str:
    """The engine's most probable answer, in up to 24 tokens."""
    body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 24, "temperature": 0}
    async with client.post(CHAT, orjson.dumps(body), "greedy") as upstream:
        answer = orjson.loads(await upstream.read())
    assert upstream.status == 200, answer
    return str(answer["choices"][0]["message"]["content"])


def eventually(seconds: float, fact: Callable[[], bool]) -> None:
    """Wait for a fact; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


def group_of(record_file: Path) -> int:
    """The process group that a leash has written down."""
    eventually(30, record_file.exists)
    return int(json.loads(record_file.read_text())["pgid"])


@dataclass(frozen=True)
class RealEngine:
    """The vLLM of the session's Hone. `champion` is the version that it serves."""

    hone: RunningHone
    url: str
    key: str
    champion: Version

    @property
    def settings(self) -> config.Settings:
        return self.hone.settings

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        store = Store.open(self.settings.database_url)
        try:
            yield Registry(store)
        finally:
            store.close()

    def wanted(self) -> frozenset[Version]:
        """What the plan wants the engine to hold."""
        with self.registry() as registry:
            plan = registry.plan()
        assert plan is not None
        return plan.live()

    def serving_pid(self) -> int:
        """The newest serving process."""
        with self.registry() as registry:
            engines = [worker for worker in registry.workers(0) if worker.kind == "engine"]
        return max(engines, key=lambda worker: worker.seen_at).pid

    @contextmanager
    def left_alone(self) -> Iterator[None]:
        """Meanwhile nobody loads or unloads adapters but the test."""
        pid = self.serving_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def client(self) -> EngineClient:
        return EngineClient(self.url, self.key)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture(scope="session")
def engine(hone: RunningHone) -> RealEngine:
    """The one vLLM of the session, on hone-tiny, with version 0 loaded."""
    settings = hone.settings
    store = Store.open(settings.database_url)
    plan = Registry(store).plan()
    store.close()
    assert plan is not None
    return RealEngine(hone, settings.engine_url, Secret.load(settings.data).engine_key(), plan.champion)
