"""The model layer: one client for every provider that speaks the OpenAI wire."""

from flotilla_llm.client import ModelClient
from flotilla_llm.model import (
    ChatReply,
    ChatRequest,
    EmbeddingReply,
    ReplyEnd,
    StreamPart,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from flotilla_llm.routed import open_models
from flotilla_llm.routes import Route, RouteTable

__all__ = [
    "ChatReply",
    "ChatRequest",
    "EmbeddingReply",
    "ModelClient",
    "ReplyEnd",
    "Route",
    "RouteTable",
    "StreamPart",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
    "open_models",
]
