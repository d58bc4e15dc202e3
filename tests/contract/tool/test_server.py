"""flotilla.tool.v1 on a real server with a real ledger."""

from __future__ import annotations

import asyncio
from typing import TypeAlias
from uuid import UUID, uuid4

import grpc
import orjson
import pytest
from contract.leaf_service import code_of, person
from contract.tool.conftest import RESULT_CAP_BYTES, Bank
from flotilla.tool.v1 import tool_service_pb2 as pb
from flotilla.tool.v1 import tool_service_pb2_grpc as pb_grpc
from flotilla_common.identity import Identity
from flotilla_common.postgres import Pool, tenant_transaction
from flotilla_common.request import acting_as
from flotilla_tool.service import ToolService

Tool: TypeAlias = "pb_grpc.ToolServiceAsyncStub"
ALL = ("calculator", "clock", "transfer", "save", "nothing")


def call(name: str, key: str | None = None, **arguments: object) -> pb.Invocation:
    return pb.Invocation(
        tool_call_id=f"call-{key or name}",
        name=name,
        arguments_json=orjson.dumps(arguments),
        idempotency_key=key or uuid4().hex,
    )


def batch(*calls: pb.Invocation, allowed: tuple[str, ...] = ALL, run_id: UUID | None = None) -> pb.InvokeBatchRequest:
    return pb.InvokeBatchRequest(invocations=calls, allowed_tools=allowed, run_id=str(run_id or uuid4()))


async def results(tool: Tool, *calls: pb.Invocation) -> list[pb.InvocationResult]:
    return list((await tool.InvokeBatch(batch(*calls))).results)


async def test_list_tools_is_ordered_by_name(tool: Tool) -> None:
    with acting_as(person()):
        listed = await tool.ListTools(pb.ListToolsRequest())

    assert [found.definition.name for found in listed.tools] == ["calculator", "clock", "save", "transfer"]
    calculator = listed.tools[0]
    assert (calculator.idempotent, calculator.read_only) == (True, True)
    assert calculator.timeout.ToTimedelta().total_seconds() == 2
    assert orjson.loads(calculator.definition.parameters_json)["required"] == ["expression"]


async def test_list_tools_by_name_leaves_unknown_out(tool: Tool) -> None:
    with acting_as(person()):
        listed = await tool.ListTools(pb.ListToolsRequest(names=["nothing", "clock"]))

    assert [found.definition.name for found in listed.tools] == ["clock"]


async def test_batch_returns_results_in_the_order_of_its_calls(tool: Tool, bank: Bank) -> None:
    calls = [call("transfer", "t", to="Ada"), call("calculator", expression="17 % of 2,349"), call("clock")]
    with acting_as(person()):
        answered = await results(tool, *calls)

    assert [result.tool_call_id for result in answered] == [call.tool_call_id for call in calls]
    assert {result.outcome for result in answered} == {pb.INVOCATION_OUTCOME_SUCCEEDED}
    assert answered[0].content == "sent to Ada"
    assert answered[1].content == "399.33"
    assert "UTC" in answered[2].content
    assert bank.transfers == ["t"]


async def test_calls_of_a_batch_run_concurrently(tool: Tool, bank: Bank) -> None:
    first, second = call("transfer", to="Ada", how="waits"), call("save", to="Ada")
    with acting_as(person()):
        running = asyncio.ensure_future(results(tool, first, second))
        await bank.started.wait()
        bank.may_end.set()
        answered = await running

    assert [result.outcome for result in answered] == [pb.INVOCATION_OUTCOME_SUCCEEDED] * 2


@pytest.mark.parametrize("name", ["calculator", "transfer", "save"])
async def test_repeated_key_replays_the_result(tool: Tool, bank: Bank, savings: Bank, name: str) -> None:
    again = call(name, expression="1+1") if name == "calculator" else call(name, to="Ada")
    with acting_as(person()):
        (first,) = await results(tool, again)
        (second,) = await results(tool, again)

    assert (first.replayed, second.replayed) == (False, True)
    assert second.content == first.content
    assert first.duration.ToNanoseconds() > 0
    assert second.duration.ToNanoseconds() == 0
    assert len(bank.transfers) + len(savings.transfers) == (0 if name == "calculator" else 1)


async def test_same_arguments_written_otherwise_are_the_same_call(tool: Tool, bank: Bank) -> None:
    first, second = call("transfer", "k", to="Ada", how="well"), call("transfer", "k")
    second.arguments_json = b'{"how" : "well", "to": "Ada"}'
    with acting_as(person()):
        await results(tool, first)
        (replayed,) = await results(tool, second)

    assert replayed.replayed
    assert bank.transfers == ["k"]


@pytest.mark.parametrize("name", ["calculator", "transfer", "save"])
async def test_key_used_with_other_arguments_is_invalid(tool: Tool, bank: Bank, name: str) -> None:
    first, second = call(name, "k", to="Ada", expression="1"), call(name, "k", to="Bob", expression="2")
    if name == "calculator":
        first, second = call(name, "k", expression="1"), call(name, "k", expression="2")
    with acting_as(person()):
        await results(tool, first)
        code = await code_of(results(tool, call("transfer", "other", to="Eve"), second))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "other" not in bank.transfers


