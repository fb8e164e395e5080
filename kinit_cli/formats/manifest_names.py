"""Where each format keeps its manifest; here, since readers of foreign files need only this.

The names of the files of a set are those that other libraries look for.
"""

from __future__ import annotations

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
