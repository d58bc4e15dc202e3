"""Lanes: the same rows and the same failures as by a cursor, and a connection that is never lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from fakes.servers import PostgresServer, ServiceDatabase
from flotilla_common import lane as lane_module
from flotilla_common.columns import Bigints, Blobs, Integers, Texts, Uuids
from flotilla_common.lane import Lane, fetch
from flotilla_common.postgres import NAMED_TENANT, Connection, Pool, open_pool

NAME = "lanes"
PID = "SELECT pg_backend_pid()"
SLEEP = "SELECT 1 FROM pg_sleep(%(seconds)s::float8)"
TABLE = """
CREATE TABLE memory.once (x int UNIQUE DEFERRABLE INITIALLY DEFERRED);
GRANT SELECT, INSERT ON memory.once TO flotilla_memory;
"""
NOW = datetime(2026, 11, 22, 1, 30, 0, 123456, UTC)
STATEMENTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "nothing given": ("SELECT 1, 'a', NULL, 2.5::float8", {}),
    "no rows": ("SELECT 1 WHERE false", {}),
    "not a query": ("SET application_name TO 'lanes'", {}),
    "a place twice": ("SELECT %(a)s::int + %(b)s::int, %(a)s::int", {"a": 1, "b": 2, "unused": object()}),
    "a percent sign": ("SELECT 7 %% %(a)s::int, 'x' LIKE '%%'", {"a": 4}),
    "scalars": (
        "SELECT %(u)s::uuid, %(t)s::text, %(n)s::text, %(at)s::timestamptz, %(yes)s::bool, %(x)s::bytea, %(j)s::jsonb",
        {"u": uuid4(), "t": "ä", "n": None, "at": NOW, "yes": True, "x": b"\0\1", "j": '{"a": [1]}'},
    ),
    "columns": (
        "SELECT * FROM unnest(%(u)b::uuid[], %(i)b::int[], %(b)b::bigint[], %(t)b::text[], %(x)b::bytea[])",
        {
            "u": Uuids([uuid4(), None]),
            "i": Integers([1, None]),
            "b": Bigints([2**40, None]),
            "t": Texts(["ä", None]),
            "x": Blobs([b"\0", None]),
        },
    ),
    "times": ("SELECT * FROM unnest(%(at)s::timestamptz[])", {"at": [NOW, NOW]}),
    "tenant": (f"SELECT {NAMED_TENANT}", {"tenant": uuid4()}),
}


@pytest.fixture(scope="module")
def url(database: Callable[[str], ServiceDatabase]) -> str:
    made = database("memory")
    with psycopg.connect(made.owner_url, autocommit=True) as connection:
        connection.execute(TABLE)
    return made.url


@pytest.fixture
async def pool(url: str) -> AsyncIterator[Pool]:
    async with open_pool(url, min_size=1, max_size=4, application_name=NAME) as opened:
        yield opened


@pytest.fixture
def lane(pool: Pool) -> Lane:
    return pool.lane()


@pytest.fixture
def sessions(postgres_server: PostgresServer) -> Iterator[Callable[[], list[tuple[int, str]]]]:
    """Process and statement of each connection that is open."""
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as watcher:
        yield lambda: watcher.execute(
            "SELECT pid, CASE WHEN state = 'active' THEN query ELSE '' END FROM pg_stat_activity"
            " WHERE application_name = %s ORDER BY pid",
            [NAME],
        ).fetchall()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what another process does has no event
            await asyncio.sleep(0.01)


async def backend(lane: Lane) -> int:
    """Returns the server's process behind a lane."""
    ((pid,),) = await lane.fetch(PID, {})
    return int(pid)


@pytest.mark.parametrize("name", STATEMENTS)
async def test_rows_are_those_of_a_cursor(pool: Pool, lane: Lane, name: str) -> None:
    statement, parameters = STATEMENTS[name]

    async with pool.connection() as connection:
        expected = await fetch(connection, statement, parameters)
    got = [await lane.fetch(statement, parameters) for _ in range(3)]

    assert got == [expected] * 3


async def prepared(lane: Lane) -> int:
    """Returns how many statements a lane's connection holds."""
    ((count,),) = await lane.fetch("SELECT count(*) FROM pg_prepared_statements", {})
    return int(count)