@pytest.mark.parametrize(
    "request_",
    [
        batch(),
        batch(*(call("clock") for _ in range(65))),
        batch(call("clock", "k"), call("clock", "k")),
        batch(call("clock", "k" * 129)),
        batch(pb.Invocation(name="clock", arguments_json=b"{}")),
        pb.InvokeBatchRequest(invocations=[call("clock")], allowed_tools=ALL, run_id="7"),
        pb.InvokeBatchRequest(invocations=[call("clock")], allowed_tools=ALL),
    ],
    ids=["none", "65", "repeated key", "long key", "no key", "run", "no run"],
)
async def test_malformed_batch_is_invalid(tool: Tool, request_: pb.InvokeBatchRequest) -> None:
    with acting_as(person()):
        assert await code_of(tool.InvokeBatch(request_)) is grpc.StatusCode.INVALID_ARGUMENT


async def test_batch_of_64_is_served(tool: Tool) -> None:
    with acting_as(person()):
        answered = await results(tool, *(call("calculator", expression=f"{n} * 2") for n in range(64)))

    assert [result.content for result in answered] == [str(n * 2) for n in range(64)]


async def test_batch_of_another_run_than_the_identitys_is_invalid(tool: Tool) -> None:
    run_id = uuid4()
    with acting_as(Identity(uuid4(), uuid4(), run_id=run_id)):
        code = await code_of(tool.InvokeBatch(batch(call("clock"))))
        answered = await tool.InvokeBatch(batch(call("clock"), run_id=run_id))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert answered.results[0].outcome == pb.INVOCATION_OUTCOME_SUCCEEDED


@pytest.mark.parametrize(
    ("allowed", "name", "reason"),
    [(("clock",), "transfer", "not_permitted"), ((), "transfer", "not_permitted"), (ALL, "nothing", "unknown_tool")],
)
async def test_call_that_policy_forbids_is_refused(
    tool: Tool, bank: Bank, allowed: tuple[str, ...], name: str, reason: str
) -> None:
    with acting_as(person()):
        response = await tool.InvokeBatch(batch(call(name, to="Ada"), call("clock"), allowed=allowed))

    refused = response.results[0]
    assert (refused.outcome, refused.reason) == (pb.INVOCATION_OUTCOME_REFUSED, reason)
    assert bank.transfers == []


