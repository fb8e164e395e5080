"""What people write without kinit, as whole programs; and the least that any program must do.

    python -m benchmarks.scripts.NAME OUT MODEL

Each makes the tensors of `benchmarks.models`, of the same scale and with other values, and prints
the seconds that it took after its imports.
"""
