import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fakes.helm import FakeHelm
from fakes.kubernetes_api import FakeKubernetes, running_kubernetes
from flotilla_cli.main import main


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    returncode: object
    stdout: str
    stderr: str


Flotilla = Callable[..., Done]


@pytest.fixture(scope="session")
def _server() -> Iterator[FakeKubernetes]:
    with running_kubernetes() as kubernetes:
        yield kubernetes


@pytest.fixture
def kubernetes(_server: FakeKubernetes) -> FakeKubernetes:
    _server.clear()
    return _server


@pytest.fixture
def helm(tmp_path: Path, kubernetes: FakeKubernetes) -> FakeHelm:
    folder = tmp_path / "bin"
    folder.mkdir()
    return FakeHelm(folder, kubernetes)


@pytest.fixture
def _ctrl_c() -> Iterator[None]:
    """Has this process heed Ctrl-C, which one that a shell started in the background does not."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def flotilla(
    _ctrl_c: None,
    tmp_path: Path,
    helm: FakeHelm,
    kubernetes: FakeKubernetes,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Flotilla:
    """Returns a function that runs the command, in this process because the client library takes long to load."""
    (tmp_path / "chart").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flotilla_cli.release.watch.POLL_S", 0.02)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", helm.path)
    monkeypatch.setenv("KUBECONFIG", str(kubernetes.write_kubeconfig(tmp_path / "kubeconfig")))

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["flotilla", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return Done(ended.value.code, *capfd.readouterr())

    return run
