"""Reads agents' files: everything that is wrong is found at once, with file, line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson
from flotilla_common.errors import InvalidArgumentError

from flotilla_orchestrator.graphs.catalogue import CompiledGraph
from flotilla_orchestrator.graphs.checks import check
from flotilla_orchestrator.graphs.foreign import GraphImportError, import_graph, source_of
from flotilla_orchestrator.graphs.parse import parse_spec
from flotilla_orchestrator.graphs.positions import FileError, Location, Problem, YamlFile, did_you_mean, read_yaml
from flotilla_orchestrator.graphs.prompt import (
    BUILT_IN_VARIABLES,
    Prompt,
    compile_prompt,
    find_unknown,
    variables_of,
)
from flotilla_orchestrator.graphs.spec import AgentSpec, GraphAgent, PipelineAgent, PromptedSpec, SupervisorAgent

_LARGEST_PROMPT_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class LoadedAgent:
    """An agent's file with everything it refers to."""

    file: Path
    spec: AgentSpec
    prompts: Mapping[str, Prompt]
    """Compiled prompts, by the file's name as it stands in the spec."""
    graph: CompiledGraph | None
    """Set when the graph comes from somebody's own code."""
    content: str
    """What the agent is, as JSON, whatever its files' comments, order and place."""
    hash: str
    """The release's hash: SHA-256 of the content."""
    modified_at: float
    """When the newest of its files was changed, seconds since 1970."""


class AgentFilesError(InvalidArgumentError):
    """Agents' files are wrong; no agent is loaded."""

    def __init__(self, problems: list[Problem]) -> None:
        lines = "\n".join(str(problem) for problem in problems)
        super().__init__(f"The agents' files are wrong:\n{lines}", reason="agent_files_invalid")
        self.problems = problems


def load_agents(folder: Path) -> list[LoadedAgent]:
    """Loads every `*.yaml` of a folder, ordered by agent's name. Raises AgentFilesError with all that is wrong."""
    files = sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])
    if not files:
        raise AgentFilesError([Problem(folder, 1, 1, "the folder holds no agent (*.yaml)")])
    loaded: dict[str, LoadedAgent] = {}
    problems: list[Problem] = []
    for file in files:
        agent = _load(file, problems)
        if agent is None:
            continue
        if twin := loaded.get(agent.spec.name):
            message = f"the name '{agent.spec.name}' is taken by {twin.file.name}"
            problems.append(read_yaml(file).problem(["name"], message))
        loaded[agent.spec.name] = agent
    if problems:
        raise AgentFilesError(sorted(problems))
    return [loaded[name] for name in sorted(loaded)]


def validate_file(path: Path) -> list[Problem]:
    """Returns everything that is wrong with an agent's file and its prompts, in order; empty when it is right."""
    problems: list[Problem] = []
    _load(path, problems)
    return sorted(problems)


def _load(file: Path, problems: list[Problem]) -> LoadedAgent | None:
    """Loads one file, or adds what is wrong."""
    try:
        yaml_file = read_yaml(file)
    except FileError as error:
        problems.append(error.problem)
        return None
    known = len(problems)
    problems.extend(yaml_file.duplicate_keys())
    spec = parse_spec(yaml_file, problems)
    if spec is None:
        return None
    problems.extend(yaml_file.problem(location, message) for location, message in check(spec))
    agent = _load_graph(yaml_file, spec, problems) if isinstance(spec, GraphAgent) else None
    agent = agent or (None if isinstance(spec, GraphAgent) else _load_prompts(yaml_file, spec, problems))
    return agent if len(problems) == known else None


def _load_graph(yaml_file: YamlFile, spec: GraphAgent, problems: list[Problem]) -> LoadedAgent | None:
    try:
        graph = import_graph(spec.graph, beside=yaml_file.path.parent)
    except GraphImportError as error:
        problems.append(yaml_file.problem(["graph"], str(error)))
        return None
    content = _content(spec, {spec.graph: source_of(spec.graph).decode(errors="replace")})
    modified_at = yaml_file.path.stat().st_mtime
    return LoadedAgent(yaml_file.path, spec, {}, graph, content, _hash(content), modified_at)


