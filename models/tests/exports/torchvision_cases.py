"""Makes test cases with torchvision: python torchvision_cases.py FOLDER [case...]"""

import sys
import tempfile
from collections import OrderedDict
from pathlib import Path

import torch
import torchvision
from torch import nn
from torchvision.models.detection import FCOS, FasterRCNN, RetinaNet, ssdlite320_mobilenet_v3_large
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign

from shared import alike, best_threshold, first_steady, picture, rgb_tensor, save, settle_norms, spread, unrounded

WIDTH, HEIGHT = 160, 128
CLASSES = 4  # with the background
LIBRARY = f"torchvision {torchvision.__version__}, torch {torch.__version__.split('+')[0]}"
SIZES = {"min_size": HEIGHT, "max_size": WIDTH}


def step(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class Pyramid(nn.Module):
    """A backbone of a few kilobytes with feature maps at strides 8, 16 and 32."""

    def __init__(self, channels=16):
        super().__init__()
        self.stem = nn.Sequential(step(3, channels), step(channels, channels))
        self.steps = nn.ModuleList(step(channels, channels) for _ in range(3))
        self.out_channels = channels

    def forward(self, x):
        x = self.stem(x)
        maps = OrderedDict()
        for index, stage in enumerate(self.steps):
            maps[str(index)] = x = stage(x)
        return maps


def anchors(ratios=(0.5, 1.0, 2.0)):
    return AnchorGenerator(((24,), (48,), (96,)), (ratios,) * 3)


def faster_rcnn():
    backbone = Pyramid()
    return FasterRCNN(
        backbone,
        rpn_anchor_generator=anchors(),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], 7, 2),
        box_head=TwoMLPHead(16 * 49, 64),
        box_predictor=FastRCNNPredictor(64, CLASSES),
        rpn_post_nms_top_n_test=50,
        **SIZES,
    )


def ssd():
    backbone = Pyramid()
    backbone.out_channels = [16, 16, 16]
    boxes = DefaultBoxGenerator([[2], [2, 3], [2]], steps=[8, 16, 32])
    return SSD(backbone, boxes, (WIDTH, WIDTH), CLASSES)


# case: network, layers of the scores, of the boxes, mean of the scores
CASES = {
    "torchvision-faster-rcnn": (
        faster_rcnn,
        ["roi_heads.box_predictor.cls_score"],
        ["roi_heads.box_predictor.bbox_pred"],
        0,
    ),
    "torchvision-retinanet": (
        lambda: RetinaNet(Pyramid(), CLASSES, anchor_generator=anchors(), **SIZES),
        ["head.classification_head.cls_logits"],
        ["head.regression_head.bbox_reg"],
        -3,
    ),
    "torchvision-fcos": (
        lambda: FCOS(
            Pyramid(32), CLASSES, anchor_generator=AnchorGenerator(((8,), (16,), (32,)), ((1.0,),) * 3), **SIZES
        ),
        ["head.classification_head.cls_logits", "head.regression_head.bbox_ctrness"],
        ["head.regression_head.bbox_reg"],
        0,
    ),
    "torchvision-ssd": (
        ssd,
        [f"head.classification_head.module_list.{level}" for level in range(3)],
        [f"head.regression_head.module_list.{level}" for level in range(3)],
        0,
    ),
    "torchvision-ssdlite": (
        lambda: ssdlite320_mobilenet_v3_large(
            weights=None, weights_backbone=None, num_classes=CLASSES, width_mult=0.25
        ),
        [f"head.classification_head.module_list.{level}.1" for level in range(6)],
        [f"head.regression_head.module_list.{level}.1" for level in range(6)],
        0,
    ),
}


def build(case, x, seed):
    network, scores, boxes, score = CASES[case]
    torch.manual_seed(seed)
    model = network().eval()
    # Random regressions that are too bold give boxes over the whole picture.
    settle_norms(model, lambda: model([x, x.flip(-1)]))
    for layer in boxes:
        # One family says distances as they are, the others how far to move an anchor.
        mean = 2.0 if case == "torchvision-fcos" else 0.0
        spread(model, [layer], lambda: model([x]), mean, 0.5)
    for layer in scores:
        spread(model, [layer], lambda: model([x]), score, 1.2)
    silence_unused(model)
    return model


def silence_unused(model):
    """Labels count from 1; where there is no background, label 0 has a score that training never lets rise."""
    if not isinstance(model, (RetinaNet, FCOS)):
        return
    with torch.no_grad():
        model.head.classification_head.cls_logits.bias[::CLASSES] = -30


def suppression(model):
    """The IoU limit that is inside the graph."""
    return getattr(model, "roi_heads", model).nms_thresh


def make(folder, case):
    yuv, rgb = picture(WIDTH, HEIGHT, seed=3)
    x = rgb_tensor(rgb)[0]

    def attempt(seed):
        model = build(case, x, seed)

        def detect(confidence, iou, x=x):
            getattr(model, "roi_heads", model).nms_thresh = iou
            with torch.no_grad():
                found = model([x])[0]
            rows = zip(found["labels"].tolist(), found["scores"].tolist(), found["boxes"].tolist())
            return [row for row in rows if row[1] > confidence]

        iou = suppression(model)
        confidence = best_threshold(detect, iou, yuv)
        if confidence is None:
            return None
        found = detect(confidence, iou)
        if not alike(found, detect(confidence, iou, rgb_tensor(unrounded(yuv))[0])):
            return None
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "model.onnx"
            # No names are given, as in the library's own documentation.
            torch.onnx.export(model, ([x],), file, dynamo=False, opset_version=18)
            about = {"library": LIBRARY, "family": case.replace("-", " ", 1), "confidence": confidence, "iou": iou}
            save(folder, case, file, yuv, **about, detections=found)
        return case

    first_steady(attempt)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for name in sys.argv[2:] or CASES:
        make(sys.argv[1], name)
