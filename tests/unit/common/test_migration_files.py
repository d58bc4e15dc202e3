import sys
from pathlib import Path

import pytest
from flotilla_common.migrations import MigrationError, latest_version, read_migrations


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "some_package"
    (folder / "migrations").mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "some_package", raising=False)
    return folder / "migrations"


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("SELECT 1")


def test_migrations_are_read_in_order(package: Path) -> None:
    write(package, "0002_more.sql", "0001_first.sql")

    assert [migration.name for migration in read_migrations("some_package")] == ["0001_first.sql", "0002_more.sql"]
    assert latest_version("some_package") == 2


def test_checksum_changes_with_the_text(package: Path) -> None:
    write(package, "0001_first.sql")
    (before,) = read_migrations("some_package")
    (package / "0001_first.sql").write_text("SELECT 2")

    (after,) = read_migrations("some_package")

    assert before.checksum != after.checksum


@pytest.mark.parametrize(
    "names",
    [["0002_second.sql"], ["0001_a.sql", "0003_c.sql"], ["0001_a.sql", "0001_b.sql"], ["1_a.sql"], ["0001-a.sql"]],
)
def test_name_or_number_that_does_not_fit_is_refused(package: Path, names: list[str]) -> None:
    write(package, *names)

    with pytest.raises(MigrationError):
        read_migrations("some_package")
