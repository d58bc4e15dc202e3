"""The folder of an installation."""

import socket
import stat
from pathlib import Path

import pytest
from flotilla_cli.embedded.ports import LOOPBACK
from flotilla_cli.failure import CommandError
from flotilla_cli.home import Home, write_private


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_prepare_makes_private_folders(home: Home) -> None:
    assert {permissions(folder) for folder in (home.path, home.logs, home.secrets)} == {0o700}


def test_prepare_leaves_an_existing_folder_and_its_parent_as_they_are(tmp_path: Path) -> None:
    tmp_path.chmod(0o711)
    existing = tmp_path / "mine"
    existing.mkdir()
    existing.chmod(0o750)

    Home(existing).prepare()

    assert (permissions(tmp_path), permissions(existing)) == (0o711, 0o750)


def test_secret_is_made_once_and_private(home: Home) -> None:
    first = home.secret("pepper")

    assert home.secret("pepper") == first
    assert len(first) == 64
    assert permissions(home.secrets / "pepper") == 0o600


def test_write_private_tightens_a_file_that_was_open_to_all(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("old")
    file.chmod(0o644)

    write_private(file, "new")

    assert (file.read_text(), permissions(file)) == ("new", 0o600)


def test_second_up_on_one_home_is_refused_naming_the_first(home: Home) -> None:
    with home.locked(), pytest.raises(CommandError, match=r"already runs .* \(pid \d+\)"), home.locked():
        pass


def test_lock_is_free_again_after_use(home: Home) -> None:
    with home.locked():
        pass
    with home.locked():
        pass


def test_chosen_port_is_given_to_nobody_else(home: Home) -> None:
    before = home.ports()
    chosen = before.port("memory-1.grpc")
    before.save()

    after = home.ports()
    after.reserve([chosen])

    assert after.port("memory-1.grpc") != chosen


def test_ports_stay_the_same(home: Home) -> None:
    book = home.ports()
    first = book.port("memory-1.grpc")
    book.save()

    assert home.ports().port("memory-1.grpc") == first


def test_a_remembered_port_that_is_taken_is_replaced(home: Home) -> None:
    book = home.ports()
    port = book.port("memory-1.grpc")
    book.save()
    with socket.socket() as taker:
        taker.bind((LOOPBACK, port))
        taker.listen()

        assert home.ports().port("memory-1.grpc") != port


def test_two_names_never_share_a_port(home: Home) -> None:
    book = home.ports()

    assert len({book.port(f"p-{number}") for number in range(50)}) == 50


def test_a_damaged_port_book_is_an_empty_one(home: Home) -> None:
    (home.path / "ports.json").write_text("[1, 2")

    assert home.ports().port("memory-1.grpc")


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CommandError, match="file"):
        Home(tmp_path / "file" / "home").prepare()
