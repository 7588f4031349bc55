"""The names that torch writes into a checkpoint: storage types, element types, rebuilding.

Source: torch/storage.py, torch/_utils.py, torch/_tensor.py of torch 2.13.
"""

from __future__ import annotations

from typing import Final

MAGIC: Final = 0x1950A86A20F9469CFC6C  # the first pickle of a legacy file

# Storage types by name -> (torch name of the element type, bytes of an element).
STORAGE_TYPES: Final = {
    "DoubleStorage": ("float64", 8),
    "FloatStorage": ("float32", 4),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "LongStorage": ("int64", 8),
    "IntStorage": ("int32", 4),
    "ShortStorage": ("int16", 2),
    "CharStorage": ("int8", 1),
    "ByteStorage": ("uint8", 1),
    "BoolStorage": ("bool", 1),
    "ComplexDoubleStorage": ("complex128", 16),
    "ComplexFloatStorage": ("complex64", 8),
    "QInt8Storage": ("qint8", 1),
    "QInt32Storage": ("qint32", 4),
    "QUInt8Storage": ("quint8", 1),
    "QUInt4x2Storage": ("quint4x2", 1),
    "QUInt2x4Storage": ("quint2x4", 1),
    "UntypedStorage": ("uint8", 1),
}
STORAGE_MODULES: Final = frozenset({"torch", "torch.cuda", "torch.storage"})

# Attributes of the module torch that are plain values: element types, quantisation schemes.
_ATTRIBUTE_NAMES = (
    "float64 float32 float16 bfloat16 double float half",
    "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2",
    "int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool long int short",
    "complex32 complex64 complex128 cfloat cdouble chalf",
    "qint8 qint32 quint8 quint4x2 quint2x4 bits8 bits16 bits1x8 bits2x4 bits4x2",
    "per_tensor_affine per_tensor_symmetric per_channel_affine per_channel_symmetric",
    "per_channel_affine_float_qparams",
    "strided sparse_coo sparse_csr sparse_csc sparse_bsr sparse_bsc",
    "contiguous_format channels_last preserve_format",
)
ATTRIBUTE_NAMES: Final = frozenset(name for line in _ATTRIBUTE_NAMES for name in line.split())

# Calls that give a tensor of a kind that is not read -> what completes "a … tensor".
REFUSED_CALLS: Final = {
    "torch._utils._rebuild_sparse_tensor": "sparse",
    "torch._utils._rebuild_sparse_csr_tensor": "sparse",
    "torch._utils._rebuild_qtensor": "quantised",
    "torch._utils._rebuild_nested_tensor": "nested",
    "torch._utils._rebuild_meta_tensor_no_storage": "meta (shape only, no values)",
    "torch._utils._rebuild_wrapper_subclass": "wrapper-subclass",
    "torch._utils._rebuild_xla_tensor": "device-specific",
    "torch._utils._rebuild_device_tensor_from_numpy": "device-specific",
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": "device-specific",
}
