"""A helm that writes down what it is called with and plays what it was told."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from fakes.kubernetes_api import FakeKubernetes

Json = dict[str, Any]

_PROGRAM = """#!{python}
import json, os, pathlib, signal, sys, time, urllib.request
home = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
with (home / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
file = home / f"{{arguments[0]}}.json"
answers = json.loads(file.read_text()) if file.exists() else [{{"stderr": "Error: release: not found", "exit_code": 1}}]
answer = answers[0]
if len(answers) > 1:
    file.write_text(json.dumps(answers[1:]))
interrupts = []
if answer.get("until_interrupted"):
    signal.signal(signal.SIGINT, lambda *_: interrupts.append(1))
for path, content in answer.get("changes", []):
    for method, body in (("PUT", json.dumps(content).encode()), ("POST", b"")):
        request = urllib.request.Request("{api}" + path, data=body, method=method)
        urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(request).close()
if answer.get("interrupts_caller"):
    os.kill(os.getppid(), signal.SIGINT)
while answer.get("until_interrupted") and not interrupts:
    time.sleep(0.01)
if "signal" in answer:
    os.kill(os.getpid(), answer["signal"])
sys.stdout.write(answer.get("stdout", ""))
sys.stderr.write(answer.get("stderr", ""))
(home / f"{{arguments[0]}}.ended").touch()
sys.exit(answer.get("exit_code", 0))
"""


class FakeHelm:
    """A real executable in a folder that goes first on the PATH."""

    def __init__(self, folder: Path, kubernetes: FakeKubernetes, version: str = "v3.19.5") -> None:
        self._folder = folder
        program = folder / "helm"
        program.write_text(_PROGRAM.format(python=sys.executable, api=kubernetes.address))
        program.chmod(0o755)
        self.plays("version", stdout=f"{version}+g1234567\n")

    @property
    def path(self) -> str:
        """Returns the PATH that has it."""
        return f"{self._folder}{os.pathsep}{os.environ['PATH']}"

    def plays(self, verb: str, **answer: Any) -> None:
        """Adds an answer; the last one is repeated.

        `changes` are made to the cluster, each is seen before the next; then `interrupts_caller` presses Ctrl-C, and
        `until_interrupted` waits for SIGINT.
        """
        file = self._folder / f"{verb}.json"
        answers = json.loads(file.read_text()) if file.exists() else []
        file.write_text(json.dumps([*answers, answer]))

    def plays_history(self, *revisions: Json) -> None:
        """Adds an answer to `helm history`."""
        self.plays("history", stdout=json.dumps(revisions))

    def await_end(self, verb: str, patience_s: float = 30) -> None:
        """Waits until a call of a verb has ended by itself."""
        deadline = time.monotonic() + patience_s
        while not (self._folder / f"{verb}.ended").exists():
            if time.monotonic() > deadline:
                raise TimeoutError(f"helm {verb} does not end")
            time.sleep(0.02)

    def calls(self, verb: str) -> list[list[str]]:
        """Returns the arguments of each call of a verb."""
        file = self._folder / "calls.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [call for call in map(json.loads, lines) if call[0] == verb]


def revision(number: int, status: str, description: str = "Upgrade complete") -> Json:
    """Returns an entry of a history as helm writes it."""
    return {
        "revision": number,
        "updated": "2026-03-04T05:06:07.123456789Z",
        "status": status,
        "chart": "flotilla-0.1.0",
        "app_version": "0.1.0",
        "description": description,
    }
