#!/usr/bin/env python3
"""Makes the small ONNX graphs that the tests read: detectors whose outputs are constants.

    python3 make.py            (needs `pip install onnx numpy`; made with onnx 1.23.2)

Every graph has an input that it ignores and an output in the layout of one family. A constant goes through the
operations that a real export ends with, because the graph is part of what a model is recognised by.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
SIDE = 64  # model input; strides 8, 16, 32 give 64 + 16 + 4 = 84 places
PLACES = 84
NAMES = "{0: 'person', 1: 'bird\\'s nest', 2: \"car\"}"


def logit(p):
    p = np.clip(np.asarray(p, np.float32), 1e-7, 1 - 1e-7)
    return np.log(p / (1 - p)).astype(np.float32)


class Graph:
    """Collects nodes and constants, and writes the file."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, array):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, op, *inputs, out=None, **attributes):
        out = out or f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def save(self, file, input_shape, outputs, metadata=None, input_name="images", input_type=TensorProto.FLOAT):
        graph = helper.make_graph(
            self.nodes,
            "fixture",
            [helper.make_tensor_value_info(input_name, input_type, input_shape)],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        onnx.checker.check_model(model)
        (HERE / file).write_bytes(model.SerializeToString())


def yolox(file, classes, rows, output="output", names=None):
    """`rows` maps a place to (x, y, log w, log h, objectness, scores): raw, as before decoding."""
    head = np.zeros((PLACES, 5 + classes), np.float32)
    for place, row in rows.items():
        head[place] = row
    graph, levels, first = Graph(), [], 0
    for stride in (8, 16, 32):
        side = SIDE // stride
        level = head[first : first + side * side].T.reshape(1, 5 + classes, side, side)
        first += side * side
        boxes = graph.node("Conv", graph.constant(level[:, :4]), graph.constant(np.eye(4, dtype=np.float32)[..., None, None]))
        objectness = graph.node("Sigmoid", graph.constant(logit(level[:, 4:5])))
        scores = graph.node("Sigmoid", graph.constant(logit(level[:, 5:])))
        joined = graph.node("Concat", boxes, objectness, scores, axis=1)
        levels.append(graph.node("Reshape", joined, graph.constant(np.array([1, 5 + classes, -1]))))
    graph.node("Transpose", graph.node("Concat", *levels, axis=2), out=output, perm=[0, 2, 1])
    graph.save(file, [1, 3, SIDE, SIDE], [(output, [1, PLACES, 5 + classes])], {"names": names} if names else None)


def v6(file, classes):
    """v6's layout: boxes in pixels, an objectness of one."""
    graph = Graph()
    boxes = graph.node("Mul", graph.constant(np.ones((1, PLACES, 4), np.float32)), graph.constant(np.float32([8])))
    scores = graph.node("Sigmoid", graph.constant(np.zeros((1, PLACES, classes), np.float32)))
    ones = graph.constant(np.ones((1, PLACES, 1), np.float32))
    graph.node("Concat", boxes, ones, scores, out="outputs", axis=-1)
    graph.save(file, [1, 3, SIDE, SIDE], [("outputs", [1, PLACES, 5 + classes])])


def v8(file, columns, classes=3, metadata=None, batch=1, side=SIDE, extra=None):
    """`columns` maps a place to (cx, cy, w, h, scores)."""
    head = np.zeros((batch, 4 + classes, PLACES), np.float32)
    for place, column in columns.items():
        head[0, :, place] = column
    head[1:, :4], head[1:, 4:] = 16, 0.99  # what lies in the surplus of a batch must never be seen
    graph = Graph()
    boxes = graph.node("Mul", graph.constant(head[:, :4]), graph.constant(np.float32([1])))
    scores = graph.node("Sigmoid", graph.constant(logit(head[:, 4:])))
    more = [graph.node("Mul", graph.constant(np.zeros((batch, extra, PLACES), np.float32)), graph.constant(np.float32([1])))] if extra else []
    graph.node("Concat", boxes, scores, *more, out="output0", axis=1)
    graph.save(file, [batch, 3, side, side], [("output0", [batch, 4 + classes + (extra or 0), PLACES])], metadata)


def v8_open(file):
    """An open height and width: one place for each cell, its first score the cell's mean of red."""
    graph, levels = Graph(), []
    for stride in (8, 16, 32):
        mean = graph.node("AveragePool", "images", kernel_shape=[stride, stride], strides=[stride, stride])
        # Channels of a place: a box of one stride around (stride, stride), and the three means as scores.
        weights = np.zeros((7, 3, 1, 1), np.float32)
        weights[4:, :, 0, 0] = np.eye(3)
        bias = np.float32([stride, stride, stride, stride, 0, 0, 0])
        cell = graph.node("Conv", mean, graph.constant(weights), graph.constant(bias))
        levels.append(graph.node("Reshape", cell, graph.constant(np.array([0, 7, -1]))))
    graph.node("Concat", *levels, out="output0", axis=2)
    shape = ["batch", 7, "anchors"]
    graph.save(file, ["batch", 3, "height", "width"], [("output0", shape)], ultralytics())


def v5(file, rows, classes=3):
    """`rows` maps a place to (cx, cy, w, h, objectness, scores)."""
    head = np.zeros((1, 3 * PLACES, 5 + classes), np.float32)
    for place, row in rows.items():
        head[0, place] = row
    graph = Graph()
    graph.node("Identity", graph.constant(head), out="output0")
    metadata = {"stride": "32", "names": "['person', 'bicycle', 'car']"}
    graph.save(file, [1, 3, SIDE, SIDE], [("output0", [1, 3 * PLACES, 5 + classes])], metadata)


def end_to_end(file, rows, metadata):
    head = np.zeros((1, 300, 6), np.float32)
    head[0, : len(rows)] = rows
    graph = Graph()
    graph.node("Identity", graph.constant(head), out="output0")
    graph.save(file, [1, 3, SIDE, SIDE], [("output0", [1, 300, 6])], metadata)


def plain(file, shape, declared=None, **kwargs):
    """An output of zeros; `declared` is what the header says instead of its true shape."""
    graph = Graph()
    graph.node("ConstantOfShape", graph.constant(np.array(shape)), out="output")
    graph.save(file, [1, 3, 352, 352], [("output", declared or shape)], **kwargs)


def ultralytics(task="detect", names=NAMES):
    return {"description": "fixture", "stride": "32", "task": task, "batch": "1", "imgsz": "[64, 64]", "names": names}


def main():
    # Place 0: cell (0,0) of stride 8. Place 64 + 6: column 2, row 1 of stride 16. Place 83: cell (1,1) of stride 32.
    yolox(
        "yolox.onnx",
        3,
        {
            0: [0.5, 1.0, 0.0, np.log(2), 0.9, 0.1, 0.8, 0.2],
            70: [0.25, 0.5, np.log(0.5), np.log(1.5), 0.8, 0.9, 0.1, 0.1],
            # The same object from the coarsest level, less sure: IoU with the one above 0.86.
            83: [0.125, -0.25, np.log(0.25), np.log(0.65), 0.8, 0.7, 0.1, 0.1],
            10: [0.5, 0.5, 0.0, 0.0, 0.3, 0.3, 0.1, 0.1],
        },
    )
    yolox("yolox_coco.onnx", 80, {})
    yolox("yolox_as_outputs.onnx", 80, {}, output="outputs")
    v6("v6.onnx", 80)
    columns = {
        3: [20, 24, 16, 8, 0.6, 0.1, 0.2],
        70: [21, 24, 16, 8, 0.5, 0.1, 0.2],
        80: [21, 24, 16, 8, 0.1, 0.1, 0.55],
        83: [60, 32, 16, 80, 0.1, 0.7, 0.1],
        40: [20, 24, 0, 8, 0.9, 0.1, 0.1],
    }
    v8("v8.onnx", columns, metadata=ultralytics())
    v8("v8_bare.onnx", columns)
    v8("v8_batch.onnx", columns, metadata=ultralytics(), batch=2)
    v8("v8_pose_bare.onnx", {}, classes=1, extra=51)
    v8("v8_segment.onnx", {}, metadata=ultralytics("segment"))
    v8("v8_wrong_names.onnx", {}, metadata=ultralytics(names="{0: 'person'}"))
    v8("v8_broken_names.onnx", {}, metadata=ultralytics(names="{0: person}"))
    v8_open("v8_open.onnx")
    v5("v5.onnx", {100: [20, 24, 16, 8, 0.9, 0.1, 0.2, 0.8], 251: [40, 40, 10, 10, 0.5, 0.5, 0.1, 0.1]})
    rows = [[4, 8, 20, 24, 0.3, 2], [30, 30, 50, 60, 0.9, 0], [30, 30, 50, 60, 0.8, 0], [1, 1, 9, 9, 0.7, 7]]
    end_to_end("end_to_end.onnx", rows, ultralytics())
    end_to_end("end_to_end_bare.onnx", rows, None)
    plain("fastest.onnx", [1, 85, 22, 22])
    plain("v8_lies.onnx", [1, 7, 100], declared=[1, 7, 2541], metadata=ultralytics())
    plain("half.onnx", [1, 7, 2541], metadata=ultralytics(), input_type=TensorProto.FLOAT16)


if __name__ == "__main__":
    main()
