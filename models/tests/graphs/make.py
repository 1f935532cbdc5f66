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

    def save_with(self, file, inputs, outputs, metadata=None):
        """`inputs` maps a name to its type and shape; `outputs` lists names, numpy types and shapes."""
        types = [helper.np_dtype_to_tensor_dtype(np.dtype(dtype)) for _, dtype, _ in outputs]
        graph = helper.make_graph(
            self.nodes,
            "fixture",
            [helper.make_tensor_value_info(name, *type_and_shape) for name, type_and_shape in inputs.items()],
            [helper.make_tensor_value_info(name, type_, shape) for (name, _, shape), type_ in zip(outputs, types)],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        helper.set_model_props(model, metadata or {})
        onnx.checker.check_model(model)
        (HERE / file).write_bytes(model.SerializeToString())

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


def v8_seen(file, sides, type_=TensorProto.FLOAT):
    """One place for each cell, its first score the cell's mean of red. Bytes are scaled in the graph."""
    graph, levels, picture = Graph(), [], "images"
    if type_ == TensorProto.UINT8:
        picture = graph.node("Mul", graph.node("Cast", picture, to=TensorProto.FLOAT), graph.constant(np.float32([1 / 255])))
    for stride in (8, 16, 32):
        mean = graph.node("AveragePool", picture, kernel_shape=[stride, stride], strides=[stride, stride])
        # Channels of a place: a box of one stride around (stride, stride), and the three means as scores.
        weights = np.zeros((7, 3, 1, 1), np.float32)
        weights[4:, :, 0, 0] = np.eye(3)
        bias = np.float32([stride, stride, stride, stride, 0, 0, 0])
        cell = graph.node("Conv", mean, graph.constant(weights), graph.constant(bias))
        levels.append(graph.node("Reshape", cell, graph.constant(np.array([0, 7, -1]))))
    graph.node("Concat", *levels, out="output0", axis=2)
    shape = ["batch", 7, "anchors"]
    graph.save(file, ["batch", 3, *sides], [("output0", shape)], ultralytics(), input_type=type_)


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


def constants(file, outputs, inputs, metadata=None):
    """Outputs of known values: `outputs` maps a name to an array, `inputs` a name to its type and shape."""
    graph = Graph()
    for name, array in outputs.items():
        graph.node("Identity", graph.constant(array), out=name)
    graph.save_with(file, inputs, [(name, array.dtype, array.shape) for name, array in outputs.items()], metadata)


def v6_rows(file, rows, classes=3):
    """Boxes in pixels, an objectness of one: `rows` maps a place to (cx, cy, w, h, scores)."""
    head = np.zeros((1, PLACES, 4 + classes), np.float32)
    for place, row in rows.items():
        head[0, place] = row
    graph = Graph()
    boxes = graph.node("Mul", graph.constant(head[..., :4]), graph.constant(np.float32([1])))
    scores = graph.node("Sigmoid", graph.constant(logit(head[..., 4:])))
    graph.node("Concat", boxes, graph.constant(np.ones((1, PLACES, 1), np.float32)), scores, out="outputs", axis=-1)
    graph.save(file, [1, 3, SIDE, SIDE], [("outputs", [1, PLACES, 5 + classes])])


def yolox_decoded(file, rows, classes=3):
    """As with --decode_in_inference: sizes are exponents times strides. `rows` maps a place to (cx, cy, w, h, obj, scores)."""
    head = np.zeros((1, PLACES, 5 + classes), np.float32)
    head[..., 2:4] = 1
    for place, row in rows.items():
        head[0, place] = row
    graph = Graph()
    centres = graph.node("Mul", graph.constant(head[..., :2]), graph.constant(np.float32([1])))
    sizes = graph.node("Exp", graph.constant(np.log(head[..., 2:4])))
    sizes = graph.node("Mul", sizes, graph.constant(np.float32([1])))
    rest = graph.node("Identity", graph.constant(head[..., 4:]))
    graph.node("Concat", centres, sizes, rest, out="output", axis=-1)
    graph.save(file, [1, 3, SIDE, SIDE], [("output", [1, PLACES, 5 + classes])])


def distribution(distance):
    """Logits of eight distances whose mean is this one: all of it on two neighbours."""
    low = int(distance)
    share = distance - low
    logits = np.full(8, -60, np.float32)
    logits[low] = np.log(1 - share)
    if share:
        logits[low + 1] = np.log(share)
    return logits


def nanodet_plus(file):
    head = np.zeros((1, PLACES + 1, 3 + 32), np.float32)
    # Column 2, row 1 of stride 16: at (32, 16); a box of 16 left, 8 up, 24 right, 32 down.
    head[0, 64 + 6, :3] = [0.1, 0.2, 0.7]
    head[0, 64 + 6, 3:] = np.concatenate([distribution(d) for d in (1, 0.5, 1.5, 2)])
    constants(file, {"output": head}, {"data": (TensorProto.FLOAT, [1, 3, SIDE, SIDE])})


def nanodet(file):
    outputs = {}
    for kind, columns in (("cls", 3), ("dis", 32)):
        for stride in (8, 16, 32):
            outputs[f"{kind}_pred_stride_{stride}"] = np.zeros((1, (SIDE // stride) ** 2, columns), np.float32)
    # The same cell, whose centre is (40, 24).
    outputs["cls_pred_stride_16"][0, 6] = [0.1, 0.2, 0.7]
    outputs["dis_pred_stride_16"][0, 6] = np.concatenate([distribution(d) for d in (1, 0.5, 1.5, 2)])
    constants(file, outputs, {"input.1": (TensorProto.FLOAT, [1, 3, SIDE, SIDE])})


def rt_detr(file):
    """Boxes are shares times `orig_target_sizes`, so that what it is told is seen."""
    graph = Graph()
    graph.node("Identity", graph.constant(np.array([[2, 0, 1]], np.int64)), out="labels")
    sizes = graph.node("Cast", "orig_target_sizes", to=TensorProto.FLOAT)
    sizes = graph.node("Concat", sizes, sizes, axis=1)
    shares = np.float32([[[0.25, 0.125, 0.5, 0.5], [0, 0, 0.5, 1], [0.1, 0.1, 0.2, 0.2]]])
    graph.node("Mul", graph.constant(shares), graph.node("Unsqueeze", sizes, graph.constant(np.array([1]))), out="boxes")
    graph.node("Identity", graph.constant(np.float32([[0.9, 0.8, 0.1]])), out="scores")
    inputs = {"images": (TensorProto.FLOAT, [1, 3, SIDE, 128]), "orig_target_sizes": (TensorProto.INT64, [1, 2])}
    outputs = [("labels", np.dtype(np.int64), [1, 3]), ("boxes", np.dtype(np.float32), [1, 3, 4]), ("scores", np.dtype(np.float32), [1, 3])]
    graph.save_with(file, inputs, outputs)


# What most of the files below show: three boxes in pixels, of which the last is not sure enough.
BOXES = np.float32([[16, 8, 32, 32], [0, 0, 32, 64], [6, 6, 12, 12]])
SCORES = np.float32([0.9, 0.8, 0.1])
CLASSES = np.array([2, 0, 1])


def centres(boxes):
    """Centre and size as shares of the input."""
    return np.float32(np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1) / SIDE)


def damo_yolo(file, scores, corners):
    """It begins with the four pictures of every second row and column, which become channels."""
    graph, quarters = Graph(), []
    for row, column in ((0, 0), (1, 0), (0, 1), (1, 1)):
        picture = "images"
        for axis, start in ((2, row), (3, column)):
            bounds = (graph.constant(np.array([n])) for n in (start, SIDE, axis, 2))
            picture = graph.node("Slice", picture, *bounds)
        quarters.append(picture)
    graph.node("Concat", *quarters, axis=1)
    graph.node("Identity", graph.constant(scores), out="output")
    graph.node("Identity", graph.constant(corners), out="962")
    graph.save(file, [1, 3, SIDE, SIDE], [("output", scores.shape), ("962", corners.shape)])


def two_stages(file, weights):
    """Hugging Face's: a first stage picks the best places, and its weights have names."""
    scores = np.float32([[0, 0, 0.9], [0.8, 0, 0], [0, 0.1, 0]])
    graph = Graph()
    logits = graph.constant(logit(scores)[None])
    for name in weights:
        graph.constants.append(numpy_helper.from_array(np.zeros(3, np.float32), name))
        logits = graph.node("Add", logits, name)
    best = graph.node("ReduceMax", logits, axes=[-1], keepdims=0)
    graph.nodes.append(helper.make_node("TopK", [best, graph.constant(np.array([3]))], ["scores", "places"], axis=1))
    graph.node("Identity", logits, out="logits")
    graph.node("Identity", graph.constant(centres(BOXES)[None]), out="pred_boxes")
    f32, pixels = np.dtype(np.float32), {"pixel_values": (TensorProto.FLOAT, [1, 3, SIDE, SIDE])}
    graph.save_with(file, pixels, [("logits", f32, [1, 3, 3]), ("pred_boxes", f32, [1, 3, 4])])


def listed_families():
    square = {"images": (TensorProto.FLOAT, [1, 3, SIDE, SIDE])}
    names = ultralytics() | {"head": "RTDETRDecoder"}
    column = lambda values: np.float32(values)[:, None]
    one_hot = np.float32([[0, 0, 0.9], [0.8, 0, 0], [0, 0.1, 0]])

    rows = np.concatenate([centres(BOXES), column(SCORES), column(CLASSES)], axis=1)
    constants("rt_detr_listed.onnx", {"output0": rows[None]}, square, names)
    rows = np.concatenate([centres(BOXES), one_hot], axis=1)
    constants("ultralytics_rt_detr.onnx", {"output0": rows[None]}, square, names)

    other = np.float32([[1, 0, 0, 9, 9, 0, 0.99]])  # of another picture
    rows = np.concatenate([column([0, 0, 0]), BOXES, column(CLASSES), column(SCORES)], axis=1)
    constants("v7_end_to_end.onnx", {"output": np.concatenate([rows, other])}, square)
    rows = np.concatenate([column([0, 0, 0]), BOXES, column(SCORES), column(CLASSES)], axis=1)
    bytes_in = {"input": (TensorProto.UINT8, [1, 3, SIDE, SIDE])}
    constants("yolo_nas_flat.onnx", {"graph2_flat_predictions": rows}, bytes_in)

    padding = np.float32([[0, 0, 9, 9]])
    count = np.array([[3]], np.int32)
    boxes = np.concatenate([BOXES, padding])[None]
    scores = np.float32([[*SCORES, 0.99]])
    classes = np.array([[*CLASSES, 0]], np.int32)
    plugin = {"num_dets": count, "det_boxes": boxes, "det_scores": scores, "det_classes": classes}
    constants("nms_outputs.onnx", plugin, square)
    nas = dict(zip(("graph2_num_predictions", "graph2_pred_boxes", "graph2_pred_scores", "graph2_pred_classes"),
                   (count.astype(np.int64), boxes, scores, classes.astype(np.int64))))
    constants("yolo_nas.onnx", nas, bytes_in)

    places = np.zeros((1, PLACES, 3), np.float32)
    corners = np.zeros((1, PLACES, 4), np.float32)
    places[0, [5, 60, 80]], corners[0, [5, 60, 80]] = one_hot, BOXES
    damo_yolo("damo_yolo.onnx", places, corners)
    constants("scores_and_boxes.onnx", {"output": places, "962": corners}, square)

    rows = np.concatenate([column(CLASSES), column(SCORES), BOXES], axis=1)
    paddle = {"image": (TensorProto.FLOAT, ["b", 3, SIDE, SIDE]), "scale_factor": (TensorProto.FLOAT, ["b", 2])}
    constants("paddle.onnx", {"save_infer_model/scale_0.tmp_0": rows, "save_infer_model/scale_1.tmp_0": np.array([3], np.int32)}, paddle)

    constants("rf_detr.onnx", {"dets": centres(BOXES)[None], "labels": logit(one_hot)[None]}, {"input": square["images"]})
    pixels = {"pixel_values": (TensorProto.FLOAT, [1, 3, SIDE, SIDE]), "pixel_mask": (TensorProto.INT64, [1, SIDE, SIDE])}
    logits = np.full((1, 3, 92), -60, np.float32)
    for query, (class_id, score) in enumerate(zip(CLASSES, SCORES)):
        logits[0, query, class_id], logits[0, query, 91] = np.log(score), np.log(1 - score)
    graph = Graph()
    graph.node("Identity", graph.constant(logits), out="logits")
    layer = graph.node("MatMul", graph.constant(logit(centres(BOXES))[None]), graph.constant(np.eye(4, dtype=np.float32)))
    graph.node("Sigmoid", graph.node("Add", layer, graph.constant(np.zeros(4, np.float32))), out="pred_boxes")
    f32 = np.dtype(np.float32)
    graph.save_with("detr.onnx", pixels, [("logits", f32, [1, 3, 92]), ("pred_boxes", f32, [1, 3, 4])])
    constants("detr_small.onnx", {"logits": logits[..., :5], "pred_boxes": centres(BOXES)[None]}, pixels)

    score, norm = "model.enc_score_head.bias", "model.decoder.layers.0.final_layer_norm.bias"
    two_stages("hugging_face_rt_detr.onnx", [score, norm])
    two_stages("hugging_face_deformable.onnx", ["model.decoder.class_embed.0.bias", norm])
    two_stages("hugging_face_deim.onnx", [score])

    vision = {"boxes": BOXES, "scores": SCORES, "labels": CLASSES.astype(np.int64)}
    constants("torchvision.onnx", vision, {"image": (TensorProto.FLOAT, [3, SIDE, SIDE])})
    vision = {"2033": BOXES, "2003": CLASSES.astype(np.int64), "2002": SCORES}
    constants("torchvision_frcnn.onnx", vision, {"image": (TensorProto.FLOAT, [3, SIDE, SIDE])})

    shares = boxes[..., [1, 0, 3, 2]] / np.float32(SIDE)
    tf = {"detection_boxes": shares, "detection_classes": classes.astype(np.float32), "detection_scores": scores,
          "num_detections": np.float32([3])}
    constants("tensorflow.onnx", tf, {"input_tensor": (TensorProto.UINT8, [1, SIDE, SIDE, 3])})


def half(file, columns):
    head = np.zeros((1, 7, PLACES), np.float32)
    for place, column in columns.items():
        head[0, :, place] = column
    graph = Graph()
    boxes = graph.node("Mul", graph.constant(head[:, :4].astype(np.float16)), graph.constant(np.float16([1])))
    scores = graph.node("Sigmoid", graph.constant(logit(head[:, 4:]).astype(np.float16)))
    graph.node("Concat", boxes, scores, out="output0", axis=1)
    inputs = {"images": (TensorProto.FLOAT16, [1, 3, SIDE, SIDE])}
    graph.save_with(file, inputs, [("output0", np.dtype(np.float16), [1, 7, PLACES])], ultralytics())


def seen_bytes(file):
    """NHWC bytes in, and the mean of red as a score out: what was filled in is seen."""
    graph = Graph()
    picture = graph.node("Cast", "input_tensor", to=TensorProto.FLOAT)
    red = graph.node("Slice", picture, *(graph.constant(np.array([n])) for n in (0, 1, 3)))
    mean = graph.node("ReduceMean", red, axes=[1, 2, 3], keepdims=0)
    score = graph.node("Mul", mean, graph.constant(np.float32([1 / 255])))
    graph.node("Unsqueeze", score, graph.constant(np.array([0])), out="detection_scores")
    graph.node("Identity", graph.constant(np.float32([[[0, 0, 1, 1]]])), out="detection_boxes")
    graph.node("Identity", graph.constant(np.float32([[1]])), out="detection_classes")
    graph.node("Identity", graph.constant(np.float32([1])), out="num_detections")
    names = (("detection_boxes", [1, 1, 4]), ("detection_classes", [1, 1]), ("detection_scores", [1, 1]), ("num_detections", [1]))
    outputs = [(name, np.dtype(np.float32), shape) for name, shape in names]
    graph.save_with(file, {"input_tensor": (TensorProto.UINT8, [1, "height", "width", 3])}, outputs)


def not_finite(file):
    head = np.zeros((1, 7, PLACES), np.float32)
    head[0, 2, 5] = np.nan
    graph = Graph()
    boxes = graph.node("Mul", graph.constant(head[:, :4]), graph.constant(np.float32([1])))
    scores = graph.node("Sigmoid", graph.constant(head[:, 4:]))
    graph.node("Concat", boxes, scores, out="output0", axis=1)
    graph.save(file, [1, 3, SIDE, SIDE], [("output0", [1, 7, PLACES])], ultralytics())


def quantised(file, columns):
    """Scores that go through QuantizeLinear and DequantizeLinear, in steps of 1/256."""
    head = np.zeros((1, 7, PLACES), np.float32)
    for place, column in columns.items():
        head[0, :, place] = column
    graph = Graph()
    boxes = graph.node("Mul", graph.constant(head[:, :4]), graph.constant(np.float32([1])))
    scale, zero = graph.constant(np.float32(1 / 256)), graph.constant(np.uint8(0))
    scores = graph.node("QuantizeLinear", graph.constant(head[:, 4:]), scale, zero)
    graph.node("Concat", boxes, graph.node("DequantizeLinear", scores, scale, zero), out="output0", axis=1)
    graph.save(file, [1, 3, SIDE, SIDE], [("output0", [1, 7, PLACES])], ultralytics())


def plain(file, shape, declared=None, **kwargs):
    """An output of zeros; `declared` is what the header says instead of its true shape."""
    graph = Graph()
    graph.node("ConstantOfShape", graph.constant(np.array(shape)), out="output")
    graph.save(file, [1, 3, 352, 352], [("output", declared or shape)], **kwargs)


def hostile():
    """What `hostile.rs` gives to the sandbox: v8 detectors, each with one thing that is bad."""
    model = onnx.load(HERE / "v8.onnx")

    def save(file, change):
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        change(changed)
        (HERE / file).write_bytes(changed.SerializeToString())

    def external(changed):
        """Every weight of more than 64 bytes beside it, one behind the other."""
        weights = b""
        for tensor in changed.graph.initializer:
            if len(tensor.raw_data) > 64:
                place = {"location": "external.bin", "offset": str(len(weights)), "length": str(len(tensor.raw_data))}
                weights += tensor.raw_data
                tensor.ClearField("raw_data")
                tensor.data_location = TensorProto.EXTERNAL
                for key, value in place.items():
                    tensor.external_data.add(key=key, value=value)
        (HERE / "external.bin").write_bytes(weights)

    def custom_operator(changed):
        changed.graph.node[0].op_type, changed.graph.node[0].domain = "Levitate", "org.example"
        changed.opset_import.append(helper.make_opsetid("org.example", 1))

    def endless_function(changed):
        """A function that is made of itself."""
        itself = helper.make_node("Endless", ["x", "y"], ["z"], domain="org.example")
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid("org.example", 1)]
        changed.functions.append(helper.make_function("org.example", "Endless", ["x", "y"], ["z"], [itself], opsets))
        changed.graph.node[0].op_type, changed.graph.node[0].domain = "Endless", "org.example"
        changed.opset_import.append(helper.make_opsetid("org.example", 1))

    def endless_loop(changed):
        """A Loop for 2^62 turns in front of the first operation, which no optimiser can take away."""
        nodes = list(changed.graph.node)
        passed = [helper.make_tensor_value_info("turn", TensorProto.INT64, []),
                  helper.make_tensor_value_info("on", TensorProto.BOOL, []),
                  helper.make_tensor_value_info("before", TensorProto.FLOAT, None)]
        given = [helper.make_tensor_value_info("still", TensorProto.BOOL, []),
                 helper.make_tensor_value_info("after", TensorProto.FLOAT, None)]
        body = helper.make_graph([helper.make_node("Identity", ["on"], ["still"]), helper.make_node("Sin", ["before"], ["after"])],
                                 "body", passed, given)
        changed.graph.initializer.append(numpy_helper.from_array(np.array(1 << 62), "turns"))
        mean = helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0)
        loop = helper.make_node("Loop", ["turns", "", "mean"], ["end"], body=body)
        first = nodes[0].input[1]
        nodes[0].input[1] = "factor"
        join = helper.make_node("Mul", ["end", first], ["factor"])
        del changed.graph.node[:]
        changed.graph.node.extend([mean, loop, join, *nodes])

    def future(changed):
        changed.opset_import[0].version = 9999

    save("external.onnx", external)
    save("custom_operator.onnx", custom_operator)
    save("endless_function.onnx", endless_function)
    save("endless_loop.onnx", endless_loop)
    save("future_opset.onnx", future)
    # Open in the header, and 10^9 places when it runs.
    graph = Graph()
    graph.node("ConstantOfShape", graph.constant(np.array([1, 7, 10**9])), out="output0")
    graph.save("huge_output.onnx", [1, 3, SIDE, SIDE], [("output0", [1, 7, "places"])], ultralytics())
    # The same in the middle, where nobody sees it.
    graph = Graph()
    huge = graph.node("ConstantOfShape", graph.constant(np.array([10**5, 10**4])))
    graph.node("ReduceSum", graph.node("Mul", huge, graph.node("ReduceMean", "images", keepdims=0)), out="output0")
    graph.save("huge_middle.onnx", [1, 3, SIDE, SIDE], [("output0", [1, 7, "places"])], ultralytics())


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
    v8_seen("v8_open.onnx", ["height", "width"])
    v8_seen("v8_bytes.onnx", [SIDE, SIDE], TensorProto.UINT8)
    v5("v5.onnx", {100: [20, 24, 16, 8, 0.9, 0.1, 0.2, 0.8], 251: [40, 40, 10, 10, 0.5, 0.5, 0.1, 0.1]})
    rows = [[4, 8, 20, 24, 0.3, 2], [30, 30, 50, 60, 0.9, 0], [30, 30, 50, 60, 0.8, 0], [1, 1, 9, 9, 0.7, 7]]
    end_to_end("end_to_end.onnx", rows, ultralytics())
    end_to_end("end_to_end_bare.onnx", rows, None)
    plain("fastest.onnx", [1, 85, 22, 22])
    plain("v8_lies.onnx", [1, 7, 100], declared=[1, 7, 2541], metadata=ultralytics())
    half("half.onnx", columns)
    v6_rows("v6_boxes.onnx", {3: [20, 24, 16, 8, 0.6, 0.1, 0.2]})
    yolox_decoded("yolox_decoded.onnx", {3: [20, 24, 16, 8, 0.9, 0.1, 0.2, 0.8]})
    nanodet_plus("nanodet_plus.onnx")
    nanodet("nanodet.onnx")
    rt_detr("rt_detr.onnx")
    listed_families()
    seen_bytes("tensorflow_bytes.onnx")
    not_finite("not_finite.onnx")
    quantised("quantised.onnx", columns)
    hostile()


if __name__ == "__main__":
    main()
