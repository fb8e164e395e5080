"""Where each format keeps its manifest; here, since readers of foreign files need only this.

The names of the files of a set are those that other libraries look for.
"""

from __future__ import annotations

#: A recorded spec, whose text has a limit of its own, and what is said of each tensor.
_SPEC_BYTES, _TENSOR_BYTES = 2**27, 2**13

#: The root attribute of an HDF5 file that holds the manifest.
MANIFEST_ATTRIBUTE = "kinit"
#: The manifest's file in a directory of tensors.
MANIFEST_FILE = "kinit.json"
#: Ends the name of the manifest's file beside an output that has no room for it.
SIDECAR_SUFFIX = ".kinit.json"
#: Of the metadata of an index of shards, the text that is the manifest.
INDEX_MANIFEST_KEY = "kinit"

#: The member of an `.npz` file that holds the manifest.
MANIFEST_MEMBER = "kinit.json"

#: In a directory, the only file of a model that is not cut, and the indexes of those that are.
SAFETENSORS_FILE = "model.safetensors"
SAFETENSORS_INDEX_FILE = "model.safetensors.index.json"
KERAS_INDEX_FILE = "model.weights.json"


def max_manifest_bytes(n_tensors: int) -> int:
    """Give the size beyond which no manifest of so many tensors is kinit's."""
    return _SPEC_BYTES + _TENSOR_BYTES * n_tensors
