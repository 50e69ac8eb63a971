"""pyinit: a tiny init for containers."""

__version__ = "0.2.0"
