from pathlib import Path

import pytest
from flotilla_common.settings import DEFAULTS, ProcessSettings, ServiceSettings, load_settings
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="THING_")

    database_url: SecretStr
    sizes: tuple[int, ...] = (1,)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("APP_ENV", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("THING_IDENTITY_KEYS_DIR", str(tmp_path))
    monkeypatch.setenv("THING_DATABASE_URL", "postgresql://thing:secret@db/x")
    return monkeypatch


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        load_settings(Settings)

    assert caught.value.code == 2
    return capsys.readouterr().err


def test_settings_come_from_prefixed_variables(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("THING_GRPC_PORT", "7001")

    settings = load_settings(Settings)

    assert (settings.grpc_port, settings.health_port, settings.metrics_port) == (7001, 50052, 9090)


@pytest.mark.parametrize("variable", ["THING_DATABASE_URL", "THING_IDENTITY_KEYS_DIR"])
def test_missing_variable_is_named(
    variable: str, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv(variable)

    assert complaint(capsys) == f"{variable}: Field required\n"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("APP_ENV", "prod"),
        ("THING_GRPC_PORT", "99999"),
        ("THING_GRPC_PORT", "http"),
        ("THING_SIZES", "[1"),
        ("THING_LOG_LEVEL", "LOUD"),
        ("THING_TRACE_RATIO", "2"),
        ("THING_IDENTITY_KEYS_DIR", "/nowhere/at/all"),
        ("THING_DATABASE_URL", ""),
    ],
)
def test_wrong_variable_is_named_and_nothing_else(
    variable: str, value: str, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv(variable, value)

    lines = complaint(capsys).splitlines()

    assert [line.partition(":")[0] for line in lines] == [variable]


def test_several_wrong_variables_are_all_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("THING_DATABASE_URL")
    environment.setenv("THING_METRICS_PORT", "-1")

    lines = complaint(capsys).splitlines()

    assert {line.partition(":")[0] for line in lines} == {"THING_DATABASE_URL", "THING_METRICS_PORT"}


def test_complaint_shows_no_value(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    environment.setenv("THING_GRPC_PORT", "hunter2")

    assert "hunter2" not in complaint(capsys)


@pytest.mark.parametrize("name", DEFAULTS)
def test_app_env_switches_the_defaults_in_the_table(name: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("APP_ENV", name)

    settings = load_settings(Settings)

    assert (settings.log_format, settings.drain_max_s) == (DEFAULTS[name].log_format, DEFAULTS[name].drain_max_s)
    assert (settings.trace_ratio, settings.reflection) == (DEFAULTS[name].trace_ratio, DEFAULTS[name].reflection)


def test_variable_wins_over_app_env(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("APP_ENV", "development")
    environment.setenv("THING_LOG_FORMAT", "json")

    assert load_settings(Settings).log_format == "json"


def test_without_app_env_production_holds() -> None:
    settings = load_settings(Settings)

    assert settings.app_env == "production"
    assert not settings.reflection


def test_secret_is_read_from_the_file_that_its_variable_names(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://from-file\n")
    environment.delenv("THING_DATABASE_URL")
    environment.setenv("THING_DATABASE_URL_FILE", str(tmp_path / "url"))

    assert load_settings(Settings).database_url.get_secret_value() == "postgresql://from-file"


def test_unreadable_secret_file_is_named(environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    environment.delenv("THING_DATABASE_URL")
    environment.setenv("THING_DATABASE_URL_FILE", "/nowhere/url")

    assert complaint(capsys).startswith("THING_DATABASE_URL_FILE: ")


def test_secret_is_not_shown() -> None:
    assert "thing:secret@db" not in repr(load_settings(Settings))


def test_settings_do_not_change() -> None:
    settings = load_settings(Settings)

    with pytest.raises(ValidationError):
        settings.grpc_port = 1  # type: ignore[misc] # that is the point


def test_process_without_grpc_needs_no_keys() -> None:
    class Door(ProcessSettings):
        model_config = SettingsConfigDict(env_prefix="DOOR_")

    assert load_settings(Door).metrics_port == 9090
