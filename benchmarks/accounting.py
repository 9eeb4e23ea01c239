"""What work costs: CPU seconds of whole process trees, and the memory that they hold at their peak."""

import contextlib
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

SAMPLE_SECONDS = 0.1
Pids = Iterable[int]


def tree(pids: Pids) -> list[psutil.Process]:
    """Return the processes and everything that they started and that still lives."""
    found: list[psutil.Process] = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found


def cpu_seconds(pids: Pids) -> float:
    """Return the user and system time of the trees so far, that of children which have ended included."""
    total = 0.0
    for process in tree(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


@dataclass(slots=True)
class Memory:
    """Resident memory in bytes, sampled: at first, and the highest of one process and of all together."""

    at_first: int = 0
    peak_process: int = 0
    peak_total: int = 0

    def note(self, sizes: list[int]) -> None:
        """Take a sample in."""
        self.peak_process = max(self.peak_process, *sizes, 0)
        self.peak_total = max(self.peak_total, sum(sizes))
        self.at_first = self.at_first or sum(sizes)


@dataclass(slots=True)
class Cost:
    """CPU seconds by name of the part, and the memory of the part that was watched."""

    cpu: dict[str, float] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)


@contextmanager
def measured(parts: Mapping[str, list[int]], watched: Pids) -> Iterator[Cost]:
    """Measure the body: the CPU of each part, and every 0.1 s the memory of the `watched` trees."""
    cost, over = Cost(), threading.Event()
    processes = tree(watched)
    sampler = threading.Thread(target=_sample, args=(processes, cost.memory, over), name="memory")
    before = {name: cpu_seconds(pids) for name, pids in parts.items()}
    sampler.start()
    try:
        yield cost
    finally:
        cost.cpu = {name: cpu_seconds(pids) - before[name] for name, pids in parts.items()}
        over.set()
        sampler.join()


def _sample(processes: list[psutil.Process], memory: Memory, over: threading.Event) -> None:
    while True:
        memory.note(list(_sizes(processes)))
        if over.wait(SAMPLE_SECONDS):
            return


def _sizes(processes: list[psutil.Process]) -> Iterator[int]:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield process.memory_info().rss
