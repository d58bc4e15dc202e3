"""The supervisor's parts that need no process."""

import os
from pathlib import Path

import psutil
from flotilla_cli.platform.environment import base_environment, model_settings, own_settings
from flotilla_cli.supervisor.backoff import Backoff
from flotilla_cli.supervisor.log_files import bound_logs, open_log, tail
from flotilla_cli.supervisor.state import PlatformStatus, ProcessState, ProcessStatus, read_status, write_status
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.floats(0, 29), min_size=1, max_size=40))
def test_backoff_never_shrinks_and_is_bounded_while_a_process_is_unstable(runs: list[float]) -> None:
    backoff = Backoff()

    delays = [backoff.next_delay_s(ran_for_s=run) for run in runs]

    assert delays == sorted(delays)
    assert max(delays) <= backoff.longest_s


def test_backoff_starts_over_after_a_stable_run() -> None:
    backoff = Backoff(first_s=1)
    for _ in range(5):
        backoff.next_delay_s(ran_for_s=0)

    assert backoff.next_delay_s(ran_for_s=31) == 1


def test_log_is_cut_while_its_writer_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "memory-1.log"
    log = open_log(file)
    os.write(log, b"old\n" * 100)

    bound_logs(tmp_path, bound_bytes=200)
    os.write(log, b"new\n")
    os.close(log)

    assert file.read_text() == "new\n"
    assert file.with_suffix(".log.1").read_text() == "old\n" * 100


def test_small_log_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "memory-1.log"
    file.write_text("line\n")

    bound_logs(tmp_path, bound_bytes=200)

    assert [path.name for path in tmp_path.iterdir()] == ["memory-1.log"]
    assert file.read_text() == "line\n"


def test_tail_returns_the_last_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text("\n".join(str(number) for number in range(100)))

    assert tail(file, 3) == ["97", "98", "99"]


def test_tail_of_no_file_is_empty(tmp_path: Path) -> None:
    assert tail(tmp_path / "none.log", 3) == []


def test_shell_secrets_do_not_reach_services() -> None:
    shell = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x", "FLOTILLA_MODEL_API_KEY": "k", "GATEWAY_CORS_ORIGINS": "*"}

    assert base_environment(shell) == {"PATH": "/bin"}
    assert model_settings(shell) == {"FLOTILLA_MODEL_API_KEY": "k"}
    assert own_settings(shell, "GATEWAY") == {"GATEWAY_CORS_ORIGINS": "*"}


def platform_status(started_at: float) -> PlatformStatus:
    process = ProcessStatus("memory", 1, {"grpc": 20_001}, ProcessState.READY, pid=7, restarts=2)
    return PlatformStatus(os.getpid(), started_at, "http://127.0.0.1:8080", development_model=True, processes=[process])


def test_status_survives_its_file(tmp_path: Path) -> None:
    status = platform_status(psutil.Process().create_time())

    write_status(tmp_path / "state.json", status)

    assert read_status(tmp_path / "state.json") == status


def test_supervisor_is_known_by_number_and_start_time() -> None:
    mine = psutil.Process().create_time()

    assert platform_status(mine).supervisor_is_alive()
    assert not platform_status(mine - 3600).supervisor_is_alive()


def test_status_of_a_damaged_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"processes": 3}')

    assert read_status(tmp_path / "state.json") is None
