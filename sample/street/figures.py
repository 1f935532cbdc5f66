"""How a person, a car and a bicycle are drawn, in metres, and how each one looks."""

import math

from street.brush import shade
from street.layout import pick, vary

CLASSES = ("person", "car", "bicycle")
"""In the order of the detector's class ids. A bicycle is the machine with its rider, as one object."""

EXTENTS = {
    "person": (-0.9, -0.15, 0.9, 2.2),
    "car": (-3.1, -0.15, 3.2, 2.8),
    "bicycle": (-1.2, -0.15, 1.2, 2.2),
}
"""(u1, v1, u2, v2) in metres that hold each figure at its largest."""

# fmt: off
_JACKETS = [(196, 60, 52), (44, 84, 140), (232, 180, 60), (60, 120, 88), (122, 72, 130), (226, 226, 220), (40, 44, 52),
            (214, 120, 60), (92, 150, 190), (150, 40, 66), (112, 116, 120), (190, 206, 160), (236, 150, 160)]
_TROUSERS = [(38, 46, 74), (52, 50, 52), (96, 84, 70), (72, 92, 124), (30, 32, 36), (150, 136, 112), (80, 56, 48)]
_SKIN = [(238, 200, 172), (224, 176, 140), (190, 138, 100), (142, 96, 66), (96, 64, 46)]
_HAIR = [(38, 28, 24), (84, 56, 36), (150, 110, 62), (204, 170, 104), (120, 120, 124), (22, 20, 22)]
_PAINT = [(186, 38, 40), (34, 78, 146), (226, 228, 230), (44, 48, 54), (150, 156, 162), (232, 188, 60), (40, 108, 84),
          (112, 28, 44), (98, 160, 190), (206, 106, 48), (216, 206, 186), (70, 62, 100)]
_GLASS = (96, 78, 62)
_TYRE = (34, 32, 32)

_CAR_SHAPES = {
    "saloon": {
        "body": [(-2.2, .34), (-2.25, .72), (-2.1, .9), (-1.6, .96), (-1.02, 1.42), (.3, 1.44), (1.02, .97),
                 (1.95, .84), (2.22, .64), (2.24, .34)],
        "glass": [[(-1.38, .97), (-.94, 1.34), (-.3, 1.36), (-.3, .97)],
                  [(-.2, .97), (-.2, 1.36), (.26, 1.36), (.8, .97)]],
        "axles": (-1.36, 1.38),
    },
    "hatchback": {
        "body": [(-1.85, .34), (-1.92, .9), (-1.78, 1.06), (-1.5, 1.48), (.15, 1.52), (.92, 1.02), (1.66, .88),
                 (1.88, .66), (1.9, .34)],
        "glass": [[(-1.6, 1.02), (-1.38, 1.4), (-.42, 1.43), (-.42, 1.02)],
                  [(-.32, 1.02), (-.32, 1.43), (.12, 1.43), (.72, 1.02)]],
        "axles": (-1.18, 1.2),
    },
    "estate": {
        "body": [(-2.25, .4), (-2.3, 1.0), (-2.12, 1.66), (.2, 1.72), (.95, 1.14), (2.0, 1.0), (2.26, .76), (2.28, .4)],
        "glass": [[(-2.0, 1.14), (-1.9, 1.58), (-.95, 1.61), (-.95, 1.14)],
                  [(-.85, 1.14), (-.85, 1.61), (.16, 1.62), (.78, 1.14)]],
        "axles": (-1.4, 1.42),
    },
    "van": {
        "body": [(-2.5, .38), (-2.55, 2.05), (-2.4, 2.14), (1.0, 2.12), (1.72, 1.26),
                 (2.36, 1.1), (2.5, .7), (2.5, .38)],
        "glass": [[(.1, 1.3), (.1, 1.92), (.98, 1.92), (1.5, 1.3)]],
        "axles": (-1.6, 1.6),
    },
}
# fmt: on


