#!/usr/bin/env python3
"""Makes trial.onnx: a convolution, which is cuDNN's, and a product of matrices, which is cuBLAS's.

    python3 make.py            (needs `pip install onnx numpy`; made with onnx 1.23.2)

Of a picture of ones it makes 108: each of 4 channels sums 3 x 3 x 3 ones to 27, their means stay 27, and the product sums
these.
"""

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

constants = {"kernel": np.ones((4, 3, 3, 3), np.float32), "weights": np.ones((4, 1), np.float32)}
graph = helper.make_graph(
    [
        helper.make_node("Conv", ["picture", "kernel"], ["sums"]),
        helper.make_node("GlobalAveragePool", ["sums"], ["means"]),
        helper.make_node("Flatten", ["means"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["answer"]),
    ],
    "trial",
    [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, 8, 8])],
    [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 1])],
    [numpy_helper.from_array(array, name) for name, array in constants.items()],
)
model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])
onnx.checker.check_model(model)
pathlib.Path(__file__).with_name("trial.onnx").write_bytes(model.SerializeToString())
