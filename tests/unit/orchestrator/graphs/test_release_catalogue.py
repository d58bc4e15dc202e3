"""Earlier releases, made again of what the store kept."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from fakes.agent_files import Thread, human, write_files
from fakes.scripted_run import Say, ScriptedRun
from flotilla_common.errors import NotFoundError
from flotilla_orchestrator.graphs.catalogue import AgentCatalogue
from flotilla_orchestrator.graphs.file_catalogue import FileCatalogue
from flotilla_orchestrator.graphs.release_catalogue import ReleaseCatalogue
from flotilla_orchestrator.stores.in_memory.release_store import InMemoryReleaseStore
from flotilla_orchestrator.stores.release_store import StoredRelease

AGENTS = Path(__file__).parents[4] / "agents"
ADA = "name: ada\ndescription: A test.\npattern: react\nprompt: p.md\nvariables: {mood: glad}\n"
SORTER = """
name: ada
description: A test.
pattern: pipeline
steps:
  - {name: kind, prompt: p.md, labels: {zebra: Striped., apple: Round.}}
  - {name: answer, prompt: p.md}
"""
GRAPH = """
from langgraph.graph import START, MessagesState, StateGraph

def speak(state):
    return {"messages": [("ai", "Hello.")]}

graph = StateGraph(MessagesState)
graph.add_node("speak", speak)
graph.add_edge(START, "speak")
"""


async def opened(folder: Path, files: Mapping[str, str], store: InMemoryReleaseStore) -> ReleaseCatalogue:
    catalogue = ReleaseCatalogue(FileCatalogue.load(write_files(folder, files)), store)
    await catalogue.record()
    return catalogue


async def test_earlier_release_speaks_with_its_own_prompt(tmp_path: Path) -> None:
    store = InMemoryReleaseStore()
    old = await (await opened(tmp_path / "old", {"a.yaml": ADA, "p.md": "Be {{mood}}."}, store)).resolve("ada")
    new: AgentCatalogue = await opened(tmp_path / "new", {"a.yaml": ADA, "p.md": "Be {{mood}} and brief."}, store)

    again = await new.resolve(f"ada@{old.hash[:12]}")
    run = ScriptedRun([Say("Hello.")])
    await Thread(new.graph(again)).run(run, human("Hi"))

    assert again == old
    assert (await new.resolve("ada")).hash != old.hash
    assert [release.hash for release in new.list_active()] == [(await new.resolve("ada")).hash]
    assert run.turns[0][1].messages[0]["content"] == "Be glad."


async def test_release_of_an_agent_that_is_gone_is_still_there(tmp_path: Path) -> None:
    store = InMemoryReleaseStore()
    old = await (await opened(tmp_path / "old", {"a.yaml": ADA, "p.md": "Hi."}, store)).resolve("ada")
    new = await opened(tmp_path / "new", {"b.yaml": ADA.replace("ada", "bea"), "p.md": "Hi."}, store)

    assert await new.resolve(f"ada@{old.hash}") == old
    with pytest.raises(NotFoundError):
        await new.resolve("ada")


async def test_labels_keep_their_order_and_make_the_release(tmp_path: Path) -> None:
    store = InMemoryReleaseStore()
    old = await (await opened(tmp_path / "old", {"a.yaml": SORTER, "p.md": "Hi."}, store)).resolve("ada")
    reordered = SORTER.replace("zebra: Striped., apple: Round.", "apple: Round., zebra: Striped.")
    new = await opened(tmp_path / "new", {"a.yaml": reordered, "p.md": "Hi."}, store)

    stored = await store.find("ada", old.hash)

    assert stored is not None
    assert stored.content.index("zebra") < stored.content.index("apple")
    assert (await new.resolve("ada")).hash != old.hash
    assert "kind" in new.graph(await new.resolve(f"ada@{old.hash}")).nodes


async def test_every_agent_in_the_box_is_made_again_as_it_is(tmp_path: Path) -> None:
    store, files = InMemoryReleaseStore(), FileCatalogue.load(AGENTS)
    await ReleaseCatalogue(files, store).record()
    other = await opened(tmp_path / "other", {"a.yaml": ADA, "p.md": "Hi."}, store)

    for release in files.list_active():
        again = await other.resolve(f"{release.agent}@{release.hash}")
        assert again == release
        assert set(other.graph(again).nodes) == set(files.graph(release).nodes)


async def test_graph_whose_module_is_gone_is_release_not_found(tmp_path: Path) -> None:
    store, spec = InMemoryReleaseStore(), "name: echo\ndescription: A test.\ngraph: gone_by_then:graph\n"
    old = await (await opened(tmp_path / "old", {"e.yaml": spec, "gone_by_then.py": GRAPH}, store)).resolve("echo")
    new = await opened(tmp_path / "new", {"a.yaml": ADA, "p.md": "Hi."}, store)
    assert "speak" in new.graph(await new.resolve(f"echo@{old.hash}")).nodes

    del sys.modules["gone_by_then"]
    (tmp_path / "old" / "gone_by_then.py").unlink()
    later = await opened(tmp_path / "later", {"a.yaml": ADA, "p.md": "Hi."}, store)

    with pytest.raises(NotFoundError, match="gone_by_then") as caught:
        await later.resolve(f"echo@{old.hash}")
    assert caught.value.reason == "release_not_found"


@pytest.mark.parametrize("name", ["eve", "ada@", "ada@1234567", "ada@00000000", "ada@%%%%%%%%", "", "ADA"])
async def test_what_nobody_knows_is_not_found(tmp_path: Path, name: str) -> None:
    catalogue = await opened(tmp_path / "files", {"a.yaml": ADA, "p.md": "Hi."}, InMemoryReleaseStore())

    with pytest.raises(NotFoundError):
        await catalogue.resolve(name)


@pytest.mark.parametrize("agent", ["a\x00b@deadbeef", "ada@dead", "ada@nothexadecimal", "Ada@deadbeef", "@deadbeef"])
async def test_what_names_no_release_is_not_looked_up(tmp_path: Path, agent: str) -> None:
    class Unasked(InMemoryReleaseStore):
        async def find(self, agent: str, hash_prefix: str) -> StoredRelease | None:
            raise AssertionError("nobody asks")

    catalogue = await opened(tmp_path, {"a.yaml": ADA, "p.md": "Be {{mood}}."}, Unasked())

    with pytest.raises(NotFoundError):
        await catalogue.resolve(agent)
