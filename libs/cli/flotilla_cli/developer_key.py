"""The key for one's own applications: made once through the gateway, and again when it no longer works."""

from flotilla_cli.gateway import call, client
from flotilla_cli.home import Home, write_private

SCOPES = ("chat", "embeddings", "act_as")


def ensure_developer_key(home: Home, url: str) -> str:
    """Returns a key that the gateway at the URL accepts, and keeps it in the home."""
    if home.developer_key_file.exists() and _is_accepted(home, url):
        return home.developer_key_file.read_text().strip()
    with client(home, admin=True, url=url) as gateway:
        key = str(call(gateway, "POST", "/v1/keys", {"name": "developer", "scopes": list(SCOPES)})["key"])
    write_private(home.developer_key_file, key)
    return key


def _is_accepted(home: Home, url: str) -> bool:
    with client(home, url=url) as gateway:
        return gateway.get("/v1/models").status_code != 401
