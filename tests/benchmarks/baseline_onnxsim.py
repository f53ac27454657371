"""Global magnitude pruning as onnxsim offers it: one call of its Python interface."""

import argparse

import onnx
import onnxsim  # type: ignore[import-not-found]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--sparsity", type=float, default=0.9)
    options = parser.parse_args()
    model = onnx.load(options.source)
    pruned = onnxsim.apply_magnitude_pruning(
        model, sparsity=options.sparsity, global_sparsity=True
    )
    onnx.save(pruned, options.target)
