#!/usr/bin/env python3
"""Draws a street seen by a surveillance camera, and writes the exact truth about it.

    draw.py clip --seed 17 --frames 300 --out street.mp4 --truth street.truth.csv
    draw.py still --seed 17 --frame 100 --out street.png [--boxes]

The truth has one row per object and frame: frame,id,class,x1,y1,x2,y2,visible. Boxes are in displayed pixels and
amodal (the object's full extent, hidden parts included), clipped to the picture. `visible` is the share (0 to 1) of
the object's own pixels that can be seen; both are measured on the drawn pixels, camera shake included. Rows with
`visible` below 0.25 are to be ignored in evaluation, as MOT benchmarks do with people they cannot expect to be found.
"""

import argparse
import csv
import subprocess

import cv2

from street import IGNORED_BELOW
from street.layout import HEIGHT, WIDTH
from street.scene import Scene
from street.traffic import FPS

KEYFRAME_EVERY = 50
"""Frames between keyframes: two seconds, so that even this short clip can be cut into segments."""


def main():
    arguments = _arguments()
    arguments.run(arguments)


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    clip = commands.add_parser("clip", help="an H.264 clip and its truth")
    clip.add_argument("--seed", type=int, required=True)
    clip.add_argument("--frames", type=int, default=300)
    clip.add_argument("--crf", type=int, default=21, help="x264's quality, lower is better and larger")
    clip.add_argument("--out", required=True)
    clip.add_argument("--truth", required=True)
    clip.set_defaults(run=draw_clip)
    still = commands.add_parser("still", help="one frame of a clip as an image")
    still.add_argument("--seed", type=int, required=True)
    still.add_argument("--frames", type=int, default=300, help="length of the clip the frame is from")
    still.add_argument("--frame", type=int, required=True)
    still.add_argument("--boxes", action="store_true", help="draw the truth on it")
    still.add_argument("--out", required=True)
    still.set_defaults(run=draw_still)
    return parser.parse_args()


def draw_clip(arguments):
    """Draw every frame once, into the encoder and into the truth."""
    scene = Scene(arguments.seed, arguments.frames)
    encoder = subprocess.Popen(_encoder_command(arguments.out, arguments.crf), stdin=subprocess.PIPE)
    ids = {}
    with open(arguments.truth, "w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["frame", "id", "class", "x1", "y1", "x2", "y2", "visible"])
        for number in range(arguments.frames):
            picture, truths = scene.frame(number)
            encoder.stdin.write(picture.tobytes())
            for truth in truths:
                track = ids.setdefault(truth.actor, len(ids) + 1)
                box = [f"{value:.1f}" for value in truth.box]
                rows.writerow([number, track, truth.kind, *box, f"{truth.visible:.3f}"])
    encoder.stdin.close()
    if encoder.wait() != 0:
        raise SystemExit("ffmpeg could not encode the clip; see its message above")


def _encoder_command(path, crf):
    """One encoder thread and no version string make the file the same on every run of the same FFmpeg and x264."""
    colour = ["-color_primaries", "bt709", "-color_trc", "bt709", "-colorspace", "bt709", "-color_range", "tv"]
    return [
        *("ffmpeg", "-y", "-loglevel", "error"),
        *("-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{WIDTH}x{HEIGHT}", "-r", str(FPS), "-i", "-"),
        *("-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p", *colour),
        *("-c:v", "libx264", "-preset", "slow", "-crf", str(crf), "-bf", "2", "-threads", "1"),
        *("-g", str(KEYFRAME_EVERY), "-keyint_min", str(KEYFRAME_EVERY), "-sc_threshold", "0"),
        *("-flags", "+cgop+bitexact", "-fflags", "+bitexact", "-movflags", "+faststart", path),
    ]


def draw_still(arguments):
    """One frame, for looking at."""
    picture, truths = Scene(arguments.seed, arguments.frames).frame(arguments.frame)
    if arguments.boxes:
        for truth in truths:
            x1, y1, x2, y2 = (round(value) for value in truth.box)
            colour = (60, 220, 60) if truth.visible >= IGNORED_BELOW else (120, 120, 120)
            cv2.rectangle(picture, (x1, y1), (x2, y2), colour, 1)
            label = f"{truth.actor} {truth.visible:.2f}"
            cv2.putText(picture, label, (x1, y1 - 2), cv2.FONT_HERSHEY_SIMPLEX, 0.32, colour, 1, cv2.LINE_AA)
    cv2.imwrite(arguments.out, picture)


if __name__ == "__main__":
    main()
