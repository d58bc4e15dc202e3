"""Generates libs/protos from the contracts, or with --check says what has drifted."""

from __future__ import annotations

import filecmp
import shutil
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent
TARGET = ROOT.parent / "libs" / "protos"
BIN = Path(sys.executable).parent
GOOGLE = str(files("grpc_tools") / "_proto")


def generate(target: Path) -> None:
    """Writes the Python code and type stubs of every contract below `target`."""
    contracts = sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto"))
    outputs = [f"--{kind}_out={target}" for kind in ("python", "grpc_python")]
    outputs += [f"--{kind}_out=quiet:{target}" for kind in ("mypy", "mypy_grpc")]
    plugins = [f"--plugin=protoc-gen-{kind}={BIN / f'protoc-gen-{kind}'}" for kind in ("mypy", "mypy_grpc")]
    if protoc.main(["protoc", f"-I{ROOT}", f"-I{GOOGLE}", *plugins, *outputs, *contracts]) != 0:
        sys.exit("protoc failed")
    (target / "flotilla" / "py.typed").touch()


def drift(generated: Path, committed: Path) -> list[str]:
    """Returns the files that differ, are missing or are too many, relative to the package."""
    new = {path.relative_to(generated) for path in generated.rglob("*") if path.is_file()}
    old = {path.relative_to(committed) for path in committed.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    changed = {path for path in new & old if not filecmp.cmp(generated / path, committed / path, shallow=False)}
    return sorted(str(path) for path in (new ^ old) | changed)


def main() -> None:
    """Regenerates, or compares."""
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        generated, committed = Path(folder) / "flotilla", TARGET / "flotilla"
        if "--check" in sys.argv:
            drifted = drift(generated, committed)
            sys.exit(f"generated code has drifted, run `make protos`: {', '.join(drifted)}" if drifted else 0)
        shutil.rmtree(committed, ignore_errors=True)
        shutil.copytree(generated, committed)


if __name__ == "__main__":
    main()
