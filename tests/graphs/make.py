#!/usr/bin/env python3
"""Makes cells.onnx, a "detector" whose every box is known: what the tests look at frames with.

    python3 make.py            (needs `pip install onnx numpy`; made with onnx 1.23.2)

The input is 64x64, so every stride has a grid: 8x8 cells of 8 pixels, 4x4 of 16, 2x2 of 32. A cell's box is the cell,
and its class scores are its means of red, green and blue. The output is laid out as Ultralytics' v8 lays it out.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 64
STRIDES = (8, 16, 32)
METADATA = {
    "description": "mean colours",
    "task": "detect",
    "stride": "32",
    "batch": "1",
    "imgsz": f"[{SIDE}, {SIDE}]",
    "names": "{0: 'red', 1: 'green', 2: 'blue'}",
}


def boxes():
    """Centre x, centre y, width, height of every cell: [1, 4, cells]."""
    grids = []
    for stride in STRIDES:
        rows, columns = np.mgrid[0 : SIDE // stride, 0 : SIDE // stride]
        side = np.full(rows.size, stride)
        grids.append(np.stack([(columns.ravel() + 0.5) * stride, (rows.ravel() + 0.5) * stride, side, side]))
    return np.concatenate(grids, axis=1)[None].astype(np.float32)


def main():
    constants = [numpy_helper.from_array(boxes(), "boxes"), numpy_helper.from_array(np.int64([0, 3, -1]), "flat")]
    nodes, levels = [], []
    for stride in STRIDES:
        mean, level = f"mean{stride}", f"level{stride}"
        nodes.append(helper.make_node("AveragePool", ["images"], [mean], kernel_shape=[stride] * 2, strides=[stride] * 2))
        nodes.append(helper.make_node("Reshape", [mean, "flat"], [level]))
        levels.append(level)
    nodes.append(helper.make_node("Concat", levels, ["scores"], axis=2))
    nodes.append(helper.make_node("Concat", ["boxes", "scores"], ["output0"], axis=1))
    cells = boxes().shape[2]
    graph = helper.make_graph(
        nodes,
        "cells",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 7, cells])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, METADATA)
    onnx.checker.check_model(model)
    pathlib.Path(__file__).with_name("cells.onnx").write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
