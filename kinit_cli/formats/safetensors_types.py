"""What writer and reader share of safetensors: the types, and the limits of a header."""

from __future__ import annotations

#: The file begins with the header's length in so many bytes.
LENGTH_BYTES = 8
#: Longest header that the format's own library reads.
MAX_HEADER_BYTES = 100_000_000
#: The header's key that is no tensor.
METADATA_KEY = "__metadata__"
#: Of the metadata, the text that is kinit's manifest.
MANIFEST_KEY = "kinit"

#: Our names by the format's, in the order in which its library writes tensors: wider types first.
DTYPE_BY_CODE = {
    "U64": "uint64",
    "I64": "int64",
    "F64": "float64",
    "F32": "float32",
    "U32": "uint32",
    "I32": "int32",
    "BF16": "bfloat16",
    "F16": "float16",
    "U16": "uint16",
    "I16": "int16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
CODE_BY_DTYPE = {name: code for code, name in DTYPE_BY_CODE.items()}
