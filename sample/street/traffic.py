"""Who is on the street and where, frame by frame: walkers, people who cross, cars and bicycles that yield to them."""

from dataclasses import dataclass, field

import numpy as np

from street.figures import LOOKS
from street.layout import WIDTH

FPS = 25
_WARM_UP_S = 22
"""Seconds simulated before the first frame, so that the street is already busy when the picture starts."""
_OUTSIDE = 110
"""Pixels beyond the picture's edge where things appear and vanish, more than half the longest car."""
_DEPTH = 0.6
"""Vertical pixels per horizontal pixel for the same way on the ground: the camera looks down at about 37 degrees."""


@dataclass
class Pose:
    """Where an actor is in one frame."""

    x: float
    y: float
    facing: int
    metres: float
    sideways: float


@dataclass
class Actor:
    """One moving object. `lane` is an index into the layout's lanes, None for people on foot."""

    kind: str
    look: dict
    x: float
    y: float
    facing: int
    cruise: float
    """Wanted speed in metres per second."""
    lane: int | None = None
    way: list = field(default_factory=list)
    """Points still to be reached, for people on foot."""
    speed: float = 0.0
    metres: float = 0.0
    poses: dict[int, Pose] = field(default_factory=dict)


def simulate(layout, frames, rng):
    """Every actor that is near the picture in frames 0 to `frames` - 1, with its poses."""
    street = _Street(layout, rng)
    first = -_WARM_UP_S * FPS
    for frame in range(first, frames):
        street.step()
        if frame >= 0:
            for actor in street.actors:
                street.record(actor, frame)
    return [actor for actor in street.everybody if actor.poses]