def _load_prompts(yaml_file: YamlFile, spec: PromptedSpec, problems: list[Problem]) -> LoadedAgent:
    texts: dict[str, str] = {}
    prompts: dict[str, Prompt] = {}
    modified_at = yaml_file.path.stat().st_mtime
    for use in _prompt_uses(spec):
        path = yaml_file.path.parent / use.name
        text = _read_prompt(yaml_file, use, problems)
        if text is None:
            continue
        problems.extend(_check_prompt(yaml_file, use, text))
        texts[use.name] = text
        prompts[use.name] = compile_prompt(text, {"agent": spec.name, **spec.variables})
        modified_at = max(modified_at, path.stat().st_mtime)
    content = _content(spec, texts)
    return LoadedAgent(yaml_file.path, spec, prompts, None, content, _hash(content), modified_at)


@dataclass(frozen=True, slots=True)
class _PromptUse:
    """A place of the spec that names a prompt's file."""

    name: str
    location: Location
    variables: frozenset[str]
    """Everything the prompt may use."""
    needs: str = ""
    """A variable it must use."""


def _prompt_uses(spec: PromptedSpec) -> Iterator[_PromptUse]:
    known = BUILT_IN_VARIABLES | spec.variables.keys()
    if isinstance(spec, PipelineAgent):
        for place, step in enumerate(spec.steps):
            earlier = frozenset(other.name for other in spec.steps[:place])
            yield _PromptUse(step.prompt, ["steps", place, "prompt"], known | earlier, needs=step.reviews or "")
        return
    yield _PromptUse(spec.prompt, ["prompt"], known)
    if isinstance(spec, SupervisorAgent):
        for place, agent in enumerate(spec.agents):
            yield _PromptUse(agent.prompt, ["agents", place, "prompt"], known)


def _read_prompt(yaml_file: YamlFile, use: _PromptUse, problems: list[Problem]) -> str | None:
    folder = yaml_file.path.parent.resolve()
    path = folder / use.name
    message = ""
    if not path.resolve().is_relative_to(folder):
        message = f"the prompt '{use.name}' lies outside the agent's folder"
    elif not path.is_file():
        beside = [str(file.relative_to(folder)) for file in folder.rglob("*.md")]
        message = f"there is no prompt '{use.name}'{did_you_mean(use.name, beside)}"
    elif path.stat().st_size > _LARGEST_PROMPT_BYTES:
        message = f"the prompt '{use.name}' is larger than {_LARGEST_PROMPT_BYTES} bytes"
    if message:
        problems.append(yaml_file.problem(use.location, message))
        return None
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        text = ""
    if not text.strip():
        problems.append(yaml_file.problem(use.location, f"the prompt '{use.name}' is empty or not UTF-8"))
        return None
    return text


def _check_prompt(yaml_file: YamlFile, use: _PromptUse, text: str) -> Iterator[Problem]:
    path = yaml_file.path.parent / use.name
    for unknown in find_unknown(text, use.variables):
        hint = did_you_mean(unknown.name, use.variables)
        yield Problem(path, unknown.line, unknown.column, f"'{{{{{unknown.name}}}}}' has no value{hint}")
    if use.needs and use.needs not in variables_of(text):
        yield yaml_file.problem(use.location, f"a review's prompt shows what it reviews: write '{{{{{use.needs}}}}}'")


def _content(spec: AgentSpec, texts: Mapping[str, str]) -> str:
    # Keys stay in the models' order and those of labels in the file's, where the last one has a meaning.
    content = {"pattern": spec.pattern, "spec": spec.model_dump(mode="json"), "contents": texts}
    return orjson.dumps(content).decode()


def _hash(content: str) -> str:
    return sha256(content.encode()).hexdigest()
