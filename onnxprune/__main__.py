"""Lets `python -m onnxprune`, and torchrun, run the command line."""

import sys

from onnxprune.cli import main

if __name__ == "__main__":
    sys.exit(main())
