"""Makes test cases with Ultralytics: python ultralytics_cases.py FOLDER [case...]"""

import os
import sys
import tempfile
from pathlib import Path

# Neither weights nor packages are to be fetched behind our back.
os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")

import torch
import ultralytics
import yaml
from ultralytics import RTDETR, YOLO
from ultralytics.utils import ROOT

from shared import alike, best_threshold, first_steady, picture, rgb_tensor, save, settle_norms, spread, unrounded

SIDE = 160
NAMES = {0: "person", 1: "bird's nest", 2: "car"}
SHIPPED = {"v8": "v8/yolov8", "p6": "v8/yolov8-p6", "11": "11/yolo11", "10": "v10/yolov10n", "26": "26/yolo26"}
LIBRARY = f"ultralytics {ultralytics.__version__}"

# A network of our own for the detection transformer: the shipped ones have tens of millions of weights.
TRANSFORMER = {
    "backbone": [
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [16, 3, 2]],
        [-1, 1, "Conv", [24, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
        [-1, 1, "Conv", [32, 3, 2]],
    ],
    "head": [[[2, 3, 4], 1, "RTDETRDecoder", ["nc", 32, 60, 4, 4, 2, 64]]],
}

# The exporter's answers for the same network changed in 8.4; the older environment makes what came before.
OLD = tuple(map(int, ultralytics.__version__.split(".")[:2])) < (8, 4)
OLD_CASES = {
    "ultralytics-old-v8": ("v8", {}, SIDE),
    "ultralytics-old-10": ("10", {}, SIDE),
    "ultralytics-old-v8-nms": ("v8", {"nms": True}, SIDE),
    "ultralytics-old-rtdetr": ("rtdetr", {}, SIDE),
}

# case: network, arguments of the exporter, side of the input
CASES = {
    "ultralytics-v8": ("v8", {}, SIDE),
    "ultralytics-v8-dynamic": ("v8", {"dynamic": True}, SIDE),
    "ultralytics-v8-half": ("v8", {"half": True}, SIDE),
    "ultralytics-v8-nms": ("v8", {"nms": True}, SIDE),
    "ultralytics-v8-p6": ("p6", {}, 192),
    "ultralytics-11": ("11", {}, SIDE),
    "ultralytics-10": ("10", {}, SIDE),
    "ultralytics-10-end2end": ("10", {"nms": False}, SIDE),
    "ultralytics-26": ("26", {}, SIDE),
    "ultralytics-26-end2end": ("26", {"nms": False}, SIDE),
    "ultralytics-26-end2end-dynamic": ("26", {"nms": False, "dynamic": True}, SIDE),
    "ultralytics-rtdetr": ("rtdetr", {}, SIDE),
}


def configuration(network):
    """The shipped network, thinned until its export is a few hundred kilobytes."""
    if network == "rtdetr":
        return TRANSFORMER | {"nc": len(NAMES)}
    shipped = yaml.safe_load((ROOT / "cfg/models" / f"{SHIPPED[network]}.yaml").read_text())
    # Attention of the older version 10 needs 128 channels.
    width = 0.125 if OLD and network == "10" else 0.0625
    return shipped | {"nc": len(NAMES), "scales": {"n": [0.33, width, 1024]}}


def last_layers(head):
    """Which layers say the boxes and which the scores, by name below the head."""
    names = [name for name, layer in head.named_modules() if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear))]
    boxes = [n for n in names if n.split(".")[0] in ("cv2", "one2one_cv2") and n.count(".") == 2 and n.endswith(".2")]
    scores = [n for n in names if n.split(".")[0] in ("cv3", "one2one_cv3") and n.count(".") == 2 and n.endswith(".2")]
    scores += [n for n in names if n.startswith("dec_score_head") or n == "enc_score_head"]
    return boxes, scores


def tame(model, x):
    """Makes a random network say something of everything."""
    network = model.model
    settle_norms(network, lambda: network(torch.cat([x, x.flip(-1)])))
    index = len(network.model) - 1
    boxes, scores = last_layers(network.model[-1])
    run = lambda: network(x)
    # Each layer in its turn, as later ones may follow from earlier ones.
    # Version 26 says distances as they are; the others a distribution over sixteen.
    mean, deviation = (2.5, 0.6) if getattr(network.model[-1], "reg_max", 16) == 1 else (0.0, 1.0)
    for name in boxes:
        spread(network, [f"model.{index}.{name}"], run, mean, deviation)
    for name in scores:
        spread(network, [f"model.{index}.{name}"], run, -2.0, 1.0)


def padded(rgb, side):
    """[1,3,side,side], 0 to 1, the picture in the middle."""
    x = torch.full((1, 3, side, side), 114 / 255)
    top = (side - rgb.shape[0]) // 2
    x[:, :, top : top + rgb.shape[0]] = rgb_tensor(rgb)
    return x


def export(network, arguments, side, rgb, folder, seed):
    torch.manual_seed(seed)
    file = Path(folder) / ("rtdetr-l.yaml" if network == "rtdetr" else "yolov8n.yaml")
    file.write_text(yaml.safe_dump(configuration(network)))
    model = (RTDETR if network == "rtdetr" else YOLO)(str(file))
    model.model.names = NAMES
    tame(model, padded(rgb, side))
    # A low limit inside the graph, so that the confidence of the case is above it.
    inside = {"conf": 0.05, "iou": 0.5} if arguments.get("nms") else {}
    return model.export(format="onnx", imgsz=side, verbose=False, **arguments, **inside)


def predictor(file, network, side, rgb):
    """The library's own predictor on the exported graph."""
    model = RTDETR(file) if network == "rtdetr" else YOLO(file, task="detect")

    def detect(confidence, iou, source=None):
        source = rgb[..., ::-1].copy() if source is None else source
        result = model.predict(source, imgsz=side, conf=confidence, iou=iou, verbose=False, device="cpu")[0]
        return [(int(row[5]), row[4], row[:4]) for row in result.boxes.data.tolist()]

    return detect


def make(folder, case):
    network, arguments, side = (OLD_CASES if OLD else CASES)[case]
    # Pads above and below for a letterbox; a transformer stretches, so its picture has the input's shape.
    yuv, rgb = picture(side, side if network == "rtdetr" else side - 32, seed=3)
    iou = 0.5

    def attempt(seed):
        with tempfile.TemporaryDirectory() as scratch:
            file = export(network, arguments, side, rgb, scratch, seed)
            detect = predictor(file, network, side, rgb)
            confidence = best_threshold(detect, iou, yuv)
            if confidence is None:
                return None
            inputs = [padded(pixels, side) for pixels in (rgb, unrounded(yuv))]
            # Steps of half precision are as wide as this.
            limits = {"score": 8e-4, "pixels": 0.26} if arguments.get("half") else {}
            if not alike(*(detect(confidence, iou, x) for x in inputs), **limits):
                return None
            about = {"library": LIBRARY, "family": f"ultralytics {network}", "confidence": confidence, "iou": iou}
            save(folder, case, file, yuv, **about, detections=detect(confidence, iou))
            return case

    first_steady(attempt)


if __name__ == "__main__":
    torch.set_num_threads(1)
    destination = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as here:
        # Newer exporters write into the working directory.
        os.chdir(here)
        for name in sys.argv[2:] or (OLD_CASES if OLD else CASES):
            make(destination, name)
