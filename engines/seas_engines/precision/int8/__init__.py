"""Eight bits: what goes into a product, and its weights, as integers of one byte.

A layer is a convolution or matrix product with a weight. Its weight is stored as int8 with a scale for each
output channel, its input is rounded to int8 with one scale; both are symmetric, without a zero point, which
TensorRT asks for. Written down in ONNX as QuantizeLinear and DequantizeLinear, so that one graph serves ONNX
Runtime, OpenVINO, TensorRT and TensorRT-RTX. A layer whose input does not bear it keeps the input in float.

Own code, and no library, for measured reasons (`benchmarks/int8.py --nncf`): NNCF 3.4 takes a model's weights
inside one protobuf message, which ends at 2 GiB where Stable Diffusion's U-Net has 3.4, and it gathers its
statistics of a graph that it is given inputs for. Here they are gathered while real pairs are made, weights
stay in their file, and which inputs stay in float is tried on whole pairs without calibrating again.
"""
