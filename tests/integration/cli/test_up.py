"""`flotilla up` as a person uses it: the command itself, real processes, public HTTP."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from fakes.running_platform import free_port_range
from flotilla_cli.supervisor.leftovers import find_marked

PROCESSES = {"postgres", "valkey", "model", "memory", "tool", "evaluator", "orchestrator", "gateway"}
QUESTION = "What is 17 % of 2,349?"

# Some tests start the platform twice, and starting it is bound by what else the processors do.
pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True)
class Installation:
    """A home of its own, and the command on it."""

    home: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flotilla_cli", *arguments, "--home", str(self.home)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert done.returncode == code, f"{done.stdout}\n{done.stderr}"
        return done

    def up(self) -> None:
        self.run("up", "--detach", "--port", str(self.port))

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = json.loads(self.run("status", "--json").stdout)
        return status

    def process(self, name: str) -> dict[str, Any]:
        return next(process for process in self.status()["processes"] if process["name"] == name)

    def ask(self, text: str) -> str:
        key = (self.home / "developer-key").read_text()
        response = httpx.post(
            f"{self.url}/v1/chat/completions",
            headers={"Authorization": f"Bearer {key}"},
            json={"model": "assistant", "messages": [{"role": "user", "content": text}]},
            timeout=30,
        )
        assert response.status_code == 200, response.text
        return str(response.json()["choices"][0]["message"]["content"])


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    installation = Installation(tmp_path_factory.mktemp("up") / "home", free_port_range(1))
    installation.up()
    try:
        yield installation
    finally:
        installation.run("down")


def test_printed_curl_answers_exactly(running: Installation) -> None:
    log, curls = running.home / "logs" / "up.log", list[str]()

    def is_printed() -> bool:
        curls[:] = [line for line in log.read_text().splitlines() if line.startswith("curl ")]
        return bool(curls)

    # The platform says that it is ready before it prints what to do next.
    until(is_printed)
    (curl,) = curls
    answer = subprocess.run(curl, shell=True, capture_output=True, text=True, check=True, timeout=30)

    assert "399.33" in json.loads(answer.stdout)["choices"][0]["message"]["content"]


def test_status_shows_every_process_as_ready(running: Installation) -> None:
    status = running.status()

    assert {process["name"] for process in status["processes"]} == PROCESSES
    assert {process["state"] for process in status["processes"]} == {"ready"}
    assert all(psutil.pid_exists(process["pid"]) for process in status["processes"])
    assert "no signal of quality" in status["model_note"]


def test_keys_are_readable_by_their_owner_only(running: Installation) -> None:
    files = [running.home / "admin-key", running.home / "developer-key", *(running.home / "secrets").iterdir()]

    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert running.home.stat().st_mode & 0o777 == 0o700


def test_everything_listens_on_loopback_only(running: Installation) -> None:
    processes = [psutil.Process(process["pid"]) for process in running.status()["processes"]]
    listening = [c for process in processes for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]

    # gRPC listens by IPv6 sockets, where the loopback of IPv4 has this prefix.
    assert {connection.laddr.ip.removeprefix("::ffff:") for connection in listening} == {"127.0.0.1"}


def test_killed_service_is_started_again_and_answers(running: Installation) -> None:
    before = running.process("tool")

    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: running.process("tool")["restarts"] > before["restarts"])
    until(lambda: running.process("tool")["state"] == "ready")

    assert running.process("tool")["pid"] != before["pid"]
    assert "399.33" in running.ask(QUESTION)


def test_second_up_on_the_same_home_is_refused(running: Installation) -> None:
    refused = running.run("up", "--port", str(free_port_range(1)), code=1)

    assert "already runs" in refused.stderr
    assert str(running.status()["supervisor_pid"]) in refused.stderr


def test_taken_port_is_named_with_its_holder(running: Installation, tmp_path: Path) -> None:
    other = Installation(tmp_path / "other", running.port)

    refused = other.run("up", "--port", str(other.port), code=1)

    assert f"port {running.port} is taken by" in refused.stderr
    assert str(running.process("gateway")["pid"]) in refused.stderr
    assert not find_marked(str(other.home))


def test_env_points_the_sdk_at_the_gateway(running: Installation) -> None:
    lines = running.run("env").stdout.splitlines()

    key = (running.home / "developer-key").read_text()
    assert lines == [f"export OPENAI_BASE_URL={running.url}/v1", f"export OPENAI_API_KEY={key}"]


def test_chat_streams_the_answer_and_shows_the_tool(running: Installation) -> None:
    said = running.run("chat", QUESTION)

    assert "399.33" in said.stdout
    assert "calculator" in said.stderr


def test_chat_with_an_unknown_agent_fails_in_words(running: Installation) -> None:
    failed = running.run("chat", "hello", "--agent", "nobody", code=1)

    assert "404" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_chat_remembers_its_user_in_another_thread(running: Installation) -> None:
    running.run("chat", "My favourite colour is teal.", "--user", "ada")

    until(lambda: "teal" in running.run("chat", "What is my favourite colour?", "--user", "ada").stdout)
    assert "teal" not in running.run("chat", "What is my favourite colour?", "--user", "bob").stdout


def test_created_key_works_until_it_is_revoked(running: Installation) -> None:
    key = running.run("keys", "create", "ci").stdout.strip()

    def code() -> int:
        return httpx.get(f"{running.url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code

    assert code() == 200
    key_id = next(line.split()[0] for line in running.run("keys", "list").stdout.splitlines() if key[:12] in line)
    running.run("keys", "revoke", key_id)
    until(lambda: code() == 401)


def test_agents_list_names_the_agents_in_the_box(running: Installation) -> None:
    assert "assistant" in running.run("agents", "list").stdout


def test_logs_of_one_service_are_its_own(running: Installation) -> None:
    lines = running.run("logs", "memory").stdout.splitlines()

    assert lines
    assert all(line.startswith("memory-1 ") for line in lines)


def test_doctor_finds_nothing_wrong(running: Installation) -> None:
    assert "wrong" not in running.run("doctor").stdout


def test_down_leaves_no_process_and_data_survives_a_kill(tmp_path: Path) -> None:
    installation = Installation(tmp_path / "home", free_port_range(1))
    installation.up()
    key = (installation.home / "developer-key").read_text()
    killed = installation.status()

    os.kill(killed["supervisor_pid"], signal.SIGKILL)
    installation.up()

    second = installation.status()
    assert (installation.home / "developer-key").read_text() == key
    assert "399.33" in installation.ask(QUESTION)
    assert not {process["pid"] for process in killed["processes"]} & {process["pid"] for process in second["processes"]}

    installation.run("down")

    assert find_marked(str(installation.home)) == []
    assert not any(psutil.pid_exists(process["pid"]) for process in second["processes"])
    assert "does not run" in installation.run("status", code=1).stderr


def test_wrong_agent_file_is_named_by_line_before_any_service_starts(tmp_path: Path) -> None:
    agents = tmp_path / "agents"
    agents.mkdir()
    (agents / "mine.yaml").write_text("name: mine\npattern: react\nprompt: mine.md\nfoo: 1\n")
    installation = Installation(tmp_path / "a home", free_port_range(1))

    done = installation.run("up", "--port", str(installation.port), "--agents", str(agents), code=1)

    assert f"{agents}/mine.yaml:4:1: unknown key 'foo'" in done.stderr
    assert "gateway-1" not in done.stdout
    assert find_marked(str(installation.home)) == []