def person_look(rng):
    """Clothes, build and gait of one person."""
    return {
        "height": rng.uniform(1.5, 1.92),
        "build": rng.uniform(0.9, 1.22),
        "jacket": vary(rng, pick(rng, _JACKETS)),
        "trousers": vary(rng, pick(rng, _TROUSERS)),
        "skin": pick(rng, _SKIN),
        "hair": pick(rng, _HAIR),
        "coat": rng.random() < 0.25,
        "bag": pick(rng, _JACKETS) if rng.random() < 0.35 else None,
        "hat": pick(rng, _JACKETS) if rng.random() < 0.2 else None,
    }


def car_look(rng):
    """Shape, size and paint of one car."""
    shape = str(rng.choice(list(_CAR_SHAPES), p=[0.34, 0.28, 0.22, 0.16]))
    return {"shape": shape, "size": rng.uniform(0.92, 1.06), "paint": vary(rng, pick(rng, _PAINT), 0.08)}


def bicycle_look(rng):
    """The machine's paint and its rider."""
    return {
        "paint": vary(rng, pick(rng, _PAINT)),
        "jacket": vary(rng, pick(rng, _JACKETS)),
        "trousers": vary(rng, pick(rng, _TROUSERS)),
        "skin": pick(rng, _SKIN),
        "helmet": pick(rng, _JACKETS + _HAIR),
    }


LOOKS = {"person": person_look, "car": car_look, "bicycle": bicycle_look}


def draw_person(brush, look, metres, sideways):
    """A walking person after `metres` of way; `sideways` is 1 seen from the side and 0 from the front or back."""
    h, build = look["height"], look["build"]
    phase = metres * 2 * math.pi / (0.86 * h)
    reach = 0.18 + 0.82 * sideways
    hip, neck = (0.0, 0.5 * h), (0.015 * h * sideways, 0.83 * h)
    half = (0.085 + 0.035 * (1 - sideways)) * h * build
    for side, tone in ((-1, 0.72), (1, 1.0)):
        swing = side * math.sin(phase)
        if tone < 1:
            _arm(brush, look, neck, half, -swing * reach, side, sideways, tone)
        _leg(brush, look, hip, swing * reach, max(0.0, side * math.cos(phase)), side * (1 - sideways), tone)
    if look["bag"]:
        brush.ellipse((-(half + 0.03 * h) * sideways, 0.7 * h), (0.09 * h, 0.11 * h), look["bag"])
    _torso(brush, look, half, neck)
    _arm(brush, look, neck, half, -math.sin(phase) * reach, 1, sideways, 0.86)
    _head(brush, look, (neck[0] + 0.02 * h * sideways, 0.925 * h), 0.068 * h, sideways)


def _leg(brush, look, hip, swing, lift, spread, tone):
    h = look["height"]
    angle = 0.48 * swing
    start = (hip[0] + 0.05 * h * spread, hip[1])
    knee = (start[0] + 0.24 * h * math.sin(angle), start[1] - 0.24 * h * math.cos(angle))
    bent = angle - 0.75 * lift * abs(1 - 0.4 * abs(swing)) * (1 if abs(swing) > 0.02 else 0)
    foot = (knee[0] + 0.23 * h * math.sin(bent), max(0.03 * h, knee[1] - 0.23 * h * math.cos(bent)))
    colour = shade(look["trousers"], tone)
    brush.stroke([start, knee], 0.095 * h * look["build"], colour)
    brush.stroke([knee, foot], 0.075 * h * look["build"], colour)
    brush.stroke([foot, (foot[0] + 0.07 * h, foot[1] - 0.005 * h)], 0.05 * h, shade((40, 38, 40), tone))


def _torso(brush, look, half, neck):
    h = look["height"]
    hem = (0.33 if look["coat"] else 0.47) * h
    flare = 1.15 if look["coat"] else 0.92
    outline = [
        (-half * flare, hem),
        (-half * 1.08, 0.74 * h),
        (-half * 0.72, neck[1] + 0.005 * h),
        (half * 0.78 + neck[0], neck[1] + 0.005 * h),
        (half * 1.1 + neck[0], 0.74 * h),
        (half * flare, hem),
    ]
    brush.polygon(outline, look["jacket"])
    lit = [
        (half * 0.1, hem),
        (half * 0.15, neck[1]),
        (half * 0.78 + neck[0], neck[1]),
        (half * 1.1 + neck[0], 0.74 * h),
        (half * flare, hem),
    ]
    brush.polygon(lit, shade(look["jacket"], 1.14))