async def test_statements_keep_one_connection_and_are_prepared_once(lane: Lane) -> None:
    before = await prepared(lane)

    assert len({await backend(lane) for _ in range(20)}) == 1
    assert await prepared(lane) == before + 1


async def test_number_may_grow_beyond_its_type(lane: Lane) -> None:
    numbers = [1, 2**20, 2**40, 3]

    assert [await lane.fetch("SELECT %(n)s::bigint", {"n": number}) for number in numbers] == [[(n,)] for n in numbers]


async def test_large_values_and_rows_pass(lane: Lane) -> None:
    large = b"x" * 30_000_000

    ((length, echoed),) = await lane.fetch("SELECT length(%(x)s::bytea), %(x)s::bytea", {"x": large})

    assert (length, echoed == large) == (len(large), True)


async def test_statement_beside_another_goes_by_the_pool(lane: Lane) -> None:
    slow = asyncio.create_task(lane.fetch(SLEEP, {"seconds": 0.5}))
    await asyncio.sleep(0)
    beside = await asyncio.gather(*(lane.fetch("SELECT %(n)s::int", {"n": number}) for number in range(6)))

    assert beside == [[(number,)] for number in range(6)]
    assert not slow.done()
    assert await slow == [(1,)]


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT 1 / %(n)s::int", psycopg.errors.DivisionByZero),
        ("SELECT no_such_column", psycopg.errors.UndefinedColumn),
        ("SELEC %(n)s::int", psycopg.errors.SyntaxError),
    ],
)
async def test_failure_is_that_of_a_cursor_and_the_next_statement_works(
    pool: Pool, lane: Lane, statement: str, error: type[Exception]
) -> None:
    for _ in range(3):
        with pytest.raises(error):
            await lane.fetch(statement, {"n": 0})
        assert await lane.fetch("SELECT 1", {}) == [(1,)]

    assert pool.kept == 1


async def test_commit_that_fails_is_no_success(lane: Lane) -> None:
    """The server checks some constraints when a statement has given its rows."""
    with pytest.raises(psycopg.errors.UniqueViolation):
        await lane.fetch("INSERT INTO once VALUES (%(x)s), (%(x)s) RETURNING x", {"x": 1})

    assert await lane.fetch("SELECT x FROM once", {}) == []


async def test_refusals_leave_nothing_prepared_behind(lane: Lane) -> None:
    before = await prepared(lane)

    for _ in range(20):
        with pytest.raises(psycopg.errors.DivisionByZero):
            await lane.fetch("SELECT 1 / %(n)s::int", {"n": 0})

    assert await prepared(lane) == before + 1


async def test_copy_is_refused_without_harm(lane: Lane) -> None:
    with pytest.raises(psycopg.NotSupportedError):
        await lane.fetch("COPY (SELECT 1) TO STDOUT", {})

    assert await lane.fetch("SELECT 1", {}) == [(1,)]


async def test_wrong_parameters_fail_without_harm(lane: Lane) -> None:
    with pytest.raises(KeyError):
        await lane.fetch("SELECT %(n)s::int", {})
    with pytest.raises(psycopg.DataError):
        await lane.fetch("SELECT %(u)b::uuid[]", {"u": Uuids(["none"])})  # type: ignore[list-item]

    assert await lane.fetch("SELECT 1", {}) == [(1,)]


async def test_who_stops_waiting_stops_the_statement(
    pool: Pool, lane: Lane, sessions: Callable[[], list[tuple[int, str]]]
) -> None:
    waiting = asyncio.create_task(lane.fetch(SLEEP, {"seconds": 60}))
    await until(lambda: any("pg_sleep" in query for _, query in sessions()))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await until(lambda: not any("pg_sleep" in query for _, query in sessions()))
    assert await lane.fetch("SELECT 1", {}) == [(1,)]
    assert pool.kept == 1


