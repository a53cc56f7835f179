"""Checkpoints: weights with all that is needed to use them, written atomically.

A checkpoint is a dictionary of tensors and plain Python values that `torch.load` reads with
`weights_only=True`, so that no file can run code. It rebuilds the model by itself: it carries the
configuration, the grid, the wet mask and the statistics beside the weights. A resumable one, which
training leaves, also carries the state of the training. `export` writes the weights and what they
need as a `.safetensors` file, which every function here reads as well.
"""

from hybridom.checkpoint.atomic import replace_atomically
from hybridom.checkpoint.contents import FORMAT, load, pack, save, weights_of
from hybridom.checkpoint.describe import describe
from hybridom.checkpoint.model import (
    LoadedModel,
    assemble,
    digest,
    export,
    load_model,
    restore_weights,
)

__all__ = [
    "FORMAT",
    "LoadedModel",
    "assemble",
    "describe",
    "digest",
    "export",
    "load",
    "load_model",
    "pack",
    "replace_atomically",
    "restore_weights",
    "save",
    "weights_of",
]
