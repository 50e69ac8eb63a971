"""--help says what the one table of options says, and CHANGELOG.md what the version is."""

from pathlib import Path

from pyinit import __version__
from pyinit.run import options

ROOT = Path(__file__).parents[2]


def test_the_help_lists_every_option() -> None:
    for option in options.OPTIONS:
        assert f"--{option.name} {option.value}".rstrip() in options.help_text()
        assert option.meaning in options.help_text()


def test_the_changelog_begins_with_this_version() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0] == f"## {__version__}"
