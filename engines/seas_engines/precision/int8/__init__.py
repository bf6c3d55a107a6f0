"""Eight bits: what goes into a product, and its weights, as integers of one byte.

A layer is a convolution or matrix product with a weight. Its weight is stored as int8 with a scale for each
output channel, its input is rounded to int8 with one scale; both are symmetric, without a zero point, which
TensorRT asks for. Written down in ONNX as QuantizeLinear and DequantizeLinear, so that one graph serves ONNX
Runtime, OpenVINO, TensorRT and TensorRT-RTX. A layer whose input does not bear it keeps the input in float.

Own code, and no library: NNCF 3.4 was tried first (`benchmarks/int8.py --nncf`). It took minutes for the
step of `micro` alone with three inputs, with its defaults it ended in an error of its own, it adds
products for smoothing that run in every step, and it infers shapes with all weights in memory, which
beyond 2 GiB, as in Stable Diffusion's U-Net, gives an empty model. Here ranges are gathered while real
pairs are made, weights stay in their file, and which inputs stay in float is tried on whole pairs without
calibrating again.
"""
