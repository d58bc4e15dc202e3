import asyncio
import time
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from flotilla_common.errors import UnauthenticatedError
from flotilla_common.identity import Identity
from flotilla_common.request import (
    RequestContext,
    acting_as,
    current_identity,
    current_request,
    current_request_or_none,
    enter_request,
)

ANNA = Identity(uuid4(), uuid4())
BEN = Identity(uuid4(), uuid4())


def test_current_request_outside_of_one_is_unauthenticated() -> None:
    with pytest.raises(UnauthenticatedError):
        current_request()

    assert current_request_or_none() is None


def test_acting_as_is_over_behind_the_block() -> None:
    with acting_as(ANNA):
        with acting_as(BEN):
            assert current_identity() == BEN

        assert current_identity() == ANNA

    assert current_request_or_none() is None


def test_acting_as_inherits_the_request_id_but_no_deadline_and_no_key() -> None:
    with acting_as(ANNA, request_id="r-1", idempotency_key="k", deadline=1.0), acting_as(BEN) as inner:
        assert inner == RequestContext(BEN, "r-1")


def test_remaining_never_falls_below_zero() -> None:
    assert RequestContext(ANNA, "r", deadline=time.monotonic() - 5).remaining_s() == 0
    assert RequestContext(ANNA, "r").remaining_s() is None


async def test_tasks_do_not_see_each_others_requests() -> None:
    async def serve(identity: Identity) -> Identity:
        enter_request(RequestContext(identity, "r"))
        await asyncio.sleep(0)
        return current_identity()

    assert await asyncio.gather(*(serve(identity) for identity in (ANNA, BEN))) == [ANNA, BEN]


async def test_acting_as_in_a_generator_survives_being_closed_from_another_context() -> None:
    async def numbers() -> AsyncIterator[int]:
        with acting_as(ANNA):
            yield 1

    async def start(generator: AsyncIterator[int]) -> int:
        return await anext(generator)

    generator = numbers()

    assert await asyncio.create_task(start(generator)) == 1
    await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined] # an async generator has it
