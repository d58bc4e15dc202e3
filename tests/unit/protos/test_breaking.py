"""The comparison of contracts, on contracts that protoc really compiles."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).resolve().parents[3] / "protos" / "breaking.py"
BASE = """syntax = "proto3";
package t.v1;
service Things {
  rpc GetThing(GetThingRequest) returns (Thing);
  rpc WatchThing(GetThingRequest) returns (stream Thing);
}
message GetThingRequest { string id = 1; }
message Thing {
  string name = 1;
  int32 size = 2;
  repeated string tags = 3;
  Color color = 4;
  optional string note = 5;
  message Part { string label = 1; }
}
enum Color { COLOR_UNSPECIFIED = 0; COLOR_RED = 1; }
"""


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("breaking", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up by name.
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "breaking", module)
        spec.loader.exec_module(module)
    return module


breaking = load()


def compare(folder: Path, new: str) -> list[str]:
    for name, text in (("old", BASE), ("new", new)):
        (folder / name).mkdir()
        (folder / name / "things.proto").write_text(text)
    found: list[str] = breaking.breaks(breaking.read(folder / "old"), breaking.read(folder / "new"))
    return found


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("  int32 size = 2;\n", "", "field t.v1.Thing.size (number 2) was removed"),
        ("int32 size = 2;", "reserved 2;", "field t.v1.Thing.size (number 2) was removed"),
        ("int32 size = 2;", "int32 size = 9;", "field t.v1.Thing.size was renumbered from 2 to 9"),
        ("int32 size = 2;", "int64 size = 2;", "field t.v1.Thing.size was retyped from int32 to int64"),
        (
            "int32 size = 2;",
            "int32 length = 2;",
            "field t.v1.Thing.size was removed or renamed: number 2 is now length",
        ),
        ("repeated string tags", "string tags", "field t.v1.Thing.tags was retyped from repeated string to string"),
        ("Color color = 4;", "string color = 4;", "field t.v1.Thing.color was retyped from t.v1.Color to string"),
        ("optional string note", "string note", "field t.v1.Thing.note was retyped from optional string to string"),
        (
            "string name = 1;\n",
            "oneof what { string name = 1; }\n",
            "field t.v1.Thing.name was retyped from string to string in oneof what",
        ),
        ("  message Part { string label = 1; }\n", "", "message t.v1.Thing.Part was removed"),
        (" COLOR_RED = 1;", "", "enum value t.v1.Color.COLOR_RED was removed"),
        ("COLOR_RED = 1;", "COLOR_RED = 2;", "enum value t.v1.Color.COLOR_RED was renumbered from 1 to 2"),
        ("  rpc GetThing(GetThingRequest) returns (Thing);\n", "", "rpc t.v1.Things.GetThing was removed"),
        (
            "GetThing(GetThingRequest) returns (Thing)",
            "GetThing(GetThingRequest) returns (stream Thing)",
            "rpc t.v1.Things.GetThing streams its responses",
        ),
        ("returns (stream Thing)", "returns (Thing)", "rpc t.v1.Things.WatchThing no longer streams its responses"),
        (
            "GetThing(GetThingRequest)",
            "GetThing(stream GetThingRequest)",
            "rpc t.v1.Things.GetThing streams its requests",
        ),
        (
            "GetThing(GetThingRequest)",
            "GetThing(Thing)",
            "rpc t.v1.Things.GetThing takes t.v1.Thing instead of t.v1.GetThingRequest",
        ),
        (
            "WatchThing(GetThingRequest) returns (stream Thing)",
            "WatchThing(GetThingRequest) returns (stream GetThingRequest)",
            "rpc t.v1.Things.WatchThing returns t.v1.GetThingRequest instead of t.v1.Thing",
        ),
    ],
)
def test_breaks_names_the_change(tmp_path: Path, before: str, after: str, expected: str) -> None:
    assert before in BASE

    assert compare(tmp_path, BASE.replace(before, after, 1)) == [expected]


def test_breaks_of_removed_enum_names_it_and_the_field_that_used_it(tmp_path: Path) -> None:
    new = BASE.replace("enum Color { COLOR_UNSPECIFIED = 0; COLOR_RED = 1; }\n", "").replace("  Color color = 4;\n", "")

    assert compare(tmp_path, new) == ["enum t.v1.Color was removed", "field t.v1.Thing.color (number 4) was removed"]


def test_breaks_allows_what_is_only_added(tmp_path: Path) -> None:
    new = BASE.replace("int32 size = 2;", "int32 size = 2;\n  bytes more = 6;")
    new = new.replace("COLOR_RED = 1;", "COLOR_RED = 1; COLOR_BLUE = 2;")
    new = new.replace("service Things {", "service Things {\n  rpc AddThing(Thing) returns (Thing);")

    assert compare(tmp_path, new + "message Other {}\n") == []


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "protos").mkdir()
    (tmp_path / "protos" / "things.proto").write_text(BASE)
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "base"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)
    return tmp_path


def test_main_refuses_what_breaks_the_main_branch(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = repository / "protos" / "things.proto"
    file.write_text(BASE.replace("int32 size = 2;", ""))

    with pytest.raises(SystemExit, match="1 changes break callers built from main"):
        breaking.main(repository, [])

    assert "field t.v1.Thing.size (number 2) was removed" in capsys.readouterr().out


def test_main_passes_when_nothing_changed(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    breaking.main(repository, ["--against", "HEAD"])

    assert "nothing breaks callers built from HEAD" in capsys.readouterr().out


def test_main_prefers_the_remote_main_branch(repository: Path) -> None:
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "HEAD"], cwd=repository, check=True)

    assert breaking.base_revision(repository, None) == "origin/main"


def test_main_says_so_when_there_is_no_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    breaking.main(tmp_path, [])

    assert "no main branch here" in capsys.readouterr().out


def test_main_refuses_an_unknown_revision(repository: Path) -> None:
    with pytest.raises(SystemExit, match="there is no revision nope"):
        breaking.main(repository, ["--against", "nope"])