async def test_cancel_is_heard_though_the_server_cannot_be_told(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("nobody is there")

    monkeypatch.setattr(psycopg.AsyncConnection, "cancel_safe", fail)
    waiting = asyncio.create_task(lane.fetch(SLEEP, {"seconds": 1}))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert waiting.cancelled()
    assert await lane.fetch("SELECT 1", {}) == [(1,)]


async def test_cancel_while_a_connection_goes_back_loses_none(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    is_going_back = asyncio.Event()
    put = Pool.putconn

    async def put_slowly(pool: Pool, connection: Connection) -> None:
        is_going_back.set()
        await asyncio.sleep(0.05)
        await put(pool, connection)

    monkeypatch.setattr(Pool, "putconn", put_slowly)
    monkeypatch.setattr(lane_module, "_KEPT_S", 0.0)
    async with open_pool(url, min_size=2, max_size=2, application_name=NAME) as pool:
        lane = pool.lane()
        await lane.fetch("SELECT 1", {})
        going = asyncio.create_task(lane.fetch("SELECT 1", {}))
        await is_going_back.wait()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

        async with asyncio.timeout(5), pool.connection(), pool.connection():
            assert pool.kept == 0


async def test_deadline_of_the_caller_ends_the_statement(lane: Lane) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await lane.fetch(SLEEP, {"seconds": 60})

    assert await lane.fetch("SELECT 1", {}) == [(1,)]


async def test_connection_that_was_closed_while_it_lay_idle_fails_nobody(
    pool: Pool, lane: Lane, postgres_server: PostgresServer, sessions: Callable[[], list[tuple[int, str]]]
) -> None:
    pid = await backend(lane)
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
        await until(lambda: pid not in [other for other, _ in sessions()])
    # The loop looks at its sockets.
    await asyncio.sleep(0.01)

    assert await backend(lane) != pid
    assert pool.kept == 1


async def test_connection_that_is_cut_under_a_statement_fails_it_and_not_the_next(
    lane: Lane, postgres_server: PostgresServer, sessions: Callable[[], list[tuple[int, str]]]
) -> None:
    pid = await backend(lane)
    cut = asyncio.create_task(lane.fetch(SLEEP, {"seconds": 60}))
    await until(lambda: any("pg_sleep" in query for other, query in sessions() if other == pid))
    with psycopg.connect(postgres_server.superuser_url, autocommit=True) as admin:
        admin.execute("SELECT pg_terminate_backend(%s)", [pid])
    with pytest.raises(psycopg.OperationalError):
        await cut

    assert await backend(lane) != pid


async def test_lanes_keep_at_most_half_of_the_pool(pool: Pool) -> None:
    lanes = [pool.lane() for _ in range(5)]

    await asyncio.gather(*(lane.fetch("SELECT 1", {}) for lane in lanes))
    async with asyncio.timeout(5), pool.connection(), pool.connection():
        kept = pool.kept

    assert kept == 2
    assert await asyncio.gather(*(lane.fetch("SELECT 1", {}) for lane in lanes)) == [[(1,)]] * 5


async def test_pool_of_one_keeps_none(url: str) -> None:
    async with open_pool(url, min_size=1, max_size=1, application_name=NAME) as pool:
        assert await pool.lane().fetch("SELECT 1", {}) == [(1,)]
        assert pool.kept == 0


async def test_connection_goes_back_after_a_while(
    pool: Pool, lane: Lane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    monkeypatch.setattr(lane_module, "_KEPT_S", 0.0)

    for number in range(5):
        assert await lane.fetch("SELECT %(n)s::int", {"n": number}) == [(number,)]

    assert pool.kept == 1
    assert caplog.records == []


async def test_pool_closes_what_its_lanes_keep(url: str, sessions: Callable[[], list[tuple[int, str]]]) -> None:
    async with open_pool(url, min_size=1, max_size=4, application_name=NAME) as pool:
        lanes = [pool.lane(), pool.lane()]
        for lane in lanes:
            await lane.fetch("SELECT 1", {})

    await until(lambda: sessions() == [])


async def test_pool_that_closes_under_a_statement_lets_it_end(
    url: str, sessions: Callable[[], list[tuple[int, str]]]
) -> None:
    async with open_pool(url, min_size=1, max_size=4, application_name=NAME) as pool:
        ending = asyncio.create_task(pool.lane().fetch(SLEEP, {"seconds": 0.3}))
        await until(lambda: any("pg_sleep" in query for _, query in sessions()))

    assert await ending == [(1,)]
    await until(lambda: sessions() == [])
