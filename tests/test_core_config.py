"""Settings: every one has a sentence, a wrong one is named, and the file in the repository says what the code does."""

import tomllib
from pathlib import Path
from typing import Any

import house
import pytest

from core import config
from core.config import Settings
from core.errors import ConfigError

NAMES = [name for name, _ in config.describe()]
FILE = house.ROOT / "config.toml"


def nested(name: str, value: object) -> dict[str, Any]:
    """A dotted name as the TOML file would hold it."""
    for part in reversed(name.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as error:
        config.parse(values)
    return error.value.message


def test_the_file_in_the_repository_is_the_one_that_the_code_writes() -> None:
    assert FILE.read_text(encoding="utf-8") == config.render()


def test_reading_that_file_gives_the_defaults() -> None:
    assert config.parse(tomllib.loads(FILE.read_text(encoding="utf-8"))) == config.parse({})


def test_the_file_holds_every_setting_and_a_sentence_for_each() -> None:
    text = FILE.read_text(encoding="utf-8")
    values = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
    assert all("  # " in line and line.endswith(".") for line in values)
    for section in (line for line in text.splitlines() if line.startswith("[")):
        assert text.partition(section)[0].splitlines()[-1].startswith("# "), section
    loaded = tomllib.loads(text)
    for name in NAMES:
        place: Any = loaded
        for part in name.split("."):
            place = place[part]


@pytest.mark.parametrize(("name", "sentence"), list(config.describe()))
def test_a_setting_has_one_sentence(name: str, sentence: str) -> None:
    assert sentence.endswith(".") and len(sentence) > 10


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_with_a_letter_missing_is_named_with_the_right_one(name: str) -> None:
    section, _, last = name.rpartition(".")
    wrong = f"{section}.{last[:-1]}".lstrip(".")
    assert refusal(nested(wrong, 1)) == f"unknown setting {wrong}; the nearest known one is {name}"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("engin", "engine"),
        ("Gateway", "gateway"),
        ("legder", "ledger"),
        ("provider", "providers"),
        ("providers.fallbak", "providers.fallback"),
        ("feedback.nams", "feedback.names"),
    ],
)
def test_a_misspelt_section_is_named_with_the_right_section(wrong: str, right: str) -> None:
    assert refusal(nested(wrong, {"port": 1})) == f"unknown section {wrong}; the nearest known one is {right}"


def test_a_setting_in_the_wrong_section_is_named_with_its_own() -> None:
    assert refusal({"gateway": {"dtype": "float32"}}).endswith("nearest known one is engine.dtype")
    assert refusal({"url": "sqlite:///x"}).endswith(".url")


def test_a_field_of_a_metric_is_named_under_the_metric() -> None:
    wrong = refusal({"feedback": {"names": {"stars": {"type": "number", "hihg": 5}}}})
    assert wrong == "unknown setting feedback.names.stars.hihg; the nearest known one is feedback.names.stars.high"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gateway.port", 0),
        ("gateway.port", 65536),
        ("gateway.port", "eighty"),
        ("gateway.workers", 0),
        ("gateway.deadline", 0),
        ("gateway.deadline", float("nan")),
        ("gateway.deadline", float("inf")),
        ("engine.max_loras", 3),
        ("engine.gpu_memory_share", 1.01),
        ("engine", 3),
        ("ledger.patience", 1.5),
        ("ledger.on_failure", "ignore"),
        ("ledger.batch", 0),
        ("feedback.names.stars", {"type": "star"}),
        ("feedback.names.stars", {"type": "number", "low": 5, "high": 1}),
        ("feedback.names.mood", {"type": "label"}),
        ("feedback.names.mood", {"type": "number", "labels": ["good"]}),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_name_of_its_setting(name: str, value: object) -> None:
    message = refusal(nested(name, value))
    assert message.startswith(f"setting {name}") and "got" in message


def test_all_mistakes_are_told_at_once() -> None:
    message = refusal({"engin": {}, "gateway": {"port": 0, "hots": "x"}})
    assert all(name in message for name in ("engin", "gateway.port", "gateway.hots"))


