"""What an error's headers say about trying again."""

from __future__ import annotations

import pytest
from flotilla_common.errors import FlotillaError, InternalError, InvalidArgumentError, UnavailableError
from flotilla_gateway.wires.openai.errors import RunEndedError
from flotilla_gateway.wires.reply import error_headers


@pytest.mark.parametrize(
    ("error", "headers"),
    [
        (UnavailableError("busy", reason="database_busy"), {b"retry-after": b"1", b"retry-after-ms": b"1000"}),
        (UnavailableError("busy", retry_after_s=2.5), {b"retry-after": b"3", b"retry-after-ms": b"2500"}),
        (RunEndedError(UnavailableError("the model is away")), {b"x-should-retry": b"false"}),
        (InvalidArgumentError("wrong"), {}),
        (InternalError("broken"), {}),
    ],
    ids=["503", "503 that knows", "a run that ended", "400", "500"],
)
def test_headers_say_whether_and_when_to_try_again(error: FlotillaError, headers: dict[bytes, bytes]) -> None:
    assert dict(error_headers(error)) == headers
