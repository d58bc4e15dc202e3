"""The settings that each service is started with."""

from flotilla_cli.embedded.ports import LOOPBACK
from flotilla_cli.embedded.provision import role_of
from flotilla_cli.platform.environment import base_environment, model_settings, own_settings
from flotilla_cli.platform.layout import Platform, private_key_file
from flotilla_cli.supervisor.leftovers import MARK

_DEVELOPMENT_MODEL = "flotilla-dev"
_DEVELOPMENT_EMBEDDING_MODEL = "flotilla-dev-embed"
_USES_MODELS = frozenset({"orchestrator", "memory", "evaluator"})
# What a service calls; its settings name the peers' targets.
_PEERS = {
    "gateway": ("orchestrator", "memory", "tool"),
    "orchestrator": ("memory", "tool", "evaluator"),
}
_DRAIN_S = 3


def process_environment(platform: Platform) -> dict[str, str]:
    """Returns what every process gets."""
    mark = {MARK: str(platform.plan.home.path), "PYTHONUNBUFFERED": "1"}
    return base_environment(platform.shell) | mark | {"APP_ENV": "development"}


def service_environment(platform: Platform, service: str, replica: int) -> dict[str, str]:
    """Returns the whole environment of one replica of a service."""
    prefix = service.upper()
    ours = _common(platform, service, replica) | _targets(platform, service) | _particulars(platform, service)
    return (
        process_environment(platform)
        | own_settings(platform.shell, prefix)
        | {f"{prefix}_{name}": value for name, value in ours.items()}
        | (_models(platform) if service in _USES_MODELS else {})
    )


def _common(platform: Platform, service: str, replica: int) -> dict[str, str]:
    label = f"{service}-{replica}"
    ports = {f"{purpose.upper()}_PORT": str(port) for purpose, port in platform.ports[label].items()}
    common = ports | {
        "HOST": LOOPBACK,
        "REPLICA": label,
        "LOG_FORMAT": "json",
        "DRAIN_MAX_S": str(_DRAIN_S),
        "DATABASE_URL": platform.database_url(role_of(service)),
    }
    # The gateway signs identities; those whom it calls check them.
    return common if service == "gateway" else common | {"IDENTITY_KEYS_DIR": str(platform.plan.home.public_keys)}


def _targets(platform: Platform, service: str) -> dict[str, str]:
    return {f"{peer.upper()}_TARGET": platform.target(peer) for peer in _PEERS.get(service, ())}


def _particulars(platform: Platform, service: str) -> dict[str, str]:
    home = platform.plan.home
    match service:
        case "gateway":
            return {
                "REDIS_URL": platform.valkey.url(),
                "IDENTITY_PRIVATE_KEY_FILE": str(private_key_file(home, service)),
                "KEY_PEPPER_FILE": str(home.secrets / "key-pepper"),
                "ADMIN_KEY_FILE": str(home.admin_key_file),
            }
        case "orchestrator":
            return {
                "IDENTITY_PRIVATE_KEY_FILE": str(private_key_file(home, service)),
                "AGENTS_DIR": str(platform.plan.agents),
            }
        case _:
            return {}


def _models(platform: Platform) -> dict[str, str]:
    provider = platform.plan.provider
    if provider is not None:
        return provider.default_settings() | model_settings(platform.shell) | provider.settings()
    return {
        "FLOTILLA_MODEL_BASE_URL": platform.model_url,
        "FLOTILLA_MODEL_NAME": _DEVELOPMENT_MODEL,
        "FLOTILLA_EMBEDDING_MODEL": _DEVELOPMENT_EMBEDDING_MODEL,
    }
