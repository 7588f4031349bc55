"""HorNet as an ONNX graph over weights that lie in the checkpoint itself."""
