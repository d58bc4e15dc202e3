"""The OpenAI wire: `/v1/models`, `/v1/chat/completions`, `/v1/embeddings`."""