def _arm(brush, look, neck, half, swing, side, sideways, tone):
    h = look["height"]
    shoulder = (neck[0] + side * half * (1 - sideways), neck[1] - 0.035 * h)
    angle = 0.5 * swing
    elbow = (
        shoulder[0] + 0.17 * h * math.sin(angle) + 0.03 * h * side * (1 - sideways),
        shoulder[1] - 0.17 * h * math.cos(angle),
    )
    hand = (
        elbow[0] + 0.15 * h * math.sin(angle + 0.3 * sideways),
        elbow[1] - 0.15 * h * math.cos(angle + 0.3 * sideways),
    )
    brush.stroke([shoulder, elbow, hand], 0.062 * h * look["build"], shade(look["jacket"], tone * 0.92))
    brush.ellipse(hand, (0.026 * h, 0.026 * h), look["skin"])


def _head(brush, look, centre, radius, sideways):
    brush.stroke(
        [(centre[0] - 0.2 * radius, centre[1]), (centre[0] - 0.3 * radius, centre[1] - 1.5 * radius)],
        0.9 * radius,
        shade(look["skin"], 0.85),
    )
    brush.ellipse(centre, (radius * 0.92, radius * 1.1), look["skin"])
    crown = look["hat"] or look["hair"]
    brush.ellipse(
        (centre[0] - 0.3 * radius * sideways, centre[1] + 0.42 * radius), (radius * 0.98, radius * 0.8), crown
    )
    if look["hat"]:
        brush.stroke(
            [(centre[0] - radius, centre[1] + 0.3 * radius), (centre[0] + radius * 1.35, centre[1] + 0.3 * radius)],
            0.3 * radius,
            shade(crown, 0.8),
        )


def draw_car(brush, look, metres, _sideways):
    """A car seen from the side and a little from above, its wheels turned by `metres` of way."""
    shape, size, paint = _CAR_SHAPES[look["shape"]], look["size"], look["paint"]

    def sized(points):
        return [(u * size, v * size) for u, v in points]

    body = sized(shape["body"])
    roof = [(u + 0.05, v + 0.3) for u, v in body]
    brush.polygon(roof, shade(paint, 1.22))
    for (u1, v1), (u2, v2) in zip(body, body[1:]):
        brush.polygon(
            [(u1, v1), (u2, v2), (u2 + 0.05, v2 + 0.3), (u1 + 0.05, v1 + 0.3)], _top_colour(paint, u2 - u1, v2 - v1)
        )
    brush.polygon(body, paint)
    low, high = body[0][1], body[0][1] + 0.2
    brush.polygon([(body[0][0], low), (body[0][0], high), (body[-1][0], high), (body[-1][0], low)], shade(paint, 0.66))
    for pane in shape["glass"]:
        _pane(brush, sized(pane))
    waist = shape["glass"][0][0][1] * size - 0.1
    brush.stroke([(body[0][0] + 0.2, waist), (body[-1][0] - 0.35, waist)], 0.035, shade(paint, 1.25))
    brush.stroke([(0, waist - 0.02), (0, low + 0.14)], 0.025, shade(paint, 0.7))
    brush.ellipse((body[-1][0] - 0.14, 0.66 * size), (0.13, 0.08), (190, 236, 250))
    brush.ellipse((body[0][0] + 0.06, 0.74 * size), (0.08, 0.1), (40, 40, 190))
    for axle in shape["axles"]:
        _car_wheel(brush, axle * size, 0.33 * size, metres)


def _top_colour(paint, run, rise):
    """Faces that look up are lit; steep ones are the windscreens."""
    steep = abs(rise) > 0.45 * abs(run)
    if steep and abs(rise) > 0.3:
        return shade(_GLASS, 1.35)
    return shade(paint, 1.22)


