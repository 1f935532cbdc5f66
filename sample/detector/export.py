"""Writes the net as an ONNX file laid out as Ultralytics exports v8 detectors, and checks the file."""

import datetime
import os
from time import perf_counter

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from detector.network import STRIDES, fold_normalisation

OPSET = 17
VERSION = "1.0.0"


class _Exported(nn.Module):
    """The net with its output as (batch, 4 + classes, anchors): centre x, centre y, width, height, class scores."""

    def __init__(self, detector):
        super().__init__()
        self.detector = fold_normalisation(detector)

    def forward(self, images):
        scores, boxes = self.detector(images)
        centre, size = (boxes[..., :2] + boxes[..., 2:]) / 2, boxes[..., 2:] - boxes[..., :2]
        return torch.cat([centre, size, scores.sigmoid()], -1).transpose(1, 2)


def export(detector, names, path):
    """Fold batch normalisation, write the file with its metadata, and compare it with PyTorch. Changes `detector`."""
    net = _Exported(detector.eval())
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "output0": {0: "batch", 2: "anchors"}}
    unfinished = f"{path}.part"
    torch.onnx.export(
        net,
        (torch.zeros(2, 3, 384, 640),),
        unfinished,
        input_names=["images"],
        output_names=["output0"],
        dynamic_axes=axes,
        opset_version=OPSET,
        dynamo=False,
    )
    model = onnx.load(unfinished)
    _describe(model, names)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, unfinished)
    compare(net, unfinished)
    os.replace(unfinished, path)


def _describe(model, names):
    """Metadata under the keys, and in the notation, that readers of such exports expect, and the output's fixed size.

    The exporter leaves the channels open, by which readers tell one head from another.
    """
    channels = model.graph.output[0].type.tensor_type.shape.dim[1]
    channels.dim_value = 4 + len(names)
    values = {
        "description": "FrameFleet sample detector, trained on drawn streets",
        "author": "FrameFleet",
        "license": "Apache-2.0",
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "version": VERSION,
        "stride": str(max(STRIDES)),
        "task": "detect",
        "batch": "1",
        "imgsz": "[384, 640]",
        "names": repr(dict(enumerate(names))),
        "channels": "3",
    }
    onnx.helper.set_model_props(model, values)


def compare(net, path):
    """ONNX Runtime must agree with PyTorch to 1e-4 (boxes: relative to pixels) at several sizes and batches."""
    session = cpu_session(path)
    rng = np.random.default_rng(0)
    for batch, height, width in [
        (1, 384, 640),
        (3, 384, 640),
        (2, 320, 320),
        (1, 640, 640),
        (4, 64, 96),
        (1, 736, 1280),
    ]:
        images = rng.random((batch, 3, height, width), np.float32)
        (ours,) = session.run(None, {"images": images})
        with torch.no_grad():
            theirs = net(torch.from_numpy(images)).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def cpu_session(path):
    """ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def frames_per_second(path, runs=100):
    """Speed of one thread at 640x384, one frame at a time: the median run."""
    session = cpu_session(path)
    images = np.random.default_rng(0).random((1, 3, 384, 640), np.float32)
    seconds = []
    for _ in range(runs):
        start = perf_counter()
        session.run(None, {"images": images})
        seconds.append(perf_counter() - start)
    return 1 / float(np.median(seconds))
