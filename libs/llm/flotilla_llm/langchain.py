"""Chat models for graphs that bring their own LangChain code; the platform's own agents use the ModelClient."""

from __future__ import annotations

from typing import Any

from langchain_openai import ChatOpenAI
from langchain_openai.chat_models.base import BaseChatOpenAI
from pydantic import SecretStr

from flotilla_llm.routes import Route

_KEYLESS = SecretStr("none")
"""The stock client insists on a key; keyless servers ignore it."""


def chat_model(route: Route, **options: Any) -> BaseChatOpenAI:
    """Returns LangChain's chat model for a route; `options` go to its constructor and win.

    It has the stock client's retries instead of ours, and neither fallback nor breaker.
    """
    key = route.read_api_key()
    is_bearer = route.api_key_header.lower() == "authorization"
    headers = dict(route.headers)
    if key is not None and not is_bearer:
        headers[route.api_key_header] = key
    built: dict[str, Any] = {
        "model": route.model,
        "base_url": route.base_url,
        "api_key": SecretStr(key) if key is not None and is_bearer else _KEYLESS,
        "default_headers": headers or None,
        "default_query": dict(route.query) or None,
        "extra_body": dict(route.extra_body) or None,
        "disabled_params": dict.fromkeys(route.omit) or None,
        "timeout": route.timeouts.total_s,
        "max_retries": route.retry.attempts - 1,
        "stream_usage": route.streams_usage,
        # The other API of ChatOpenAI, /responses, is spoken by OpenAI only.
        "use_responses_api": False,
    }
    # ChatOpenAI renames every max_tokens to max_completion_tokens, which only OpenAI is sure to know.
    kind = ChatOpenAI if route.output_limit_field == "max_completion_tokens" else BaseChatOpenAI
    return kind(**built | options)