def _pane(brush, pane):
    brush.polygon(pane, _GLASS)
    (u1, v1), (u2, v2), (u3, v3), _ = pane
    brush.polygon(
        [(u1 + 0.6 * (u2 - u1), v1 + 0.6 * (v2 - v1)), (u2, v2), (u3, v3), (u3, v3 - 0.12)], shade(_GLASS, 1.5)
    )


def _car_wheel(brush, axle, radius, metres):
    brush.ellipse((axle, radius), (radius * 1.14, radius * 1.14), (28, 26, 26))
    brush.ellipse((axle, radius * 0.98), (radius, radius), _TYRE)
    brush.ellipse((axle, radius), (radius * 0.6, radius * 0.6), (186, 182, 178))
    for spoke in range(3):
        turn = -metres / radius + spoke * math.pi / 3
        du, dv = 0.55 * radius * math.cos(turn), 0.55 * radius * math.sin(turn)
        brush.stroke([(axle - du, radius - dv), (axle + du, radius + dv)], 0.05, (104, 100, 98))


def draw_bicycle(brush, look, metres, _sideways):
    """A bicycle and its rider seen from the side, pedals turned by `metres` of way."""
    rear, front, crank = (-0.54, 0.35), (0.56, 0.35), (-0.04, 0.32)
    seat, bar = (-0.24, 0.92), (0.42, 1.02)
    turn = -metres / 0.9
    pedals = [(crank[0] + r * math.cos(turn), crank[1] + r * math.sin(turn)) for r in (-0.17, 0.17)]
    hip, shoulder, head = (-0.22, 1.02), (0.16, 1.5), (0.27, 1.7)
    _rider_leg(brush, look, hip, pedals[0], 0.7)
    for hub in (rear, front):
        brush.ring(hub, 0.33, 0.055, _TYRE)
        brush.ring(hub, 0.28, 0.02, (170, 166, 160))
        brush.ellipse(hub, (0.05, 0.05), (120, 118, 116))
    for points in ([rear, crank, (0.38, 0.86), (-0.2, 0.78), rear], [crank, seat], [front, (0.38, 0.86), bar]):
        brush.stroke(points, 0.055, look["paint"])
    brush.stroke([(-0.34, 0.95), (-0.12, 0.95)], 0.07, (36, 34, 34))
    _rider_leg(brush, look, hip, pedals[1], 1.0)
    brush.stroke([hip, (0.0, 1.3), shoulder], 0.27, look["jacket"])
    brush.stroke([(-0.14, 1.12), (0.1, 1.42)], 0.12, shade(look["jacket"], 1.16))
    brush.stroke([shoulder, (0.36, 1.2), bar], 0.095, shade(look["jacket"], 0.84))
    brush.ellipse(head, (0.11, 0.13), look["skin"])
    brush.ellipse((head[0] - 0.03, head[1] + 0.06), (0.135, 0.1), look["helmet"])


def _rider_leg(brush, look, hip, pedal, tone):
    """Two-bone leg: the knee lies on the forward side of the line from hip to pedal."""
    thigh = 0.47
    du, dv = pedal[0] - hip[0], pedal[1] - hip[1]
    distance = min(math.hypot(du, dv), 1.99 * thigh)
    height = math.sqrt(thigh**2 - (distance / 2) ** 2)
    knee = ((hip[0] + pedal[0]) / 2 - dv / distance * height, (hip[1] + pedal[1]) / 2 + du / distance * height)
    colour = shade(look["trousers"], tone)
    brush.stroke([hip, knee], 0.15, colour)
    brush.stroke([knee, pedal], 0.11, colour)
    brush.stroke([(pedal[0] - 0.06, pedal[1]), (pedal[0] + 0.13, pedal[1] - 0.01)], 0.07, shade((44, 42, 44), tone))


DRAW = {"person": draw_person, "car": draw_car, "bicycle": draw_bicycle}
