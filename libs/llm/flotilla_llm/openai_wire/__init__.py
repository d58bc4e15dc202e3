"""The OpenAI wire as a client speaks it, over aiohttp and orjson: the stock client costs 10 to 30 times the CPU."""
