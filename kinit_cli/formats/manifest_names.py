"""Where each format keeps its manifest; here, since readers of foreign files need only this."""

from __future__ import annotations

#: The root attribute of an HDF5 file that holds the manifest.
MANIFEST_ATTRIBUTE = "kinit"
#: The manifest's file in a directory of tensors.
MANIFEST_FILE = "kinit.json"
#: Ends the name of the manifest's file beside an output that has no room for it.
SIDECAR_SUFFIX = ".kinit.json"
