"""README.md, for the tests that run what it says."""

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
# These need an engine, and are run by the tests of tests/engines.
IN_CONTAINERS = ("docker ", "pyinit-ps ")


def blocks(language: str) -> list[str]:
    """The fenced blocks of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


def commands(of: list[str]) -> list[str]:
    """The commands of these blocks, without the comments behind them."""
    return [re.sub(r"\s+# .*", "", line) for line in "".join(of).splitlines()]
