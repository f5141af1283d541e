"""Work on a stream by several threads, its order kept. NumPy, pyarrow and hashes let threads run at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from aeattn.host import available_cores

T = TypeVar("T")
R = TypeVar("R")


def ahead(items: Iterable[T], depth: int = 2) -> Generator[T, None, None]:
    """The same items, taken by a thread up to `depth` before they are asked for."""
    every, end = iter(items), object()
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, every, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(thread.submit(next, every, end))
            yield item  # type: ignore[misc]


def side_by_side(call: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """`map` by a thread for each processor, in order, with few items at once."""
    threads = available_cores()
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