def test_the_environment_overrides_the_file_and_the_file_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('data = "/from/file"\n[engine]\nmodel = "from-file"\n[gateway]\nport = 1111\nhost = "0.0.0.0"\n')
    from_file = config.load({"HONE_CONFIG": str(file)})
    assert (str(from_file.data), from_file.engine.model, from_file.gateway.port) == ("/from/file", "from-file", 1111)
    environ = {"HONE_CONFIG": str(file), "HONE_DATA": "/env", "HONE_MODEL": "env-model", "HONE_PORT": "2222"}
    settings = config.load(environ)
    assert (str(settings.data), settings.engine.model, settings.gateway.port) == ("/env", "env-model", 2222)
    assert settings.gateway.host == "0.0.0.0"


def test_empty_variables_count_as_unset() -> None:
    names = ("HONE_CONFIG", "HONE_DATA", "HONE_MODEL", "HONE_PORT")
    assert config.load(dict.fromkeys(names, "")) == config.load({})


def test_a_wrong_variable_is_refused_by_the_name_of_its_setting() -> None:
    with pytest.raises(ConfigError, match=r"gateway\.port.*got 'eighty'"):
        config.load({"HONE_PORT": "eighty"})


def test_a_variable_for_a_section_that_is_none_leaves_the_refusal_to_the_check(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("engine = 3\n")
    with pytest.raises(ConfigError, match="setting engine: "):
        config.load({"HONE_CONFIG": str(file), "HONE_MODEL": "x"})


def test_a_file_that_is_missing_unreadable_or_broken_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.toml does not exist; create it or unset HONE_CONFIG"):
        config.load({"HONE_CONFIG": str(tmp_path / "absent.toml")})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        config.load({"HONE_CONFIG": str(tmp_path)})
    for content in (b"port == 3", b"data = '\xff'"):
        (tmp_path / "broken.toml").write_bytes(content)
        with pytest.raises(ConfigError, match=r"broken\.toml is not TOML"):
            config.load({"HONE_CONFIG": str(tmp_path / "broken.toml")})


def test_the_data_folder_is_absolute_and_knows_home() -> None:
    assert config.parse({"data": "~/hone"}).data == Path.home() / "hone"
    assert config.parse({}).data == Path.cwd() / ".hone"


def test_addresses_follow_from_port_and_folder_unless_given() -> None:
    settings = config.parse({"gateway": {"port": 9000}, "data": "/d"})
    assert (settings.engine_url, settings.database_url) == ("http://127.0.0.1:9001", "sqlite:////d/ledger.db")
    given = config.parse({"engine": {"url": "http://gpu:1", "port": 5}, "ledger": {"url": "postgresql+psycopg://h/x"}})
    assert (given.engine_url, given.database_url) == ("http://gpu:1", "postgresql+psycopg://h/x")


def test_the_digest_changes_with_any_setting_and_with_nothing_else() -> None:
    base = config.parse({})
    assert base.digest() == config.parse({"gateway": {"port": base.gateway.port}}).digest()
    changed = {config.parse(values).digest() for values in ({"gateway": {"port": 1}}, {"engine": {"model": "x"}})}
    assert len(changed | {base.digest()}) == 3


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().gateway.port = 1  # type: ignore[misc]


def test_a_caller_speaks_to_this_machine_unless_told() -> None:
    assert config.caller({}) == config.Caller(url="http://127.0.0.1:8000", key=None)
    assert config.caller({"HONE_PORT": "81"}).url == "http://127.0.0.1:81"
    told = config.caller({"HONE_URL": "https://hone.example/", "HONE_KEY": "k", "HONE_PORT": "81"})
    assert told == config.Caller(url="https://hone.example", key="k")


def test_a_child_process_gets_the_same_settings() -> None:
    settings = config.parse({"data": "/d", "engine": {"model": "m"}, "gateway": {"port": 7}})
    child = config.environment(settings, HONE_ROLE="x")
    assert config.load({k: v for k, v in child.items() if k != "HONE_CONFIG"}) == settings
    assert child["HONE_ROLE"] == "x" and "PATH" in child