class _Street:
    """The simulation's state, advanced by one frame at a time."""

    def __init__(self, layout, rng):
        self.layout = layout
        self.rng = rng
        self.actors = []
        self.everybody = []
        lanes = len(layout.lanes)
        self.sources = [self._lane_source(index) for index in range(lanes)]
        busy = rng.uniform(0.7, 1.25)
        self.gaps = [rng.uniform(*_GAPS[kind]) * busy for kind, _, _ in layout.lanes]
        self.gaps += [rng.uniform(*_GAPS[kind]) * busy for kind in ("far walker", "near walker", "crosser")]
        self.sources += [self._far_walker, self._near_walker, self._crosser]
        self.due = [rng.uniform(0, gap) for gap in self.gaps]

    def step(self):
        """Let new actors in, move all, let those who left go."""
        for index, source in enumerate(self.sources):
            self.due[index] -= 1 / FPS
            if self.due[index] <= 0:
                self.due[index] = self.gaps[index] * self.rng.uniform(0.55, 1.6)
                self._add(source())
        on_foot = [actor for actor in self.actors if actor.lane is None]
        for actor in self.actors:
            if actor.lane is None:
                self._walk(actor)
            else:
                self._drive(actor, on_foot)
        self.actors = [actor for actor in self.actors if -_OUTSIDE <= actor.x <= WIDTH + _OUTSIDE]

    def record(self, actor, frame):
        """Keep the actor's pose."""
        heading = self._heading(actor)
        sideways = 1.0 if heading is None else float(min(1.0, abs(heading[0]) * 1.4))
        actor.poses[frame] = Pose(actor.x, actor.y, actor.facing, actor.metres, sideways)

    def _add(self, actor):
        """A driver whose entry is still taken by the one before stays away."""
        blocked = actor.lane is not None and any(
            other.lane == actor.lane and abs(other.x - actor.x) < 7 * self.layout.scale(actor.y)
            for other in self.actors
        )
        if not blocked:
            self.actors.append(actor)
            self.everybody.append(actor)

    def _lane_source(self, index):
        kind, y, direction = self.layout.lanes[index]

        def source():
            start = -_OUTSIDE if direction > 0 else WIDTH + _OUTSIDE
            cruise = self.rng.uniform(*_SPEEDS[kind])
            return Actor(kind, LOOKS[kind](self.rng), start, y, direction, cruise, lane=index, speed=cruise)

        return source

    def _walker(self, way):
        speed = self.rng.uniform(*_SPEEDS["person"])
        start, *rest = way
        return Actor("person", LOOKS["person"](self.rng), start[0], start[1], 1, speed, way=rest, speed=speed)

    def _along(self, y):
        """A way along a pavement, either direction, drifting a little."""
        ends = [-_OUTSIDE + 60, WIDTH + _OUTSIDE]
        if self.rng.random() < 0.5:
            ends = [WIDTH + _OUTSIDE - 60, -_OUTSIDE - 1]
        return [(ends[0], y), (WIDTH / 2, y + self.rng.uniform(-3, 3)), (ends[1], y)]

    def _far_y(self):
        return self.rng.uniform(self.layout.facade_foot + 7, self.layout.far_kerb - 7)

    def _near_y(self):
        return self.rng.uniform(self.layout.near_kerb + 12, self.layout.near_kerb + 78)

    def _far_walker(self):
        return self._walker(self._along(self._far_y()))

    def _near_walker(self):
        return self._walker(self._along(self._near_y()))

    def _crosser(self):
        """Somebody who comes along one pavement, takes the crossing and goes on along the other."""
        far, near = self._far_y(), self._near_y()
        start, end = (far, near) if self.rng.random() < 0.5 else (near, far)
        left, right = self.layout.zebra
        x = self.rng.uniform(left + 12, right - 12)
        first = self._along(start)[0]
        last = self._along(end)[-1]
        return self._walker([first, (x, start), (x + self.rng.uniform(-8, 8), end), last])

    def _heading(self, actor):
        if not actor.way:
            return None
        dx, dy = actor.way[0][0] - actor.x, actor.way[0][1] - actor.y
        length = max(np.hypot(dx, dy), 1e-6)
        return dx / length, dy / length, length

    def _walk(self, actor):
        heading = self._heading(actor)
        if heading is None:
            return
        dx, dy, left = heading
        pixels = actor.speed / FPS * self.layout.scale(actor.y) * (abs(dx) + _DEPTH * abs(dy)) / (abs(dx) + abs(dy))
        if left <= pixels:
            actor.way.pop(0)
        actor.x += dx * pixels
        actor.y += dy * pixels
        if abs(dx) > 0.2:
            actor.facing = 1 if dx > 0 else -1
        actor.metres += actor.speed / FPS

    def _drive(self, actor, on_foot):
        """Accelerate to the cruising speed unless something in front asks for less."""
        scale = self.layout.scale(actor.y)
        room = min(self._gap_ahead(actor), self._gap_to_crossing(actor, on_foot)) / scale
        braking = 3.5 if actor.kind == "car" else 2.5
        wanted = min(actor.cruise, np.sqrt(2 * braking * max(0.0, room - 0.4)))
        change = float(np.clip(wanted - actor.speed, -2 * braking / FPS, 2.0 / FPS))
        actor.speed = max(0.0, actor.speed + change)
        actor.x += actor.facing * actor.speed / FPS * scale
        actor.metres += actor.speed / FPS

    def _gap_ahead(self, actor):
        """Pixels to the one in front in the same lane, bumper to bumper."""
        length = (5.6 if actor.kind == "car" else 2.4) * self.layout.scale(actor.y)
        ahead = [
            (other.x - actor.x) * actor.facing - length
            for other in self.actors
            if other.lane == actor.lane and (other.x - actor.x) * actor.facing > 0
        ]
        return min(ahead, default=1e6)

    def _gap_to_crossing(self, actor, on_foot):
        """Pixels to the crossing's edge while somebody is on this lane of it or about to be; none once on it."""
        edge = self.layout.zebra[0] if actor.facing > 0 else self.layout.zebra[1]
        nose = actor.x + actor.facing * (2.5 if actor.kind == "car" else 0.9) * self.layout.scale(actor.y)
        gap = (edge - nose) * actor.facing
        if gap < -4:
            return 1e6
        before = 34
        for walker in on_foot:
            crossing = walker.way and abs(walker.way[0][1] - walker.y) > abs(walker.way[0][0] - walker.x)
            coming = crossing and (actor.y - walker.y) * (walker.way[0][1] - walker.y) > 0
            near = abs(walker.y - actor.y) < (before if coming else 16)
            if crossing and near:
                return max(0.0, gap - 5)
        return 1e6


_GAPS = {
    "car": (3.6, 6.0),
    "bicycle": (5.5, 10.0),
    "far walker": (4.5, 8.0),
    "near walker": (5.0, 9.0),
    "crosser": (7.0, 12.0),
}
"""Mean seconds between two arrivals, drawn once per scene."""

_SPEEDS = {"car": (6.0, 9.5), "bicycle": (3.8, 5.6), "person": (1.2, 1.9)}
"""Cruising speeds in metres per second."""
