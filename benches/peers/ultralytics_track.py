#!/usr/bin/env python3
"""Runs the `track` of the package ultralytics over a video, as its documentation shows it, with ONNX Runtime below.

    ultralytics_track.py VIDEO MODEL [--confidence 0.1] [--iou 0.6]

Prints one line of JSON. The clock runs from the first frame's result to the last one's, so that loading and warming up
do not count.
"""

import argparse
import json
import os
import resource
import time

# Neither reports nor downloads: read when the package is imported.
os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")

import ultralytics  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("model")
    parser.add_argument("--confidence", type=float, default=0.1)
    parser.add_argument("--iou", type=float, default=0.6)
    arguments = parser.parse_args()

    ultralytics.settings.update({"sync": False})
    results = ultralytics.YOLO(arguments.model, task="detect").track(
        source=arguments.video,
        tracker="bytetrack.yaml",
        conf=arguments.confidence,
        iou=arguments.iou,
        stream=True,
        save=False,
        verbose=False,
    )
    frames = detections = 0
    start = None
    for result in results:
        start = start or time.perf_counter()
        frames += 1
        detections += len(result.boxes)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    rate = (frames - 1) / seconds
    measured = {"frames": frames, "seconds": seconds, "frames_per_second": rate, "peak_rss_mb": peak}
    print(json.dumps(measured | {"detections": detections}))


if __name__ == "__main__":
    main()
