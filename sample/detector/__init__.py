"""A tiny detector for the drawn street.

The flow, file by file: `examples` draws pools of frames and cuts augmented crops from them, `network` is the net and
how its outputs become boxes, `loss` says which position answers for which object, and `export` writes the ONNX file.
"""
