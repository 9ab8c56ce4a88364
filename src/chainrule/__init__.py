"""chainrule: train and serve dense neural networks on CPUs, with the same bits on every machine."""

from . import (
    activations,
    callbacks,
    initializers,
    io,
    kernels,
    layers,
    losses,
    metrics,
    optimizers,
    schedules,
)
from ._core import VERSION as __version__
from .callbacks import Callback, Checkpoint, EarlyStopping, History, LambdaCallback
from .config import get_include, get_num_threads, num_threads, set_num_threads, show_config
from .gradient_check import GradientCheck, check_gradients
from .io import load
from .layers import Activation, BatchNorm, Dense, Dropout, Layer, LayerNorm
from .model import Sequential
from .optimizers import SGD, Adagrad, Adam, AdamW, RMSprop

__all__ = [
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "BatchNorm",
    "Callback",
    "Checkpoint",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "GradientCheck",
    "History",
    "LambdaCallback",
    "Layer",
    "LayerNorm",
    "RMSprop",
    "Sequential",
    "__version__",
    "activations",
    "callbacks",
    "check_gradients",
    "get_include",
    "get_num_threads",
    "initializers",
    "io",
    "kernels",
    "layers",
    "load",
    "losses",
    "metrics",
    "num_threads",
    "optimizers",
    "schedules",
    "set_num_threads",
    "show_config",
]


def __dir__() -> list[str]:
    return __all__  # what is for users; modules beside it are found where they are needed
