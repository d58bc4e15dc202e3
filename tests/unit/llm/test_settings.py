from pathlib import Path

import pytest
from flotilla_common.errors import InvalidArgumentError, NotFoundError
from flotilla_llm.routes import Route, RouteTable, load_routes
from flotilla_llm.settings import ModelSettings
from pydantic import ValidationError


@pytest.fixture(autouse=True)
def _provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOTILLA_MODEL_BASE_URL", "https://models.example/v1/")
    monkeypatch.setenv("FLOTILLA_MODEL_NAME", "big")
    monkeypatch.setenv("FLOTILLA_MODEL_API_KEY", "sk-1")


def test_variables_make_the_default_and_the_embedding_route(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOTILLA_EMBEDDING_MODEL", "vectors")

    routes = ModelSettings().routes().routes

    assert routes["default"].base_url == "https://models.example/v1"
    assert (routes["embedding"].model, routes["embedding"].read_api_key()) == ("vectors", "sk-1")
    assert not routes["default"].sends_metadata
    assert "sk-1" not in repr(routes)


def test_key_file_is_read_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FLOTILLA_MODEL_API_KEY")
    key_file = tmp_path / "key"
    monkeypatch.setenv("FLOTILLA_MODEL_API_KEY_FILE", str(key_file))
    route = ModelSettings().routes().routes["default"]

    key_file.write_text("one\n")
    first = route.read_api_key()
    key_file.write_text("two\n")

    assert (first, route.read_api_key()) == ("one", "two")


def test_nothing_set_is_refused_naming_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOTILLA_MODEL_BASE_URL")

    with pytest.raises(ValidationError, match="FLOTILLA_MODEL_BASE_URL"):
        ModelSettings()


def test_routes_file_adds_and_overrides(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("routes:\n  small: {base_url: 'http://h/v1', model: s, omit: [temperature]}\n")
    monkeypatch.setenv("FLOTILLA_MODEL_ROUTES_FILE", str(file))

    table = ModelSettings().routes()

    assert table.get("small").omit == {"temperature"}
    assert table.get("default").model == "big"
    with pytest.raises(NotFoundError):
        table.get("none")


def test_wrong_routes_file_names_file_and_field(tmp_path: Path) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text("routes:\n  a: {base_url: 'ftp://h', model: s}\n")

    with pytest.raises(InvalidArgumentError, match=r"routes\.yaml: routes\.a\.base_url"):
        load_routes(file)


def test_output_limit_field_follows_the_host_unless_set() -> None:
    def route(url: str) -> Route:
        return Route(base_url=url, model="m")

    assert route("https://api.openai.com/v1").output_limit_field == "max_completion_tokens"
    assert route("http://127.0.0.1:11434/v1").output_limit_field == "max_tokens"
    assert RouteTable(routes={"r": route("http://h/v1")}).get("r").output_limit_field == "max_tokens"
