"""Says what in the contracts would break callers built from another revision: by default those of the main branch."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from io import BytesIO
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
)
from grpc_tools import protoc  # type: ignore[import-untyped] # it has no stubs

ROOT = Path(__file__).resolve().parent
GOOGLE = str(files("grpc_tools") / "_proto")
BASES = ("origin/main", "main")


@dataclass
class Contracts:
    """Every message, enum and RPC by its full name."""

    messages: dict[str, DescriptorProto] = field(default_factory=dict)
    enums: dict[str, EnumDescriptorProto] = field(default_factory=dict)
    rpcs: dict[str, MethodDescriptorProto] = field(default_factory=dict)


def read(folder: Path) -> Contracts:
    """Compiles the contracts below a folder; exits if they do not compile."""
    sources = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.proto"))
    if not sources:
        return Contracts()
    with tempfile.NamedTemporaryFile() as output:
        flags = [f"-I{folder}", f"-I{GOOGLE}", f"--descriptor_set_out={output.name}"]
        if protoc.main(["protoc", *flags, *sources]) != 0:
            sys.exit("protoc failed")
        return collect(FileDescriptorSet.FromString(Path(output.name).read_bytes()))


def collect(descriptors: FileDescriptorSet) -> Contracts:
    """Returns the contents of a descriptor set by full name."""
    contracts = Contracts()
    for file in descriptors.file:
        _collect_types(contracts, file.package, file.message_type, file.enum_type)
        for service in file.service:
            for method in service.method:
                contracts.rpcs[f"{file.package}.{service.name}.{method.name}"] = method
    return contracts


def _collect_types(
    contracts: Contracts,
    scope: str,
    messages: Iterable[DescriptorProto],
    enums: Iterable[EnumDescriptorProto],
) -> None:
    contracts.enums |= {f"{scope}.{enum.name}": enum for enum in enums}
    for message in messages:
        name = f"{scope}.{message.name}"
        contracts.messages[name] = message
        _collect_types(contracts, name, message.nested_type, message.enum_type)


def breaks(old: Contracts, new: Contracts) -> list[str]:
    """Returns one line for each change that a caller of the old contracts would feel."""
    lines = [f"message {name} was removed" for name in old.messages.keys() - new.messages.keys()]
    lines += [f"enum {name} was removed" for name in old.enums.keys() - new.enums.keys()]
    lines += [f"rpc {name} was removed" for name in old.rpcs.keys() - new.rpcs.keys()]
    for name in old.messages.keys() & new.messages.keys():
        lines += _message_breaks(name, old.messages[name], new.messages[name])
    for name in old.enums.keys() & new.enums.keys():
        lines += _enum_breaks(name, old.enums[name], new.enums[name])
    for name in old.rpcs.keys() & new.rpcs.keys():
        lines += _rpc_breaks(name, old.rpcs[name], new.rpcs[name])
    return sorted(lines)


def _message_breaks(message: str, old: DescriptorProto, new: DescriptorProto) -> Iterator[str]:
    by_number = {item.number: item for item in new.field}
    by_name = {item.name: item for item in new.field}
    for before in old.field:
        name = f"field {message}.{before.name}"
        after = by_name.get(before.name)
        reused = by_number.get(before.number)
        if after is not None and after.number != before.number:
            yield f"{name} was renumbered from {before.number} to {after.number}"
        elif after is not None and _kind(before, old) != _kind(after, new):
            yield f"{name} was retyped from {_kind(before, old)} to {_kind(after, new)}"
        elif after is None and reused is not None:
            yield f"{name} was removed or renamed: number {before.number} is now {reused.name}"
        elif after is None:
            yield f"{name} (number {before.number}) was removed"


def _enum_breaks(enum: str, old: EnumDescriptorProto, new: EnumDescriptorProto) -> Iterator[str]:
    numbers = {value.name: value.number for value in new.value}
    for value in old.value:
        if value.name not in numbers:
            yield f"enum value {enum}.{value.name} was removed"
        elif numbers[value.name] != value.number:
            yield f"enum value {enum}.{value.name} was renumbered from {value.number} to {numbers[value.name]}"


def _rpc_breaks(rpc: str, old: MethodDescriptorProto, new: MethodDescriptorProto) -> Iterator[str]:
    if old.input_type != new.input_type:
        yield f"rpc {rpc} takes {new.input_type[1:]} instead of {old.input_type[1:]}"
    if old.output_type != new.output_type:
        yield f"rpc {rpc} returns {new.output_type[1:]} instead of {old.output_type[1:]}"
    for side, before, after in (
        ("requests", old.client_streaming, new.client_streaming),
        ("responses", old.server_streaming, new.server_streaming),
    ):
        if before != after:
            yield f"rpc {rpc} {'streams' if after else 'no longer streams'} its {side}"


def _kind(item: FieldDescriptorProto, message: DescriptorProto) -> str:
    repeated = "repeated " if item.label == FieldDescriptorProto.LABEL_REPEATED else ""
    name = item.type_name[1:] or FieldDescriptorProto.Type.Name(item.type).removeprefix("TYPE_").lower()
    # Presence and membership of a oneof change what an unset field means.
    if item.proto3_optional:
        return f"optional {name}"
    if item.HasField("oneof_index"):
        return f"{name} in oneof {message.oneof_decl[item.oneof_index].name}"
    return f"{repeated}{name}"


def base_revision(repository: Path, wanted: str | None) -> str | None:
    """Returns the revision to compare with; None if the main branch is not here. Exits if a wanted one is not."""
    for revision in [wanted] if wanted else BASES:
        if _git(repository, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}") is not None:
            return revision
    if wanted:
        sys.exit(f"there is no revision {wanted}")
    return None


def read_revision(repository: Path, revision: str) -> Contracts:
    """Compiles the contracts as a revision has them; none if it has no folder of contracts."""
    archive = _git(repository, "archive", "--format=tar", revision, "protos")
    if archive is None:
        return Contracts()
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(archive)) as tar:
            # Python 3.11.2, Debian's, has no filters yet; the recipe is tarfile's own.
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
            tar.extractall(folder)  # noqa: S202 - git made this archive from our own tree
        return read(Path(folder) / "protos")


def _git(repository: Path, *arguments: str) -> bytes | None:
    command = ["git", "-C", str(repository), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own arguments
    except FileNotFoundError:
        # Without git there is nothing to compare with either.
        return None
    return done.stdout if done.returncode == 0 else None


def main(repository: Path = ROOT.parent, arguments: list[str] | None = None) -> None:
    """Compares, prints, and exits with status 1 if something breaks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", metavar="REF", help="compare with this revision instead of the main branch")
    revision = base_revision(repository, parser.parse_args(arguments).against)
    if revision is None:
        sys.stdout.write("contracts: no main branch here to compare with, nothing checked\n")
        return
    found = breaks(read_revision(repository, revision), read(repository / "protos"))
    sys.stdout.writelines(f"{line}\n" for line in found)
    if found:
        sys.exit(f"contracts: {len(found)} changes break callers built from {revision}")
    sys.stdout.write(f"contracts: nothing breaks callers built from {revision}\n")


if __name__ == "__main__":
    main()
