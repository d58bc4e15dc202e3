"""The model client against a provider that fails in every way it can."""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from flotilla_common.errors import DeadlineExceededError, FlotillaError, InvalidArgumentError, UnavailableError
from flotilla_llm import ChatRequest, ModelClient, ReplyEnd, StreamPart, TextDelta, tokens
from flotilla_llm.development.server import RunningModel
from flotilla_llm.routes import Breaker, Price, Retry, Timeouts
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

CLOSED_PORT = "http://127.0.0.1:9/v1"

OpenClient = Callable[..., Any]


def ask(text: str, **options: Any) -> ChatRequest:
    return ChatRequest(messages=[{"role": "user", "content": text}], **options)


async def heard(models: ModelClient, request: ChatRequest, routes: Sequence[str] = ("default",)) -> list[StreamPart]:
    return [part async for part in models.stream(request, routes=routes)]


def text_of(parts: Sequence[StreamPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


async def eventually(holds: Callable[[], bool], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110 - what is waited for happens in the server's own time
            await asyncio.sleep(0.005)


async def test_stream_ends_with_usage_and_cost(open_client: OpenClient) -> None:
    price = Price(input_usd_per_million=2, output_usd_per_million=10)
    models = await open_client(default={"price": price})

    parts = await heard(models, ask("count from 1 to 5"))

    end = parts[-1]
    assert text_of(parts) == "1 2 3 4 5"
    assert isinstance(end, ReplyEnd)
    assert (end.finish_reason, end.route, end.usage.output_tokens) == ("stop", "default", 5)
    assert end.usage.cost_micro_usd == 2 * end.usage.input_tokens + 10 * 5
    assert not end.usage.is_estimated


async def test_first_token_arrives_before_the_model_has_finished(
    models: ModelClient, development_model: RunningModel
) -> None:
    async with aclosing(models.stream(ask("[[dev: tokens=50 delay_ms=10]]"), routes=["default"])) as parts:  # type: ignore[type-var]
        first = await anext(parts)

        assert first == TextDelta("1")
        assert development_model.stats.active_streams == 1
        assert development_model.stats.tokens_sent < 25


@pytest.mark.parametrize("by", ["close", "cancel"])
async def test_consumer_that_stops_stops_the_model(
    models: ModelClient, development_model: RunningModel, by: str
) -> None:
    started = asyncio.Event()

    async def consume() -> None:
        async with aclosing(models.stream(ask("[[dev: tokens=2000 delay_ms=20]]"), routes=["default"])) as parts:  # type: ignore[type-var]
            async for _ in parts:
                started.set()
                if by == "close":
                    return

    task = asyncio.create_task(consume())
    await started.wait()
    if by == "cancel":
        task.cancel()
    await asyncio.wait([task])

    await eventually(lambda: development_model.stats.cancelled == 1, within_s=1)
    assert development_model.stats.active_streams == 0


@pytest.mark.parametrize("fault", ["429:0", "500", "503", "cut_after:0", "bad_json:0"])
async def test_fault_before_the_first_token_is_retried_unseen(models: ModelClient, fault: str) -> None:
    question = f"[[dev: tokens=3 times=1 fault={fault}]]"

    assert text_of(await heard(models, ask(question + " streamed"))) == "1 2 3"
    assert (await models.complete(ask(question), routes=["default"])).content == "1 2 3"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("429:0", "model_rate_limited"),
        ("500", "model_unavailable"),
        ("cut_after:0", "model_stream_broken"),
        ("bad_json:0", "model_bad_reply"),
        ("400", "model_rejected"),
        ("401", "model_credentials_refused"),
    ],
)
async def test_lasting_fault_is_a_classed_error(models: ModelClient, fault: str, reason: str) -> None:
    request = ask(f"[[dev: tokens=3 fault={fault}]]")

    with pytest.raises(FlotillaError) as streamed:
        await heard(models, request)
    with pytest.raises(FlotillaError) as whole:
        await models.complete(request, routes=["default"])

    assert (streamed.value.reason, whole.value.reason) == (reason, reason)


@pytest.mark.parametrize("fault", ["429:0", "500", "cut_after:0", "bad_json:0", "stall_after:0:5"])
async def test_fallback_takes_over_before_the_first_token(open_client: OpenClient, fault: str) -> None:
    models = await open_client(
        flaky={"retry": Retry(attempts=1), "timeouts": Timeouts(first_token_s=0.2, total_s=0.4)},
        steady={"sends_metadata": False},
    )
    request = ask("count from 1 to 3", metadata={"flotilla_dev_fault": fault})

    parts = await heard(models, request, ["flaky", "steady"])
    reply = await models.complete(request, routes=["flaky", "steady"])

    assert text_of(parts) == reply.content == "1 2 3"
    assert isinstance(parts[-1], ReplyEnd)
    assert parts[-1].route == reply.route == "steady"


async def test_unreachable_route_falls_back(open_client: OpenClient) -> None:
    models = await open_client(away={"base_url": CLOSED_PORT}, near={})

    assert text_of(await heard(models, ask("count from 1 to 3"), ["away", "near"])) == "1 2 3"
    with pytest.raises(UnavailableError):
        await heard(models, ask("hi"), ["away"])


async def test_break_after_the_first_token_is_an_error_and_never_falls_back(
    open_client: OpenClient, development_model: RunningModel
) -> None:
    models = await open_client(flaky={}, steady={"sends_metadata": False})
    metadata = {"flotilla_dev_fault": "cut_after:5", "flotilla_dev_token_delay_ms": "5"}
    parts: list[StreamPart] = []

    async def listen() -> None:
        async for part in models.stream(ask("count from 1 to 9", metadata=metadata), routes=["flaky", "steady"]):
            parts.append(part)  # noqa: PERF401 - the parts before the error count

    with pytest.raises(UnavailableError) as caught:
        await listen()

    assert caught.value.reason == "model_stream_broken"
    assert text_of(parts) == "1 2 3 4 5"
    assert development_model.stats.requests == 1


async def test_refused_request_is_not_sent_to_the_next_route(
    open_client: OpenClient, development_model: RunningModel
) -> None:
    models = await open_client(first={}, second={})

    with pytest.raises(InvalidArgumentError):
        await models.complete(ask("[[dev: fault=400]]"), routes=["first", "second"])

    assert development_model.stats.requests == 1


@pytest.mark.parametrize(
    ("question", "timeouts"),
    [
        ("[[dev: tokens=5 first_delay_ms=30000]]", Timeouts(first_token_s=0.15)),
        ("[[dev: tokens=5 fault=stall_after:0:30]]", Timeouts(first_token_s=0.15)),
        ("[[dev: tokens=5 fault=stall_after:2:30]]", Timeouts(between_tokens_s=0.15)),
        ("[[dev: tokens=1500 delay_ms=20]]", Timeouts(total_s=0.3)),
    ],
    ids=["headers", "first token", "between tokens", "total"],
)
async def test_slow_stream_ends_in_time(open_client: OpenClient, question: str, timeouts: Timeouts) -> None:
    models = await open_client(default={"timeouts": timeouts})
    began = time.monotonic()

    with pytest.raises(DeadlineExceededError) as caught:
        await heard(models, ask(question))

    assert caught.value.reason == "model_timeout"
    assert time.monotonic() - began < 10


async def test_slow_whole_reply_ends_in_time(open_client: OpenClient, development_model: RunningModel) -> None:
    models = await open_client(default={"timeouts": Timeouts(total_s=0.15)})

    with pytest.raises(DeadlineExceededError):
        await models.complete(ask("[[dev: fault=stall_after:0:30]]"), routes=["default"])

    await eventually(lambda: development_model.stats.active == 0)


async def test_breaker_spares_a_failing_route(open_client: OpenClient, development_model: RunningModel) -> None:
    breaker = Breaker(failures=2, open_s=60)
    models = await open_client(default={"breaker": breaker, "retry": Retry(attempts=2, base_delay_s=0)})

    for _ in range(3):
        with pytest.raises(UnavailableError) as caught:
            await models.complete(ask("[[dev: fault=500]]"), routes=["default"])

    assert caught.value.reason == "model_circuit_open"
    assert 0 < (caught.value.retry_after_s or 0) <= 60
    assert development_model.stats.requests == 2


async def test_cap_holds_and_a_full_route_falls_back(open_client: OpenClient, development_model: RunningModel) -> None:
    models = await open_client(small={"max_concurrency": 1, "timeouts": Timeouts(queue_s=0.05)}, large={})
    async with aclosing(models.stream(ask("[[dev: tokens=500 delay_ms=20]]"), routes=["small"])) as busy:
        await anext(busy)

        reply = await models.complete(ask("hello"), routes=["small", "large"])
        with pytest.raises(UnavailableError) as caught:
            await models.complete(ask("hello"), routes=["small"])

    assert reply.route == "large"
    assert caught.value.reason == "model_saturated"
    assert (await models.complete(ask("hello"), routes=["small"])).route == "small"


async def test_long_conversation_is_trimmed_to_the_window(open_client: OpenClient) -> None:
    models = await open_client(default={"context_window": 512})
    history = [{"role": "user" if at % 2 == 0 else "assistant", "content": "word " * 100} for at in range(10)]
    request = ChatRequest(messages=[*history, {"role": "user", "content": "hello"}], max_output_tokens=64)

    reply = await models.complete(request, routes=["default"])

    assert reply.usage.input_tokens <= 512 - 64


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The contents that are counted exactly while the test runs."""
    seen: list[str] = []
    count = tokens.count_text

    def count_text(text: str) -> int:
        seen.append(text)
        return count(text)

    monkeypatch.setattr(tokens, "count_text", count_text)
    return seen


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_retries_and_fallbacks_count_once_for_a_window(
    open_client: OpenClient, development_model: RunningModel, counted: list[str], is_streamed: bool
) -> None:
    small = {"context_window": 512, "retry": Retry(attempts=3, base_delay_s=0)}
    models = await open_client(flaky=small, steady=small)
    history = [{"role": "user", "content": f"{number} " + "word " * 100} for number in range(4)]
    question = {"role": "user", "content": "[[dev: tokens=3 fault=500 times=4]]"}
    request = ChatRequest([*history, question], max_output_tokens=64)

    if is_streamed:
        await heard(models, request, ["flaky", "steady"])
    else:
        await models.complete(request, routes=["flaky", "steady"])

    assert development_model.stats.requests == 5
    assert counted
    assert len(counted) == len(set(counted))


@pytest.mark.parametrize("is_streamed", [True, False])
async def test_open_breaker_counts_nothing(open_client: OpenClient, counted: list[str], is_streamed: bool) -> None:
    models = await open_client(default={"context_window": 256, "breaker": Breaker(failures=1, open_s=60)})
    with pytest.raises(UnavailableError):
        await models.complete(ask("[[dev: fault=500]]"), routes=["default"])
    request = ChatRequest([{"role": "user", "content": "word " * 300}] * 2)

    with pytest.raises(UnavailableError) as caught:
        await (heard(models, request) if is_streamed else models.complete(request, routes=["default"]))

    assert caught.value.reason == "model_circuit_open"
    assert counted == []


async def test_embeddings_keep_order(models: ModelClient) -> None:
    both = await models.embed(["tea", "colour"], route="embedding")
    tea = await models.embed(["tea"], route="embedding")

    assert both.vectors[0] == tea.vectors[0] != both.vectors[1]
    assert both.model == "flotilla-dev-embed"
    assert both.usage.input_tokens == 3


async def test_unknown_route_is_refused(models: ModelClient) -> None:
    with pytest.raises(FlotillaError, match="default"):
        await models.complete(ask("hi"), routes=["none"])
    with pytest.raises(InvalidArgumentError):
        await heard(models, ask("hi"), [])


async def test_metrics_count_tokens_errors_retries_and_time(models: ModelClient, registry: CollectorRegistry) -> None:
    await heard(models, ask("[[dev: tokens=7 times=1 fault=500]]"))

    def sample(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"flotilla_model_{name}", {"route": "default", **labels})

    assert sample("tokens_total", kind="output") == 7
    assert sample("errors_total", reason="model_unavailable") == 1
    assert sample("retries_total") == 1
    assert sample("first_token_seconds_count") == 1
    assert sample("call_seconds_count", operation="chat") == 2
    assert sample("calls_in_flight") == 0
    assert sample("breaker_state") == 0


async def test_span_has_the_conventions_and_no_content(models: ModelClient, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr("flotilla_llm.attempt._tracer", provider.get_tracer("test"))

    await models.complete(ask("my secret question [[dev: tokens=3]]"), routes=["default"])
    with pytest.raises(UnavailableError):
        await models.complete(ask("my secret question [[dev: fault=503]]"), routes=["default"])

    good, bad = exporter.get_finished_spans()[0], exporter.get_finished_spans()[-1]
    assert good.name == "chat flotilla-dev"
    assert good.attributes is not None
    assert good.attributes["gen_ai.operation.name"] == "chat"
    assert good.attributes["gen_ai.usage.output_tokens"] == 3
    assert good.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert bad.attributes is not None
    assert bad.attributes["error.type"] == "model_unavailable"
    assert "secret" not in "".join(span.to_json() for span in exporter.get_finished_spans())
