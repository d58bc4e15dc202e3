"""What one `up` is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from flotilla_cli.embedded.provision import SERVICES
from flotilla_cli.failure import CommandError
from flotilla_cli.home import Home

MOST_REPLICAS = 9


@dataclass(frozen=True, slots=True)
class Provider:
    """A real model provider; its key is in FLOTILLA_MODEL_API_KEY."""

    base_url: str
    model: str

    def settings(self) -> dict[str, str]:
        """Returns the settings of the model layer that name it."""
        return {"FLOTILLA_MODEL_BASE_URL": self.base_url, "FLOTILLA_MODEL_NAME": self.model}

    def default_settings(self) -> dict[str, str]:
        """Returns settings that hold unless the shell says otherwise."""
        is_openai = urlsplit(self.base_url).hostname == "api.openai.com"
        return {"FLOTILLA_EMBEDDING_MODEL": "text-embedding-3-small"} if is_openai else {}


@dataclass(frozen=True, slots=True)
class Plan:
    """Which processes to run, and how many of each."""

    home: Home
    port: int
    agents: Path
    replicas: Mapping[str, int] = field(default_factory=dict)
    provider: Provider | None = None
    """None means the development model."""

    def count(self, service: str) -> int:
        """Returns how many replicas of the service run."""
        return self.replicas.get(service, 1)


def parse_replicas(text: str) -> dict[str, int]:
    """Reads `orchestrator=2,gateway=2`. Raises CommandError naming what is wrong."""
    return dict(_parse_replica(part.strip()) for part in text.split(",") if part.strip())


def parse_provider(base_url: str | None, model: str | None) -> Provider | None:
    """Returns the provider that the two options name together. Raises CommandError for one without the other."""
    if base_url is None and model is None:
        return None
    if base_url is None or model is None:
        raise CommandError("--model-base-url and --model go together")
    return Provider(base_url, model)


def find_agents(chosen: Path | None) -> Path:
    """Returns the folder of agent files: the chosen one, else `agents` here, else the one beside this code."""
    if chosen is not None:
        return _existing(chosen)
    here = Path.cwd() / "agents"
    return here if any(here.glob("*.yaml")) else _existing(Path(__file__).parents[3] / "agents")


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise CommandError(f"there is no folder {folder} with agent files", hint="name one with --agents DIR")
    return folder.resolve()


def _parse_replica(part: str) -> tuple[str, int]:
    service, separator, number = part.partition("=")
    if service not in SERVICES:
        raise CommandError(f"--replicas: there is no service {service!r}", hint=f"one of {', '.join(SERVICES)}")
    if not separator or not number.isdecimal() or not 1 <= int(number) <= MOST_REPLICAS:
        raise CommandError(f"--replicas: {part!r} must be like {service}=2, from 1 to {MOST_REPLICAS}")
    return service, int(number)
