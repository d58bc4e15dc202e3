"""Opens the channels to all peers, with tokens signed by the orchestrator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from flotilla_common.identity import IdentitySigner
from flotilla_common.rpc.channel import open_channel

from flotilla_orchestrator.clients.evaluator import EvaluatorClient, GrpcEvaluatorClient
from flotilla_orchestrator.clients.memory import GrpcMemoryClient, MemoryClient
from flotilla_orchestrator.clients.tool import GrpcToolClient, ToolClient


@dataclass(frozen=True, slots=True)
class Peers:
    """Everything that the orchestrator calls, apart from models."""

    memory: MemoryClient
    tools: ToolClient
    evaluator: EvaluatorClient


@asynccontextmanager
async def open_peers(
    signer: IdentitySigner, *, memory: str, tool: str, evaluator: str, multiplexed: bool = True
) -> AsyncIterator[Peers]:
    """Opens one channel a peer; each is a target as `open_channel` takes it."""
    async with (
        open_channel(memory, audience="memory", signer=signer, multiplexed=multiplexed) as memory_channel,
        open_channel(tool, audience="tool", signer=signer, multiplexed=multiplexed) as tool_channel,
        open_channel(evaluator, audience="evaluator", signer=signer, multiplexed=multiplexed) as evaluator_channel,
    ):
        yield Peers(
            GrpcMemoryClient(memory_channel, signer),
            GrpcToolClient(tool_channel),
            GrpcEvaluatorClient(evaluator_channel, signer),
        )
