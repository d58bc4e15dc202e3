"""The memory service's settings, from variables that begin with MEMORY_."""

from __future__ import annotations

from flotilla_common.settings import ServiceSettings
from flotilla_llm.settings import EMBEDDING_ROUTE
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from flotilla_memory.recall.ranking import RankingWeights, RecallPolicy


class MemorySettings(ServiceSettings):
    """Where memories are kept and how they are recalled; the models come from FLOTILLA_MODEL_*."""

    model_config = SettingsConfigDict(env_prefix="MEMORY_")

    database_url: SecretStr
    database_pool_min: int = Field(default=2, ge=1)
    database_pool_max: int = Field(default=10, ge=1)
    embedding_route: str = EMBEDDING_ROUTE
    """A route of the model layer. Without such a route memories are kept without embeddings and found by words."""
    embedding_longest_text: int = Field(default=8_000, ge=100)
    """Characters of a text that are embedded; the whole text is kept."""
    question_embedding_timeout_s: float = Field(default=0.5, gt=0)
    """After it recall goes by words alone: somebody waits for the answer."""
    text_embedding_timeout_s: float = Field(default=10.0, gt=0)
    """After it a write fails with UNAVAILABLE and nothing is stored."""
    recall_memories: int = Field(default=8, ge=1, le=50)
    recall_min_score: float = Field(default=0.25, ge=0, le=1)
    """Below it a memory is held to be unrelated. It depends on the embedding model: what it gives for two texts that
    have nothing to do with each other is too low."""
    recall_word_weight: float = Field(default=0.5, ge=0, le=1)
    """How far words in common lift a memory beyond its embedding's likeness."""

    def recall_policy(self) -> RecallPolicy:
        """Returns the part that the service needs."""
        return RecallPolicy(
            weights=RankingWeights(min_score=self.recall_min_score, word_weight=self.recall_word_weight),
            default_memories=self.recall_memories,
            question_timeout_s=self.question_embedding_timeout_s,
            text_timeout_s=self.text_embedding_timeout_s,
        )
