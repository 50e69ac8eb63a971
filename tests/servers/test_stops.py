"""The script that makes the README's table of stops."""

from tests.harness import need
from tools.stops import ROWS, markdown, seen


def test_pyinit_keeps_everything_and_the_table_shows_it() -> None:
    table = seen(inits=["pyinit"])
    for row, counts in table.items():
        assert counts["pyinit"].kept == counts["pyinit"].of, row
    assert markdown(table).count("\n") == 1 + len(ROWS)


def test_the_table_can_show_a_loss() -> None:
    need("tini")
    row = "data and last line, before a pipe"
    counts = seen(rows=[row], inits=["tini -g"])[row]["tini -g"]
    assert counts.kept < counts.of
