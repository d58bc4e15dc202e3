"""What a child process inherits from the shell: what it needs to run, and settings meant for it."""

from collections.abc import Mapping

# Everything else in the shell (other people's tokens, say) is no business of a service.
_NAMES = frozenset({
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
})  # fmt: skip
_PREFIXES = ("LC_", "OTEL_", "PYTHON", "GRPC_")
_MODEL_PREFIXES = ("FLOTILLA_MODEL_", "FLOTILLA_EMBEDDING_")


def base_environment(shell: Mapping[str, str]) -> dict[str, str]:
    """Returns what every process may see of the shell."""
    return {name: value for name, value in shell.items() if name in _NAMES or name.startswith(_PREFIXES)}


def own_settings(shell: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Returns the settings of one service that were set in the shell."""
    return {name: value for name, value in shell.items() if name.startswith(f"{prefix}_")}


def model_settings(shell: Mapping[str, str]) -> dict[str, str]:
    """Returns the settings of the model layer that were set in the shell."""
    return {name: value for name, value in shell.items() if name.startswith(_MODEL_PREFIXES)}
