#!/usr/bin/env python3
"""Makes the models that a GPU is measured with.

    make_gpu_models.py FOLDER [YOLOX_NANO.onnx]

yolo11n.onnx    of YOLO11n's size, 640 x 640, any number of pictures, with random weights from a fixed seed: it finds
                nothing, and takes as long as a trained one. The weights' licence plays no part, as there are none of theirs
identity.onnx   gives its input of 640 x 640 back
yolox_open.onnx that YOLOX with any number of pictures instead of one
"""

import os
import pathlib
import sys

# Neither reports nor downloads: read when the package is imported.
os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false")

import onnx  # noqa: E402
import torch  # noqa: E402
import ultralytics  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SIDE, SEED = 640, 11


def yolo11n(out):
    ultralytics.settings.update({"sync": False})
    torch.manual_seed(SEED)
    yolo = ultralytics.YOLO("yolo11n.yaml")
    model = yolo.model.float().eval().fuse(verbose=False)
    for module in model.modules():
        # As Ultralytics' own exporter does. Boxes are decoded on a grid that is part of the model.
        if hasattr(module, "export") and hasattr(module, "anchors"):
            module.export, module.format, module.dynamic = True, "onnx", False
        if type(module).__name__ == "C2f":
            module.forward = module.forward_split
    images = torch.zeros(2, 3, SIDE, SIDE)
    with torch.no_grad():
        outputs = model(images)
        outputs = outputs[0] if isinstance(outputs, (list, tuple)) else outputs
        torch.onnx.export(
            model,
            (images,),
            str(out),
            input_names=["images"],
            output_names=["output0"],
            dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )
    made = onnx.load(out)
    # The exporter takes all of them for open.
    for dimension, value in list(zip(made.graph.output[0].type.tensor_type.shape.dim, outputs.shape))[1:]:
        dimension.dim_value = value
    told = {"task": "detect", "names": str(yolo.names), "stride": "32", "batch": "1", "imgsz": str([SIDE, SIDE])}
    helper.set_model_props(made, {"description": "Ultralytics YOLO11n model, random weights", **told})
    onnx.checker.check_model(made)
    onnx.save(made, out)


def identity(out):
    shape = ["batch", 3, SIDE, SIDE]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["same"])],
        "identity",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, shape)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), out)


def open_batch(source, out):
    """Names the first dimension, and lets every Reshape that had it as 1 keep it."""
    model = onnx.load(source)
    graph = model.graph
    for value in [*graph.input, *graph.output]:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    for node in graph.node:
        if node.op_type != "Reshape":
            continue
        shape = numpy_helper.to_array(constants[node.input[1]]).copy()
        assert shape[0] == 1, f"{node.name} makes {shape}"
        # 0 stands for what the dimension was.
        shape[0] = 0
        constants[node.input[1]].CopyFrom(numpy_helper.from_array(shape, constants[node.input[1]].name))
    onnx.checker.check_model(onnx.shape_inference.infer_shapes(model))
    onnx.save(model, out)


def main():
    folder = pathlib.Path(sys.argv[1]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    yolo11n(folder / "yolo11n.onnx")
    identity(folder / "identity.onnx")
    if len(sys.argv) > 2:
        open_batch(sys.argv[2], folder / "yolox_open.onnx")


if __name__ == "__main__":
    main()
