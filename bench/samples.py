"""What was measured, and the statistics of it: plain data, no process."""

import random
import statistics
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

Job = TypeVar("Job")


class Measure(NamedTuple):
    """A row of the table. `item` is the number that it has in the list of what is measured."""

    item: int
    name: str
    unit: str
    higher_is_better: bool = False
    size: int = 0  # of the crowd, where the measure is a point of a curve


class Spread(NamedTuple):
    """The middle of `samples` samples, and the distance between their quartiles."""

    median: float
    iqr: float
    samples: int


def spread(samples: list[float]) -> Spread:
    """Return median and interquartile range of at least one sample."""
    if len(samples) == 1:
        return Spread(samples[0], 0.0, 1)
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(statistics.median(samples), high - low, len(samples))


def percentile(samples: list[float], percent: int) -> float:
    """Return the percentile of at least two samples."""
    return statistics.quantiles(samples, n=100, method="inclusive")[percent - 1]


class Results:
    """Samples by measure, role and contender, in the order in which they first came; and what could not be measured."""

    def __init__(self) -> None:
        self.samples: dict[tuple[Measure, str], dict[str, list[float]]] = {}
        self.notes: list[str] = []

    def add(self, measure: Measure, role: str, contender: str, *values: float) -> None:
        """Add samples of one contender."""
        self.samples.setdefault((measure, role), {}).setdefault(contender, []).extend(values)

    def note(self, text: str) -> None:
        """Add a sentence for the reader, once."""
        if text not in self.notes:
            self.notes.append(text)

    def of(self, measure: Measure, role: str, contender: str) -> Spread | None:
        """Return the statistics of a cell of the table, None where nothing was measured."""
        samples = self.samples.get((measure, role), {}).get(contender)
        return spread(samples) if samples else None


def interleaved(jobs: Sequence[Job], rounds: int) -> Iterator[Job]:
    """Yield each job once a round, in a new order each round, so that what disturbs the machine meets all alike."""
    order = random.Random(1)
    for _ in range(rounds):
        yield from order.sample(jobs, len(jobs))
