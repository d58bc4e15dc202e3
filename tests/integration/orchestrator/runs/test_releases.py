"""Runs and the release they began with, on processes whose files say something else by then."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from fakes.model_script import ScriptedModel, always
from fakes.run_engine import AGENTS, asked, engine_rig, is_dense, kinds, read_all, read_run, until
from fakes.run_stores import Stores, stores_on_postgres
from flotilla.orchestrator.v1 import run_pb2
from flotilla_common.errors import UnavailableError
from flotilla_common.postgres import Pool
from flotilla_orchestrator.model import RunStatus

LONG = "one two three four five six seven eight nine ten"
LEASE = timedelta(seconds=7)
NEXT = {**AGENTS, "prompts/be-kind.md": "You are strict."}


@pytest.fixture
def stores(pool: Pool) -> Stores:
    return stores_on_postgres(pool)


async def test_run_finishes_on_its_release_where_the_files_are_newer(stores: Stores, tmp_path: Path) -> None:
    holding, going = ScriptedModel(always(LONG, hold_after=4)), ScriptedModel(always(LONG))
    async with engine_rig(stores, tmp_path / "next", going, agents=NEXT) as newer, AsyncExitStack() as crash:
        older = await crash.enter_async_context(engine_rig(stores, tmp_path / "first", holding))
        new = asked(older, "Count")
        await older.start(new)
        await asyncio.wait_for(holding.holding.wait(), 20)
        await crash.aclose()
        await stores.time.pass_by(LEASE)

        log = await read_all(newer.engine.watch(await read_run(stores, new)))
        after = asked(newer, "And now?")
        await newer.answer(after)

    assert is_dense(log)
    assert "reply_restarted" not in kinds(log)
    assert log[-1].done.answer.content == LONG
    assert [request.messages[0]["content"] for request in going.requests] == ["You are kind.", "You are strict."]
    assert (await read_run(stores, new)).release == new.release != after.release


async def test_run_of_a_release_that_nobody_kept_fails_by_name(stores: Stores, pool: Pool, tmp_path: Path) -> None:
    async with engine_rig(stores, tmp_path, ScriptedModel(always(LONG))) as rig:
        new = asked(rig, "Count")
        await stores.runs.accept([new], owner=new.run_id)
        async with pool.connection() as connection:
            await connection.execute("UPDATE runs SET release = %s WHERE run_id = %s", ["0" * 64, new.run_id])
        await stores.time.pass_by(LEASE)

        log = await read_all(rig.engine.watch(await read_run(stores, new)))

    assert log[-1].failed.status == run_pb2.RUN_STATUS_FAILED
    assert log[-1].failed.error.reason == "release_not_found"


async def test_run_waits_while_its_release_cannot_be_read(
    stores: Stores, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with engine_rig(stores, tmp_path / "first", ScriptedModel(always(LONG, hold_after=4))) as older:
        new = asked(older, "Count")
        await older.start(new)
        await asyncio.wait_for(older.model.holding.wait(), 20)
    asked_for: list[str] = []

    async def away(agent: str, hash_prefix: str) -> None:
        asked_for.append(hash_prefix)
        raise UnavailableError("away")

    async with engine_rig(stores, tmp_path / "next", ScriptedModel(always(LONG)), agents=NEXT) as newer:
        with monkeypatch.context() as patched:
            patched.setattr(type(stores.releases), "find", staticmethod(away))
            await stores.time.pass_by(LEASE)
            await until(lambda: bool(asked_for))
        await stores.time.pass_by(LEASE)
        log = await read_all(newer.engine.watch(await read_run(stores, new)))

    assert log[-1].done.answer.content == LONG
    assert (await read_run(stores, new)).status is RunStatus.SUCCEEDED
