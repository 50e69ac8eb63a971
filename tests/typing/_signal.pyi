# The C module below signal, imported instead of it: its enums cost 6 ms of the start. To mypy it is signal itself.
from signal import *  # noqa: F403
