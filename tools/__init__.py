"""Tools that are run by hand: the demo, tables of what was seen, the pages, and the tests on other Debians."""
