"""As much of Ray as our crew asks of it, in this process: its actors can die, dawdle, join and answer late.

A real cluster takes minutes to start on a small machine; what the crew does with it does not depend on that.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any


class RayError(Exception):
    pass


class exceptions:
    RayError = RayError


class Method:
    def __init__(self, actor: Actor, name: str) -> None:
        self._actor, self._name = actor, name

    def remote(self, *arguments: Any) -> Future[Any]:
        return self._actor.call(self._name, *arguments)


class Actor:
    """An actor in threads; `die` loses what it is at and what it is given."""

    def __init__(self, held: Any, ray: FakeRay) -> None:
        self._held, self._ray, self.dead = held, ray, False
        self._threads, self.turn = ThreadPoolExecutor(3), threading.Lock()
        self._open: set[Future[Any]] = set()
        self.number = len(ray.actors)
        ray.actors.append(self)

    def __getattr__(self, name: str) -> Method:
        return Method(self, name)

    def call(self, name: str, *arguments: Any) -> Future[Any]:
        answer: Future[Any] = Future()
        if self.dead:
            answer.set_exception(RayError("The actor is dead"))
            return answer
        self._open.add(answer)

        def run() -> None:
            made = self._ray.before(self, name)
            value = getattr(self._held, name)(*arguments) if made is None else made
            self._open.discard(answer)
            if not answer.done():
                answer.set_result(value)

        self._threads.submit(run)
        return answer

    def die(self) -> None:
        self.dead = True
        for answer in list(self._open):
            if not answer.done():
                answer.set_exception(RayError("The actor died\nworker process was killed"))


class FakeRay:
    """Stands in for the module. `cores` are those of each machine; machines can be added meanwhile."""

    exceptions = exceptions

    def __init__(self, *cores: int, before: Callable[[Actor, str], Any] = lambda actor, name: None) -> None:
        self.cores, self.before = list(cores), before
        self.actors: list[Actor] = []
        self.is_shut_down = False
        self.puts = 0
        self.more: dict[str, float] = {}
        """What each machine has besides, such as a GPU."""
        self.asked: list[dict[str, Any]] = []
        """What each actor was to have."""

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"Alive": True, "NodeID": str(number), "Resources": {"CPU": float(cores), **self.more}}
            for number, cores in enumerate(self.cores)
        ]

    def remote(self, kind: Any) -> FakeRay:
        self._kind = kind
        return self

    def options(self, **options: Any) -> Any:
        ray, kind = self, self._kind

        class Made:
            @staticmethod
            def remote() -> Actor:
                ray.asked.append(options)
                return Actor(kind(), ray)

        return Made

    def put(self, value: Any) -> Any:
        self.puts += 1
        return value

    def get(self, answer: Any) -> Any:
        return answer.result() if isinstance(answer, Future) else answer

    def wait(
        self, answers: list[Future[Any]], timeout: float, num_returns: int = 1
    ) -> tuple[list[Any], list[Any]]:
        if not answers:
            return [], []
        done, rest = wait(answers, timeout, FIRST_COMPLETED if num_returns == 1 else ALL_COMPLETED)
        return list(done), list(rest)

    def kill(self, actor: Actor) -> None:
        actor.die()

    def shutdown(self) -> None:
        self.is_shut_down = True


def after(count: int, act: Callable[[Actor], Any]) -> Callable[[Actor, str], Any]:
    """Return what lets `act` happen at the `count`-th call of `make`, of any actor."""
    lock, calls = threading.Lock(), [0]

    def before(actor: Actor, name: str) -> Any:
        with lock:
            calls[0] += name == "make"
            mine = name == "make" and calls[0] == count
        return act(actor) if mine else None

    return before


def dawdle(seconds: float) -> Callable[[Actor], None]:
    return lambda actor: time.sleep(seconds)
