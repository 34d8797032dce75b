"""The engine as a process: how it is started, and that nothing of it outlives Hone."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fixtures_hone import free_port
from fixtures_serving import eventually, group_of

from core import config
from core.errors import SetupError
from core.secret import Secret
from serving import leash
from serving.base import Base, resolve
from serving.engine import Engine, check_port, record
from serving.vllm_command import Accelerator, choose, command, environment


@pytest.fixture
def base(model_folder: Path) -> Base:
    return resolve(str(model_folder))


def settings(**engine: object) -> config.Settings:
    return config.parse({"data": "/tmp/none", "engine": engine})


def words(base: Base, kind: Accelerator = Accelerator.CPU, **engine: object) -> str:
    return " ".join(command(settings(**engine), base, kind))


def test_the_command_serves_this_base_on_loopback_with_adapters(base: Base) -> None:
    line = words(base, port=8123, max_lora_rank=32)
    for part in (f"--model {base.folder}", "--host 127.0.0.1", "--port 8123", "--enable-lora", "--max-lora-rank 32"):
        assert part in line
    assert "--scheduling-policy priority" in line


def test_the_length_is_the_models_own_unless_it_is_set(base: Base) -> None:
    assert "--max-model-len auto" in words(base)
    assert "--max-model-len 512" in words(base, max_model_len=512)


def test_eager_is_for_the_cpu_and_the_share_of_memory_for_the_gpu(base: Base) -> None:
    assert "--enforce-eager" in words(base)
    assert "--gpu-memory-utilization" not in words(base)
    assert "--enforce-eager" not in words(base, Accelerator.GPU)
    assert "--gpu-memory-utilization 0.5" in words(base, Accelerator.GPU, gpu_memory_share=0.5)


def test_the_cpu_cache_is_what_is_set(base: Base) -> None:
    assert "--kv-cache-memory-bytes 3221225472" in words(base, kv_cache_gib=3)
    assert "--kv-cache-memory-bytes" not in words(base, Accelerator.GPU)


def test_arguments_of_the_settings_come_last_and_win(base: Base) -> None:
    assert words(base, arguments=("--dtype", "float32")).endswith("--dtype float32")


def test_the_key_travels_in_the_environment_only(base: Base, secret: Secret) -> None:
    environ = environment(settings(), secret, base, Accelerator.CPU, cores=4)
    assert environ["VLLM_API_KEY"] == secret.engine_key()
    assert secret.engine_key() not in words(base)


def test_the_engine_may_cache_bytecode_and_loads_nothing_from_the_network(
    base: Base, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    environ = environment(settings(), secret, base, Accelerator.CPU, cores=4)
    assert "PYTHONDONTWRITEBYTECODE" not in environ
    assert environ["HF_HUB_OFFLINE"] == "1"


def test_a_small_model_gets_one_thread_and_a_large_one_every_core(
    base: Base, secret: Secret, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    large = Base("large", base.folder, base.digest, 1, "", 2**30, True)
    assert environment(settings(), secret, base, Accelerator.CPU, 8)["OMP_NUM_THREADS"] == "1"
    assert environment(settings(), secret, large, Accelerator.CPU, 8)["OMP_NUM_THREADS"] == "8"
    assert "OMP_NUM_THREADS" not in environment(settings(), secret, large, Accelerator.GPU, 8)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert environment(settings(), secret, large, Accelerator.CPU, 8)["OMP_NUM_THREADS"] == "3"


def test_exactly_one_distribution_of_vllm_must_be_there() -> None:
    assert choose({Accelerator.CPU}) is Accelerator.CPU
    assert choose({Accelerator.GPU}) is Accelerator.GPU
    with pytest.raises(SetupError, match="make setup"):
        choose(set())
    with pytest.raises(SetupError, match="Both"):
        choose(set(Accelerator))


def test_a_taken_port_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SetupError, match=f"port {port} cannot be used .address already in use."):
            check_port(f"http://127.0.0.1:{port}")
    check_port(f"http://127.0.0.1:{port}")


@pytest.fixture
def record_file(tmp_path: Path) -> Path:
    return record(tmp_path)


@pytest.fixture
def make_engine(tmp_path: Path, record_file: Path) -> Callable[..., Engine]:
    return lambda *words: Engine(words, dict(os.environ), tmp_path / "logs" / "engine.log", record_file)


async def test_an_engine_lives_from_start_to_stop(make_engine: Callable[..., Engine], record_file: Path) -> None:
    engine = make_engine("sh", "-c", "sleep 300 & sleep 300; true")
    assert not engine.alive
    await engine.start()
    assert engine.alive
    group = group_of(record_file)
    await engine.stop()
    assert not engine.alive
    assert not leash.group_exists(group)


async def test_the_last_words_are_those_of_this_run(make_engine: Callable[..., Engine]) -> None:
    for number in (1, 2):
        engine = make_engine("sh", "-c", f"for i in 1 2 3; do echo run {number} line $i; done; echo oops >&2; exit 3")
        await engine.start()
        assert await engine.ended() == 3
        await engine.stop()
    assert engine.tail(3) == "run 2 line 2\nrun 2 line 3\noops"
    assert "run 1" not in engine.tail(100)


async def test_a_command_that_is_not_there_is_an_ended_engine_with_last_words(
    make_engine: Callable[..., Engine],
) -> None:
    engine = make_engine("/no/such/command")
    await engine.start()
    assert await engine.ended() != 0
    assert "/no/such/command" in engine.tail()


async def test_a_large_log_is_set_aside_at_the_start(make_engine: Callable[..., Engine], tmp_path: Path) -> None:
    log = tmp_path / "logs" / "engine.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (16 * 2**20 + 1))
    engine = make_engine("true")
    await engine.start()
    await engine.ended()
    assert log.stat().st_size == 0
    assert log.with_suffix(".log.1").stat().st_size > 16 * 2**20


def start_serving(data: Path, **environ: str) -> subprocess.Popen[bytes]:
    inherited = {k: v for k, v in config.environment(config.Settings()).items() if not k.startswith("HONE_")}
    env = {**inherited, "HONE_DATA": str(data), "HONE_PORT": str(free_port()), **environ}
    return subprocess.Popen([sys.executable, "-P", "-m", "serving"], env=env, stderr=subprocess.PIPE)


@pytest.mark.engine
def test_a_killed_serving_process_leaves_nothing_of_vllm(tmp_path: Path) -> None:
    serving = start_serving(tmp_path)
    group = group_of(record(tmp_path))

    def names() -> set[str]:
        found = subprocess.run(["ps", "-eo", "pgid=,args="], capture_output=True, text=True, timeout=10)
        lines = (line.split(maxsplit=1) for line in found.stdout.splitlines())
        return {name for pgid, name in lines if int(pgid) == group}

    try:
        eventually(120, lambda: any("EngineCore" in name for name in names()))
    finally:
        serving.kill()
        serving.communicate()
    eventually(leash.PATIENCE + 3, lambda: not leash.group_exists(group))
    eventually(3, lambda: not record(tmp_path).exists())


@pytest.mark.engine
def test_an_engine_that_refuses_its_arguments_ends_the_start_with_its_words(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[engine]\narguments = ["--no-such-flag"]\n')
    serving = start_serving(tmp_path / "data", HONE_CONFIG=str(tmp_path / "config.toml"))
    _, errors = serving.communicate(timeout=120)
    assert serving.returncode == 78
    last = errors.decode().splitlines()[-1]
    assert "--no-such-flag" in last
