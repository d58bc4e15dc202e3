"""Looks at what a service is about to be given, with the service's own eyes; changes nothing and opens nothing."""

import importlib
import json
import sys
from pathlib import Path


def main(service: str, files: dict[str, str], model_hint: str = "") -> None:
    """Exits with a message that names the Secret, the setting or the agent's file that is wrong."""
    if missing := [complaint for file, complaint in files.items() if not Path(file).exists()]:
        sys.exit("\n".join(missing))
    if service == "migration":
        return
    settings_class = getattr(importlib.import_module(f"flotilla_{service}.settings"), f"{service.capitalize()}Settings")
    load_settings = importlib.import_module("flotilla_common.settings").load_settings
    settings = load_settings(settings_class)
    if service in ("orchestrator", "memory"):
        models = load_settings(importlib.import_module("flotilla_llm.settings").ModelSettings).routes()
        check_keys({name: route.api_key_file for name, route in models.routes.items()}, model_hint)
    if service == "orchestrator":
        check_agents(settings.agents_dir)


def check_keys(files: dict[str, Path | None], hint: str) -> None:
    """Exits with the model routes whose key is not there."""
    missing = {route: file for route, file in files.items() if file and not file.exists()}
    if missing:
        sys.exit("\n".join(f"model route {route}: there is no file {file}; {hint}" for route, file in missing.items()))


def check_agents(folder: Path) -> None:
    """Exits with every problem's file, line and column."""
    loader = importlib.import_module("flotilla_orchestrator.graphs.loader")
    try:
        loader.load_agents(folder)
    except loader.AgentFilesError as error:
        sys.exit("\n".join(f"agents.files: {problem}".replace(f"{folder}/", "") for problem in error.problems))


main(sys.argv[1], json.loads(sys.argv[2]), *sys.argv[3:])
