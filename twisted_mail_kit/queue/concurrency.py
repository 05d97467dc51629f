"""How many attempts a destination gets at the same time: more with success, fewer with failure, one when it is dead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from twisted_mail_kit.mail.outcome import Delayed, Status
from twisted_mail_kit.metrics import limits
from twisted_mail_kit.queue.inhand import Job
from twisted_mail_kit.queue.schedule import is_unreachable
from twisted_mail_kit.queue.settings import QueueSettings

_FORGET = 3600.0


class Lane:
    """What we know of one destination, and what waits for it."""

    __slots__ = (
        "dead_until",
        "deaths",
        "is_ready",
        "last",
        "name",
        "running",
        "strikes",
        "touched",
        "waiting",
        "window",
    )

    def __init__(self, name: str, window: float) -> None:
        self.name = name
        self.window = window
        self.running = 0
        self.waiting: list[Job] = []
        self.strikes = 0
        """Attempts in a row that could not even speak with it."""
        self.deaths = 0
        """How often in a row it was found dead."""
        self.dead_until = 0.0
        self.last: Status | None = None
        """Why it is dead."""
        self.touched = 0.0
        self.is_ready = False
        """It stands among the lanes that can start something now."""

    @property
    def may_start(self) -> bool:
        """Something waits, and there is room for it."""
        return bool(self.waiting) and self.running < self.room

    @property
    def room(self) -> int:
        """Attempts at the same time."""
        return 1 if self.deaths else int(self.window)

    @property
    def is_busy(self) -> bool:
        """As much waits here as is good: take no more from the spool."""
        return len(self.waiting) >= self.room

    @property
    def has_room(self) -> bool:
        """A new message could be tried at once."""
        return not self.waiting and self.running < self.room

    def is_dead(self, now: float) -> bool:
        """To be left alone for now."""
        return now < self.dead_until

    def why(self) -> Delayed:
        """The outcome of what is put off because the destination is dead."""
        return Delayed(self.last or Status("4.4.1", "The destination cannot be reached"))


class Lanes:
    """All destinations that something is known about. In memory only: after a restart each gets a new chance."""

    def __init__(self, settings: QueueSettings, dead_gap: Callable[[int], float]) -> None:
        self.settings = settings
        self._dead_gap = dead_gap
        self._lanes: dict[str, Lane] = {}
        self._queued: dict[Lane, None] = {}
        self._ready: deque[Lane] = deque()
        self._probing: set[Lane] = set()
        self._swept = 0.0

    def __iter__(self) -> Iterator[Lane]:
        return iter(self._lanes.values())

    def __len__(self) -> int:
        return len(self._lanes)

    def lane(self, name: str) -> Lane:
        """The lane of that name, made where it is missing."""
        lane = self._lanes.get(name)
        if lane is None:
            start = min(self.settings.destination_start, self.settings.destination_most)
            lane = self._lanes[name] = Lane(name, start)
        return lane

    def busy(self) -> list[str]:
        """Destinations for which nothing more is to be leased."""
        return [lane.name for lane in self._queued if lane.is_busy]

    def put(self, job: Job) -> None:
        """Let a job wait its turn."""
        lane = self.lane(job.destination)
        lane.waiting.append(job)
        if lane.running >= lane.room:
            limits.QUEUE_DESTINATION.value += 1
        self._queued[lane] = None
        self._changed(lane)

    def begin(self) -> tuple[Lane, Job] | None:
        """The next job to start, in turn between destinations; None: nothing can start now. Say `end` when it is
        over."""
        if not self._ready:
            return None
        lane = self._ready.popleft()
        lane.is_ready = False
        job = lane.waiting.pop(0)
        if not lane.waiting:
            del self._queued[lane]
        self.enter(lane)
        return lane, job

    def enter(self, lane: Lane) -> None:
        """Start an attempt that never waited here. Say `end` when it is over."""
        lane.running += 1
        self._changed(lane)

    def end(self, lane: Lane) -> None:
        """An attempt is over."""
        lane.running -= 1
        self._changed(lane)

    @property
    def is_any_ready(self) -> bool:
        """Something could start, as far as its destination is concerned."""
        return bool(self._ready)

    @property
    def probes(self) -> int:
        """Attempts that only ask whether a dead destination is back."""
        return len(self._probing)

    def recall(self, lane: Lane, job: Job) -> None:
        """Of a destination that nothing is known about, the last outcome of a recipient says something: after a
        restart, the dead of yesterday are asked one by one, and not all at once."""
        last = [one.last for one in job.recipients if one.last is not None]
        if not lane.touched and not lane.running and not lane.waiting and is_unreachable(last):
            lane.touched = 0.1
            lane.window = 1.0
            lane.strikes = self.settings.dead_after
            lane.deaths = 1
            lane.last = last[0].status

    def put_off(self, lane: Lane) -> list[Job]:
        """Take all that waits for a destination."""
        jobs = list(lane.waiting)
        lane.waiting.clear()
        self._queued.pop(lane, None)
        self._changed(lane)
        return jobs

    def _changed(self, lane: Lane) -> None:
        """Put a lane among those that it belongs to now."""
        if lane.may_start and not lane.is_ready:
            lane.is_ready = True
            self._ready.append(lane)
        elif lane.is_ready and not lane.may_start:
            lane.is_ready = False
            self._ready.remove(lane)
        if lane.deaths and (lane.running or lane.waiting):
            self._probing.add(lane)
        else:
            self._probing.discard(lane)

    def reached(self, lane: Lane, now: float) -> None:
        """An attempt spoke with the destination, whatever it said."""
        lane.strikes = lane.deaths = 0
        lane.dead_until = 0.0
        lane.last = None
        lane.touched = now
        # One more for each round of the window, as TCP does without congestion.
        lane.window = min(lane.window + 1 / lane.window, self.settings.destination_most)
        self._changed(lane)

    def unreachable(self, lane: Lane, status: Status, now: float) -> bool:
        """An attempt could not speak with it. Answers whether it is dead from now on."""
        lane.strikes += 1
        lane.last = status
        lane.touched = now
        lane.window = max(lane.window - 1, 1.0)
        self._changed(lane)
        if lane.strikes < self.settings.dead_after or lane.is_dead(now):
            # Those that were under way when it died say nothing new.
            return False
        lane.dead_until = now + self._dead_gap(lane.deaths)
        lane.deaths += 1
        self._changed(lane)
        return True

    def revive(self, name: str | None = None) -> None:
        """Forget that a destination, or any, is dead."""
        if name is None:
            lanes = list(self._lanes.values())
        else:
            lanes = [self._lanes[name]] if name in self._lanes else []
        for lane in lanes:
            lane.strikes = lane.deaths = 0
            lane.dead_until = 0.0
            self._changed(lane)

    def sweep(self, now: float) -> None:
        """Forget those of which nothing was heard for an hour. Cheap: looks about once in ten minutes."""
        if now < self._swept + _FORGET / 6:
            return
        self._swept = now
        idle = [
            name
            for name, lane in self._lanes.items()
            if not lane.running and not lane.waiting and now > max(lane.touched, lane.dead_until) + _FORGET
        ]
        for name in idle:
            del self._lanes[name]
