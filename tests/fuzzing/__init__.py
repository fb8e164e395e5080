"""Fuzzing: what must hold for any input at all, tried on seeds that were changed in many ways.

`seeds` makes sound and odd files, `mutations` changes them with their structure in mind, `targets`
does with an input what kinit does, and `worker` runs a target in a process that is watched: its
memory, its time, the files it opens, the code it runs. `harness` is what the tests call.
"""
