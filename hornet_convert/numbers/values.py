"""A look at a tensor's values as its bytes pass: finite or not, zero or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hornet_convert.checkpoint.tensors import DType

if TYPE_CHECKING:
    import numpy as np

# Where numpy has no such type: the unsigned view, the bits that are all set in a value that is not
# finite, and the bits that are not the sign.
_BIT_PATTERNS: Final = {
    "BF16": ("<u2", 0x7F80, 0x7FFF),
    "F8_E5M2": ("u1", 0x7C, 0x7F),
    "F8_E4M3": ("u1", 0x7F, 0x7F),
}
_NUMPY: Final = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}


class ValueCheck:
    """Collects, piece by piece, whether a tensor is finite everywhere and zero everywhere.

    Pieces hold whole elements, dense and little-endian. Integers and booleans are always finite.
    """

    def __init__(self, dtype: DType) -> None:
        self._code = dtype.code
        self.finite = True
        self.zero = True

    def update(self, data: memoryview) -> None:
        """Look at the next piece."""
        import numpy as np

        if self._code in _NUMPY:
            values = np.frombuffer(data, _NUMPY[self._code])
            self.finite = self.finite and bool(np.isfinite(values).all())
            self.zero = self.zero and not values.any()
        elif self._code in _BIT_PATTERNS:
            kind, exponent, magnitude = _BIT_PATTERNS[self._code]
            bits: np.ndarray[Any, np.dtype[Any]] = np.frombuffer(data, kind)
            self.finite = self.finite and not ((bits & exponent) == exponent).any()
            self.zero = self.zero and not (bits & magnitude).any()
        else:
            self.zero = self.zero and not np.frombuffer(data, "u1").any()
