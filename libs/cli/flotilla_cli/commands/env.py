"""`flotilla env`: points OpenAI's SDK at the platform."""

import shlex

from flotilla_cli.commands.options import HomeOption, open_home
from flotilla_cli.gateway import read_key, running
from flotilla_cli.home import DEFAULT_HOME


def env(home: HomeOption = DEFAULT_HOME) -> None:
    """Print export lines for the shell: eval "$(flotilla env)"."""
    installation = open_home(home)
    url = running(installation).url
    print(f"export OPENAI_BASE_URL={shlex.quote(f'{url}/v1')}")
    print(f"export OPENAI_API_KEY={shlex.quote(read_key(installation))}")
