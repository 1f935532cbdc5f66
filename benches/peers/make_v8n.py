#!/usr/bin/env python3
"""Makes an ONNX model of YOLOv8n's size, 640 wide and 384 high, with random weights from a fixed seed.

    make_v8n.py OUT.onnx

It finds nothing, and takes as long as a trained one. The weights' licence plays no part, as there are none of theirs.
"""

import os
import pathlib
import sys
import tempfile

# Neither reports nor downloads: read when the package is imported.
os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false")

import torch  # noqa: E402
import ultralytics  # noqa: E402

HEIGHT, WIDTH, SEED = 384, 640, 8


def main():
    out = pathlib.Path(sys.argv[1]).absolute()
    ultralytics.settings.update({"sync": False})
    torch.manual_seed(SEED)
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        # The exporter writes beside what it takes for the model's file, which is the working directory.
        os.chdir(folder)
        made = ultralytics.YOLO("yolov8n.yaml").export(format="onnx", imgsz=[HEIGHT, WIDTH], batch=1, simplify=False)
        pathlib.Path(made).absolute().replace(out)


if __name__ == "__main__":
    main()
