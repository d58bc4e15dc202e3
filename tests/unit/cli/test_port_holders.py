"""Who holds a port."""

import os
import socket

import pytest
from flotilla_cli.embedded.ports import LOOPBACK, free_port
from flotilla_cli.failure import CommandError
from flotilla_cli.platform.port_holders import require_free


def test_taken_port_is_named_with_the_program_that_holds_it() -> None:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        listener.listen()
        port = listener.getsockname()[1]

        with pytest.raises(CommandError, match=rf"port {port} is taken by .*pid {os.getpid()}"):
            require_free(port)


def test_free_port_is_no_problem() -> None:
    require_free(free_port())
