"""README.md and --help say what the one table of options says."""

from pathlib import Path

from pyinit import __version__, options

ROOT = Path(__file__).parents[2]


def test_the_readme_lists_every_option_as_the_table_has_it() -> None:
    rows = []
    for option in options.OPTIONS:
        names = [f"-{option.letter}"] if option.letter else []
        names.append(f"--{option.name} {option.value}".rstrip())
        rows.append(f"| {', '.join(f'`{name}`' for name in names)} | {option.meaning} | {option.peers} |")
    assert "| --- | --- | --- |\n" + "\n".join(rows) + "\n\n" in (ROOT / "README.md").read_text()


def test_the_help_lists_every_option() -> None:
    for option in options.OPTIONS:
        assert f"--{option.name} {option.value}".rstrip() in options.help_text()
        assert option.meaning in options.help_text()


def test_the_changelog_begins_with_this_version() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0] == f"## {__version__}"
