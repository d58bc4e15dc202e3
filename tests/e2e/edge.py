"""The platform as its clients see it: public HTTP at the ingress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from e2e.release import ADMIN_KEY, HOST


@dataclass(frozen=True, slots=True)
class Edge:
    """Where the platform answers, and to whom."""

    url: str
    host: str = HOST
    key: str = ADMIN_KEY

    @property
    def headers(self) -> dict[str, str]:
        """What every request carries."""
        return {"Host": self.host, "Authorization": f"Bearer {self.key}"}

    def get(self, path: str) -> httpx.Response:
        """Asks for a resource."""
        return httpx.get(f"{self.url}{path}", headers=self.headers, timeout=30)

    def post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        """Sends JSON."""
        return httpx.post(f"{self.url}{path}", headers=self.headers, json=body, timeout=60)

    def run(self, run_id: str) -> dict[str, Any]:
        """Returns a run as the operations API shows it."""
        shown: dict[str, Any] = self.get(f"/v1/runs/{run_id}").raise_for_status().json()
        return shown

    def events(self, run_id: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields the numbers and contents of a run's events until its log ends."""
        with httpx.stream("GET", f"{self.url}/v1/runs/{run_id}/events", headers=self.headers, timeout=60) as response:
            response.raise_for_status()
            number = 0
            for line in response.iter_lines():
                if line.startswith("id:"):
                    number = int(line[3:])
                elif line.startswith("data: "):
                    yield number, json.loads(line[6:])


def counting(last: int, *, delay_ms: int = 0, salt: str = "") -> str:
    """Returns a question to which the development model counts from 1 to `last`."""
    directive = f"[[dev: delay_ms={delay_ms}{f' salt={salt}' if salt else ''}]] "
    return f"{directive}Count from 1 to {last}."


def counted(last: int) -> list[str]:
    """Returns the words of the right answer."""
    return [str(number) for number in range(1, last + 1)]


def chat_body(question: str, *, stream: bool) -> dict[str, Any]:
    """Returns the body of a chat completion."""
    return {"model": "assistant", "stream": stream, "messages": [{"role": "user", "content": question}]}
