"""What `helm test` does: waits until the gateway is ready and has one conversation through it."""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

GATEWAY = os.environ["GATEWAY"]
AGENT = os.environ.get("AGENT", "")
KEY_FILE = Path("/run/flotilla/secrets/admin-key")
PATIENCE_S = 60


def ask(path: str, body: dict | None = None) -> dict:
    """Returns the JSON that the gateway answers; raises OSError if it does not answer with success."""
    headers = {"Content-Type": "application/json"}
    if KEY_FILE.exists():
        headers["Authorization"] = f"Bearer {KEY_FILE.read_text().strip()}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{GATEWAY}{path}", data, headers)  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)


def wait_until_ready() -> None:
    """Exits with the last answer if the gateway is not ready in time."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            sys.stdout.write(f"ready: {json.dumps(ask('/ready'))}\n")
            return
        except OSError as error:
            if time.monotonic() > deadline:
                sys.exit(f"{GATEWAY}/ready: {error}{explain(error)}")
            time.sleep(1)


def explain(error: OSError) -> str:
    """Returns what the gateway said about its refusal."""
    return f": {error.read().decode(errors='replace')}" if isinstance(error, urllib.error.HTTPError) else ""


def chat() -> None:
    """Exits with the gateway's words if a chat does not work."""
    question = {"model": AGENT, "messages": [{"role": "user", "content": "Say hello in one word."}]}
    try:
        answer = ask("/v1/chat/completions", question)
    except OSError as error:
        sys.exit(f"chat with {AGENT}: {error}{explain(error)}")
    content = answer["choices"][0]["message"]["content"]
    if not content:
        sys.exit(f"chat with {AGENT}: an empty answer: {json.dumps(answer)}")
    sys.stdout.write(f"{AGENT}: {content}\n")


wait_until_ready()
if AGENT and KEY_FILE.exists():
    chat()
else:
    sys.stdout.write("no chat: there is no administrator's key or no agent to ask (smokeTest.agent)\n")
