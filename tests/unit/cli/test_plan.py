"""What one `up` is asked for."""

from pathlib import Path

import pytest
from flotilla_cli.failure import CommandError
from flotilla_cli.platform.plan import Provider, find_agents, parse_provider, parse_replicas


def test_parse_replicas_reads_a_list() -> None:
    assert parse_replicas("orchestrator=2, gateway=3") == {"orchestrator": 2, "gateway": 3}


def test_parse_replicas_of_nothing_is_empty() -> None:
    assert parse_replicas("") == {}


@pytest.mark.parametrize("text", ["postgres=2", "gateway", "gateway=0", "gateway=10", "gateway=two", "=2"])
def test_parse_replicas_refuses_nonsense(text: str) -> None:
    with pytest.raises(CommandError, match="--replicas"):
        parse_replicas(text)


def test_provider_needs_url_and_model() -> None:
    with pytest.raises(CommandError, match="go together"):
        parse_provider("https://models.example/v1", None)


def test_provider_without_either_is_the_development_model() -> None:
    assert parse_provider(None, None) is None


def test_openai_has_a_default_embedding_model() -> None:
    assert "FLOTILLA_EMBEDDING_MODEL" in Provider("https://api.openai.com/v1", "gpt").default_settings()
    assert Provider("http://127.0.0.1:8000/v1", "local").default_settings() == {}


def test_find_agents_prefers_the_chosen_folder(tmp_path: Path) -> None:
    assert find_agents(tmp_path) == tmp_path.resolve()


def test_find_agents_takes_the_folder_here_when_it_has_agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "mine.yaml").touch()
    monkeypatch.chdir(tmp_path)

    assert find_agents(None) == tmp_path / "agents"


def test_find_agents_names_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere"):
        find_agents(tmp_path / "nowhere")