@pytest.mark.parametrize(
    ("arguments_json", "says"),
    [
        (b'{"expression": 5}', "expression: 5 is not of type 'string'"),
        (b"{}", "'expression' is a required property"),
        (b'{"expression": "1", "more": 1}', "Additional properties"),
        (b"[1]", "not a JSON object"),
        (b"{", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
    ],
)
async def test_wrong_arguments_fail_with_a_sentence_for_the_model(tool: Tool, arguments_json: bytes, says: str) -> None:
    wrong = call("calculator")
    wrong.arguments_json = arguments_json
    with acting_as(person()):
        (result,) = await results(tool, wrong)

    assert (result.outcome, result.reason) == (pb.INVOCATION_OUTCOME_FAILED, "invalid_arguments")
    assert says in result.content


async def test_tool_that_says_no_has_failed_and_is_not_asked_again(tool: Tool, bank: Bank) -> None:
    declined = call("transfer", to="Ada", how="declined")
    with acting_as(person()):
        (first,) = await results(tool, declined)
        (second,) = await results(tool, declined)

    assert (first.outcome, first.reason) == (pb.INVOCATION_OUTCOME_FAILED, "declined")
    assert first.content == "The account is closed."
    assert second.replayed


@pytest.mark.parametrize(("how", "reason"), [("crashes", "tool_crashed"), ("hangs", "timeout")])
async def test_tool_that_breaks_after_its_effect_is_unknown_and_never_repeated(
    tool: Tool, bank: Bank, how: str, reason: str
) -> None:
    broken = call("transfer", "k", to="Ada", how=how)
    bank.timeout_s = 0.2
    with acting_as(person()):
        (first, beside) = await results(tool, broken, call("clock"))
        (second,) = await results(tool, broken)

    assert (first.outcome, first.reason) == (pb.INVOCATION_OUTCOME_UNKNOWN, reason)
    assert beside.outcome == pb.INVOCATION_OUTCOME_SUCCEEDED
    assert second.outcome == pb.INVOCATION_OUTCOME_UNKNOWN
    assert bank.transfers == ["k"]
    assert "after the effect" not in first.content


async def test_log_of_a_crash_says_where_and_never_what(tool: Tool, caplog: pytest.LogCaptureFixture) -> None:
    with acting_as(person()):
        await results(tool, call("transfer", "k", to="Ada", how="crashes"))

    (record,) = [record for record in caplog.records if record.message == "tool crashed"]
    fields = vars(record)
    assert (fields["tool"], fields["error"]) == ("transfer", "RuntimeError")
    assert fields["frames"][-1].endswith(" invoke")
    assert record.exc_info is None
    assert "after the effect" not in str(fields)


async def test_idempotent_tool_that_hangs_has_failed(tool: Tool, savings: Bank) -> None:
    savings.timeout_s = 0.2
    with acting_as(person()):
        (result,) = await results(tool, call("save", to="Ada", how="hangs"))

    assert (result.outcome, result.reason) == (pb.INVOCATION_OUTCOME_FAILED, "timeout")


async def test_result_is_cut_at_the_cap(tool: Tool) -> None:
    with acting_as(person()):
        (result,) = await results(tool, call("transfer", to="Ada", how="talks"))

    assert result.outcome == pb.INVOCATION_OUTCOME_SUCCEEDED
    assert RESULT_CAP_BYTES <= len(result.content.encode()) <= RESULT_CAP_BYTES + 100
    assert result.content.endswith("[cut: 60000 bytes, shown are 2048]")


async def leave_intent(pool: Pool, caller: Identity, name: str, key: str, **arguments: object) -> None:
    """Leaves what a process that was killed between intent and result leaves."""
    from flotilla_tool.model import Caller, LedgerKey
    from flotilla_tool.service import arguments_digest
    from flotilla_tool.stores.postgres import PostgresLedger

    digest = arguments_digest(orjson.dumps(arguments))
    owner = Caller(caller.tenant_id, caller.user_id, uuid4())
    await PostgresLedger(pool).claim(owner, [LedgerKey(key, name, digest, needs_intent=True)])


async def test_intent_without_result_is_unknown_and_never_invoked(tool: Tool, bank: Bank, pool: Pool) -> None:
    somebody = person()
    await leave_intent(pool, somebody, "transfer", "k", to="Ada")

    with acting_as(somebody):
        answers = [await results(tool, call("transfer", "k", to="Ada")) for _ in range(3)]

    assert [(answer.outcome, answer.reason) for (answer,) in answers] == [
        (pb.INVOCATION_OUTCOME_UNKNOWN, "outcome_unknown")
    ] * 3
    assert bank.transfers == []


async def test_intent_without_result_of_an_idempotent_tool_is_invoked_again(
    tool: Tool, savings: Bank, pool: Pool
) -> None:
    somebody = person()
    await leave_intent(pool, somebody, "save", "k", to="Ada")

    with acting_as(somebody):
        (first,) = await results(tool, call("save", "k", to="Ada"))
        (second,) = await results(tool, call("save", "k", to="Ada"))

    assert first.outcome == pb.INVOCATION_OUTCOME_SUCCEEDED
    assert second.replayed
    assert savings.transfers == ["k"]


async def test_concurrent_batches_with_one_key_have_one_effect(tool: Tool, bank: Bank) -> None:
    somebody = person()
    with acting_as(somebody):
        answers = await asyncio.gather(*(results(tool, call("transfer", "k", to="Ada")) for _ in range(20)))

    assert bank.transfers == ["k"]
    outcomes = {answer.outcome for (answer,) in answers}
    assert outcomes <= {pb.INVOCATION_OUTCOME_SUCCEEDED, pb.INVOCATION_OUTCOME_UNKNOWN}
    assert pb.INVOCATION_OUTCOME_SUCCEEDED in outcomes


async def test_caller_that_goes_finds_its_result_later(tool: Tool, bank: Bank, service: ToolService) -> None:
    waiting = call("transfer", "k", to="Ada", how="waits")
    with acting_as(person()):
        left = tool.InvokeBatch(batch(waiting))
        await bank.started.wait()
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        bank.may_end.set()
        await service.finish()
        (result,) = await results(tool, waiting)

    assert (result.outcome, result.replayed) == (pb.INVOCATION_OUTCOME_SUCCEEDED, True)
    assert bank.transfers == ["k"]


async def test_intent_is_committed_before_the_tool_runs(tool: Tool, bank: Bank, pool: Pool) -> None:
    somebody = person()
    with acting_as(somebody):
        running = asyncio.ensure_future(results(tool, call("transfer", "k", to="Ada", how="waits")))
        await bank.started.wait()
        async with tenant_transaction(pool, somebody.tenant_id) as connection:
            rows = await (await connection.execute("SELECT idempotency_key, outcome FROM invocations")).fetchall()
        bank.may_end.set()
        await running

    assert rows == [("k", None)]


async def test_same_key_of_another_caller_is_another_call(tool: Tool, bank: Bank) -> None:
    somebody = person()
    colleague = person(tenant_id=somebody.tenant_id)
    stranger = Identity(uuid4(), somebody.user_id)

    for caller, to in ((somebody, "Ada"), (colleague, "Bob"), (stranger, "Eve")):
        with acting_as(caller):
            (result,) = await results(tool, call("transfer", "k", to=to))
            assert (result.content, result.replayed) == (f"sent to {to}", False)

    assert bank.transfers == ["k"] * 3


async def test_caller_without_identity_is_unauthenticated(tool: Tool) -> None:
    assert await code_of(tool.ListTools(pb.ListToolsRequest())) is grpc.StatusCode.UNAUTHENTICATED
    assert await code_of(tool.InvokeBatch(batch(call("clock")))) is grpc.StatusCode.UNAUTHENTICATED
