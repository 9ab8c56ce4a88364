"""A model as data: a description that JSON can hold, and arrays. Files, pickles and copies come from it."""

from typing import Any

import numpy.typing as npt

from .. import _core, initializers, layers, losses, optimizers, schedules
from .._checks import integer, real_dtype
from .._describe import describe as describe_one
from .._describe import rebuild
from ..layerwise import LayerByLayer
from ..model import Sequential

Array = npt.NDArray[Any]

FORMAT = "chainrule-model"
VERSION = 1

_KEYS = {
    "format", "version", "dtype", "seed", "n_in", "layers", "optimizer", "schedule", "loss", "metrics",
    "steps", "forwards",
}  # fmt: skip


def describe(model: Sequential, *, code: bool) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    """Return (description, arrays, code): restore(*describe(model, ...)) is the same model.

    Parameters
    ----------
    code : bool
        Whether losses, metrics and schedules that are Python functions may go into the third part, as they
        are; else they are a TypeError.
    """
    if isinstance(model._engine, LayerByLayer) or not all(layers.is_native(layer) for layer in model.layers):
        raise TypeError(
            "a model with layers written in Python cannot be saved, pickled or copied; keep get_weights() instead"
        )
    objects: dict[str, Any] = {}
    description: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "dtype": model.dtype.name,
        "seed": model.seed,
        "n_in": model.n_in,
        "layers": [_describe_layer(layer, model.built) for layer in model.layers],
        "optimizer": None,
        "schedule": {},
        "loss": None,
        "metrics": [],
        "steps": 0,
        "forwards": 0,
    }
    if model.loss is not None and model.optimizer is not None:
        if code and isinstance(model.optimizer.schedule, schedules.Custom):
            objects["optimizer"] = model.optimizer
        else:
            description["optimizer"] = describe_one(model.optimizer)
        description["schedule"] = model.optimizer.schedule.state
        if code and isinstance(model.loss, losses.UserLoss):
            objects["loss"] = model.loss.function
        elif isinstance(model.loss, losses.Loss):
            description["loss"] = describe_one(model.loss)
        else:
            raise TypeError(f"the loss {model.loss.name} is a Python function, which cannot be written to a file")
        settings = [metric.setting for metric in model.metrics]
        functions = [setting for setting in settings if callable(setting)]
        if functions and not code:
            raise TypeError(f"the metric {functions[0]!r} is a Python function, which cannot be written to a file")
        if functions:
            objects["metrics"] = settings
        else:
            description["metrics"] = [list(s) if isinstance(s, tuple) else s for s in settings]
    arrays: dict[str, Array] = {}
    if model._engine is not None:
        assert model._flat is not None
        description["steps"], description["forwards"] = model._engine.steps, model._engine.forwards
        arrays = {"parameters": model._flat.copy(), "running": model._running.copy()}
        arrays.update({f"state_{i}": state.copy() for i, state in enumerate(model._states)})
    return description, arrays, objects


def _describe_layer(layer: Any, built: bool) -> dict[str, Any]:
    if isinstance(layer, layers.Dense) and built:
        # The weights exist: an initializer that a file cannot hold (an array, a function) is not needed now.
        own = (layer.weight_initializer, layer.bias_initializer)
        names = ("weight_initializer", "bias_initializer")
        plain = layers.Dense(layer.units, layer.activation, use_bias=layer.use_bias, l1=layer.l1, l2=layer.l2)
        for name, initializer in zip(names, own, strict=True):
            if type(initializer) in initializers.CLASSES.values():
                setattr(plain, name, initializer)
        layer = plain
    return describe_one(layer)


def restore(description: Any, arrays: dict[str, Array], code: dict[str, Any] | None = None) -> Sequential:
    """Make the model that `describe` saw; TypeError or ValueError if the description is not sound.

    Without arrays, a model that was built comes back unbuilt.
    """
    if not isinstance(description, dict) or set(description) != _KEYS or description["format"] != FORMAT:
        raise ValueError("not the description of a chainrule model")
    if description["version"] != VERSION:
        raise ValueError(f"format version {description['version']} is not known to chainrule {_core.VERSION}")
    if not isinstance(description["layers"], list):
        raise ValueError("layers must be a list")
    code = code or {}
    classes: dict[str, Any] = {**layers.NATIVE, **initializers.CLASSES}
    model = Sequential(
        [rebuild(layer, classes, f"layer {i}") for i, layer in enumerate(description["layers"])],
        seed=integer(description["seed"], "seed", at_least=0, at_most=2**64 - 1),
        dtype=real_dtype(description["dtype"]),
    )
    optimizer = code.get("optimizer")
    if description["optimizer"] is not None:
        optimizer = rebuild(description["optimizer"], {**optimizers.CLASSES, **schedules.CLASSES}, "optimizer")
    if optimizer is not None:
        loss = code.get("loss")
        if description["loss"] is not None:
            loss = rebuild(description["loss"], losses.CLASSES, "loss")
        model.compile(optimizer, loss, code["metrics"] if "metrics" in code else description["metrics"])
        optimizer.schedule.state = description["schedule"]
        model._learning_rate_changed()
    if arrays:
        _fill(model, description, arrays)
    return model


def expected_sizes(description: dict[str, Any]) -> dict[str, int]:
    """Number of elements of each array that goes with a description, without making any of them."""
    model = restore(description, {})
    if description["n_in"] is None:
        return {}
    n_in = integer(description["n_in"], "n_in", at_least=1)
    n_parameters, n_running, _ = _core.measure(n_in, [layer.core_spec() for layer in model.layers])  # type: ignore[attr-defined]
    sizes = {"parameters": n_parameters, "running": n_running}
    if model.optimizer is not None:
        n_states = _core.optimizer_n_states(model.optimizer.core_spec())
        sizes.update({f"state_{i}": n_parameters for i in range(n_states)})
    return sizes


def _fill(model: Sequential, description: dict[str, Any], arrays: dict[str, Array]) -> None:
    model.build(description["n_in"])
    assert model._engine is not None and model._flat is not None
    places = {"parameters": model._flat, "running": model._running}
    places.update({f"state_{i}": state for i, state in enumerate(model._states)})
    if set(places) != set(arrays):
        raise ValueError(f"arrays {sorted(places)} are needed, got {sorted(arrays)}")
    for name, place in places.items():
        if arrays[name].shape != place.shape or arrays[name].dtype != place.dtype:
            raise ValueError(f"{name} must be {place.dtype} of shape {place.shape}, got {arrays[name].shape}")
    for name, place in places.items():
        place[...] = arrays[name]
    limit = 2**64 - 1
    steps = integer(description["steps"], "steps", at_least=0, at_most=limit)
    forwards = integer(description["forwards"], "forwards", at_least=0, at_most=limit)
    model._engine.set_counters(steps, forwards)
