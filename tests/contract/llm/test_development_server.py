"""The development model as the stock OpenAI SDK sees it."""

from collections.abc import AsyncIterator

import aiohttp
import openai
import pytest
from flotilla_llm.development.server import RunningModel


@pytest.fixture
async def sdk(development_model: RunningModel) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=development_model.base_url, api_key="none", max_retries=0) as client:
        yield client


async def test_models_are_listed(sdk: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in sdk.models.list()] == ["flotilla-dev", "flotilla-dev-embed"]


async def test_stream_has_usage_when_asked_for(sdk: openai.AsyncOpenAI) -> None:
    stream = await sdk.chat.completions.create(
        model="flotilla-dev",
        messages=[{"role": "user", "content": "count from 1 to 3"}],
        stream=True,
        stream_options={"include_usage": True},
    )

    chunks = [chunk async for chunk in stream]

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "1 2 3"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


async def test_embeddings_are_the_same_in_both_encodings(sdk: openai.AsyncOpenAI) -> None:
    default = await sdk.embeddings.create(model="flotilla-dev-embed", input="I like tea", dimensions=64)
    floats = await sdk.embeddings.create(
        model="flotilla-dev-embed", input="I like tea", dimensions=64, encoding_format="float"
    )

    assert default.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-6)
    assert len(floats.data[0].embedding) == 64


async def test_wrong_requests_have_the_sdks_errors(sdk: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        await sdk.chat.completions.create(model="gpt", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError) as caught:
        await sdk.chat.completions.create(model="flotilla-dev", messages=[])
    assert caught.value.param == "messages"
    with pytest.raises(openai.RateLimitError) as limited:
        await sdk.chat.completions.create(
            model="flotilla-dev", messages=[{"role": "user", "content": "[[dev: fault=429:7]]"}]
        )
    assert limited.value.response.headers["retry-after"] == "7"


async def test_every_reply_says_that_it_is_no_real_model(development_model: RunningModel) -> None:
    body = {"model": "flotilla-dev", "messages": [{"role": "user", "content": "x"}]}
    url = development_model.base_url + "/chat/completions"
    async with aiohttp.ClientSession() as session:
        for stream in (False, True):
            async with session.post(url, json={**body, "stream": stream}) as response:
                assert response.headers["x-flotilla-development-model"] == "true"


async def test_stats_and_health_are_served(development_model: RunningModel) -> None:
    root = development_model.base_url.removesuffix("/v1")
    async with aiohttp.ClientSession() as session:
        async with session.get(root + "/health") as response:
            assert response.status == 200
        async with session.get(root + "/dev/stats") as response:
            assert {"requests", "active_streams", "cancelled", "tokens_sent"} <= (await response.json()).keys()
