"""A drawn street with exact ground truth.

The flow, file by file: `layout` fixes where things are, `traffic` decides who moves where, `figures` and `fixtures`
draw one thing each with a `brush`, `backdrop` paints what never moves, and `scene` puts a frame together and measures
the truth from the pixels it drew.
"""

IGNORED_BELOW = 0.25
"""Share of an object's pixels that must be seen for the object to count, in training and in evaluation."""
