"""A GPU process for each GPU, each served by a thread, that time the configs of one problem after another."""

import queue
import threading
from collections.abc import Sequence
from typing import Any

__all__ = ["Crew"]


class Crew:
    """All GPUs at work on one problem. Attributes: aten_us, torch's own time, once a GPU has set the problem up."""

    def __init__(self, gpus: Sequence[int], slug: str) -> None:
        self._todo: queue.Queue[Any] = queue.Queue()
        self._done: queue.Queue[Any] = queue.Queue()
        self._slug = slug
        self._generation = 0
        self._problem: tuple[Any, str] | None = None
        self.aten_us: float | None = None
        self._threads = [threading.Thread(target=self._serve, args=(gpu,), daemon=True) for gpu in gpus]
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> bool:
        return self._todo.empty()

    def begin(self, problem: Any, kernel: str) -> None:
        """Go on to another problem; what was under way is given up."""
        self._generation += 1
        self.aten_us = None
        self._problem = problem, kernel
        while not self._todo.empty():
            self._todo.get_nowait()

    def time(self, config: Any) -> None:
        self._todo.put((self._generation, config))

    def ended(self, seconds: float) -> list[tuple[Any, Any]]:
        """Wait for a result at most so long; return all there are. Raises what a thread could not deal with."""
        found = []
        try:
            found.append(self._done.get(timeout=seconds))
            while True:
                found.append(self._done.get_nowait())
        except queue.Empty:
            pass
        for _, _, measured in found:
            if isinstance(measured, Exception):
                raise measured
        return [(config, measured) for number, config, measured in found if number == self._generation]

    def close(self) -> None:
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join(timeout=30.0)

    def _serve(self, gpu: int) -> None:
        from tunedb.device import by_slug
        from tunedb.kernel import config_to_json
        from tunedb.tune.gpu_process import Runner

        runner = Runner(gpu, by_slug(self._slug), bench="tunedb.measure.bench:Bench")
        prepared = 0
        try:
            while (task := self._todo.get()) is not None:
                generation, config = task
                if generation != self._generation or self._problem is None:
                    continue
                problem, kernel = self._problem
                try:
                    if prepared != generation:
                        self.aten_us = runner.prepare(problem).aten_us
                        prepared = generation
                    self._done.put((generation, config, runner.trial(kernel, config_to_json(config))))
                except Exception as error:  # noqa: BLE001 (raised again by `ended`, where it can be seen)
                    self._done.put((generation, config, error))
        finally:
            runner.close()
