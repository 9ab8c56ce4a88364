"""A model as data: a description that JSON can hold, and arrays. Files, pickles and copies come from it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import _core, initializers, layers, losses, optimizers, schedules
from .._checks import choose, integer
from .._describe import check_plain, is_known, rebuild
from .._describe import describe as describe_one
from ..layerwise import COUNTER_MAX, LayerByLayer
from ..model import Sequential
from ..run import Run

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

_RUN_DTYPES = ("float32", "float64", "int32", "int64", "uint8", "uint32", "uint64", "bool")

FORMAT = "chainrule-model"
VERSION = 2  # 1 had no models with Python layers and no runs

# What files name, and the classes that they may name there.
_LAYERS = {**layers.NATIVE, **initializers.CLASSES}
_OPTIMIZERS = {**optimizers.CLASSES, **schedules.CLASSES}

_KEYS = {
    "format", "version", "dtype", "seed", "n_in", "layers", "optimizer", "schedule", "loss", "metrics",
    "steps", "forwards",
}  # fmt: skip
_KEYS_2 = _KEYS | {"widths", "update_dtype", "run", "run_arrays"}


class MissingCode(ValueError):
    """The file is sound, but names Python code that was not given."""


def describe(
    model: Sequential, *, code: bool, include_optimizer: bool = True
) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    """Return (description, arrays, code): restore(*describe(model, ...)) is the same model.

    Parameters
    ----------
    code : bool
        Whether layer classes, and losses, metrics and schedules that are Python functions, may go into the third
        part, as they are. Else layer classes are left out, and functions are a TypeError.
    include_optimizer : bool
        False: the model as it was before `compile`, but with its weights; no run of `fit` either.
    """
    try:
        return _describe(model, code, include_optimizer)
    except TypeError as error:
        message = str(error).replace("be written to a file", "be copied, pickled or written to a file")
        if not code or message == str(error):
            raise
        raise TypeError(message) from error


def _describe(
    model: Sequential, code: bool, include_optimizer: bool
) -> tuple[dict[str, Any], dict[str, Array], dict[str, Any]]:
    objects: dict[str, Any] = {}
    own = {type(layer).__name__: type(layer) for layer in model.layers if not layers.is_native(layer)}
    if own and code:
        objects["layers"] = own
    description: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "dtype": model.dtype.name,
        "seed": model.seed,
        "n_in": model.n_in,
        "layers": [_describe_layer(layer, model.built, own) for layer in model.layers],
        "optimizer": None,
        "schedule": {},
        "loss": None,
        "metrics": [],
        "steps": 0,
        "forwards": 0,
        "widths": None,
        "update_dtype": model.dtype.name,
        "run": None,
        "run_arrays": [],
    }
    if include_optimizer:
        try:
            _describe_compiled(model, code, description, objects)
        except TypeError as error:
            hint = "" if code else "; include_optimizer=False leaves out how the model was compiled"
            raise TypeError(f"{error}{hint}") from error
    arrays: dict[str, Array] = {}
    engine = model._engine
    if engine is None:
        return description, arrays, objects
    for _ in range(_LOOKS):
        run, at = model._run, None if model._run is None else model._run.at
        arrays = _look(model, engine, description, model._states if include_optimizer else [])
        state = None if run is None or not include_optimizer else run.describe(model, description["steps"])
        if model._run is run and (run is None or run.at is at):
            break
    else:
        raise RuntimeError("this model is training in another thread, faster than it can be looked at")
    if state is not None:
        kept: list[Array] = []
        description["run"] = _without_arrays(state, kept, "a callback's state")
        description["run_arrays"] = [[array.dtype.name, list(array.shape)] for array in kept]
        arrays.update({f"run_{i}": array for i, array in enumerate(kept)})
    return description, arrays, objects


def _describe_compiled(model: Sequential, code: bool, description: dict[str, Any], objects: dict[str, Any]) -> None:
    """Fill in what `compile` set."""
    if model.loss is None or model.optimizer is None:
        return
    if code and not is_known(model.optimizer, _OPTIMIZERS):
        objects["optimizer"] = model.optimizer
    else:
        description["optimizer"] = describe_one(model.optimizer, _OPTIMIZERS)
    description["schedule"] = model.optimizer.schedule.state
    if code and isinstance(model.loss, losses.UserLoss):
        objects["loss"] = model.loss.function
    elif code and not is_known(model.loss, losses.CLASSES):
        objects["loss"] = model.loss
    elif isinstance(model.loss, losses.Loss):
        description["loss"] = describe_one(model.loss, losses.CLASSES)
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


# How often to look at a model that another thread trains: its run may come to the next epoch meanwhile.
_LOOKS = 100


def _look(
    model: Sequential, engine: _core.Network | LayerByLayer, description: dict[str, Any], states: list[Array]
) -> dict[str, Array]:
    """The arrays and counters of one moment between two steps."""
    if isinstance(engine, LayerByLayer):
        description["widths"], description["update_dtype"] = model._widths, engine.update_dtype.name
        parameters, running = [array for _, array in engine.parameters()], engine.running()
        with engine.alone:
            steps, forwards, copies, running = _core.snapshot(model, [*parameters, *states], running, engine.counters)
        n = len(parameters)
        parameters, states, running = [engine.flat(copies[:n])], copies[n:], [np.empty(0, model.dtype), *running]
    else:
        assert model._flat is not None
        steps, forwards, copies, running = _core.snapshot(model, [model._flat, *states], [model._running], engine)
        parameters, states = copies[:1], copies[1:]
    description["steps"], description["forwards"] = steps, forwards
    return {
        "parameters": parameters[0],
        "running": np.concatenate(running),
        **{f"state_{i}": state for i, state in enumerate(states)},
    }


def _without_arrays(value: Any, arrays: list[Array], what: str) -> Any:
    """`value` with {"array": i} in the place of array i, which is put into `arrays`."""
    if isinstance(value, np.ndarray):
        if value.dtype.name not in _RUN_DTYPES:
            raise TypeError(f"{what} cannot be written to a file: it has an array of dtype {value.dtype}")
        arrays.append(np.array(value, order="C"))
        return {"array": len(arrays) - 1}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(item, arrays, what) for item in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value) and set(value) != {"array"}:
        return {name: _without_arrays(item, arrays, what) for name, item in value.items()}
    return check_plain(value, what)


def _with_arrays(value: Any, arrays: list[Array]) -> Any:
    """What `_without_arrays` took apart."""
    if isinstance(value, list):
        return [_with_arrays(item, arrays) for item in value]
    if isinstance(value, dict):
        if set(value) == {"array"}:
            return arrays[integer(value["array"], "array", at_least=0, at_most=len(arrays) - 1)]
        return {name: _with_arrays(item, arrays) for name, item in value.items()}
    return value


def _describe_layer(layer: Any, built: bool, own: dict[str, Any]) -> dict[str, Any]:
    if not layers.is_native(layer):
        name = type(layer).__name__
        if own[name] is not type(layer):
            raise TypeError(f"the model has layers of two classes named {name}; rename one of them")
        config = layer.get_config()
        if not isinstance(config, dict):
            raise TypeError(f"get_config of {name} must return a dict, got {config!r}")
        return {"type": name, "config": check_plain(config, f"{name} with the configuration {config!r:.200}")}
    if isinstance(layer, layers.Dense) and built:
        # The weights exist: an initializer that a file cannot hold (an array, a function) is not needed now.
        names = ("weight_initializer", "bias_initializer")
        plain = layers.Dense(layer.units, layer.activation, use_bias=layer.use_bias, l1=layer.l1, l2=layer.l2)
        for name in names:
            initializer = getattr(layer, name)
            if type(initializer) in initializers.CLASSES.values():
                setattr(plain, name, initializer)
        layer = plain
    return describe_one(layer, _LAYERS)


def _make_layer(description: Any, index: int, own: Mapping[str, Any]) -> Any:
    if not isinstance(description, dict) or "config" not in description:
        layer = rebuild(description, _LAYERS, f"layer {index}")
        if any(isinstance(setting, initializers.Given) for setting in vars(layer).values()):
            raise ValueError(f"layer {index} has an array as an initializer, which cannot be written to a file")
        return layer
    name, config = description.get("type"), description["config"]
    if set(description) != {"type", "config"} or not isinstance(name, str) or not isinstance(config, dict):
        raise ValueError(f"layer {index} is not the description of a layer")
    if name not in own:
        raise MissingCode(
            f"layer {index} is of the class {name}, whose code is not in the file: give load(...,"
            f" custom_objects={{{name!r}: {name}}})"
        )
    return own[name](**config)


def restore(description: Any, arrays: dict[str, Array], code: dict[str, Any] | None = None) -> Sequential:
    """Make the model that `describe` saw; TypeError or ValueError if the description is not sound.

    Without arrays, a model that was built comes back unbuilt.
    """
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ValueError("not the description of a chainrule model")
    if description.get("version") not in (1, VERSION):
        raise ValueError(f"format version {description.get('version')} is not known to chainrule {_core.VERSION}")
    if set(description) != (_KEYS if description["version"] == 1 else _KEYS_2):
        raise ValueError("not the description of a chainrule model")
    if not isinstance(description["layers"], list):
        raise ValueError("layers must be a list")
    code = code or {}
    own = code.get("layers", {})
    model = Sequential(
        [_make_layer(layer, i, own) for i, layer in enumerate(description["layers"])],
        seed=integer(description["seed"], "seed", at_least=0, at_most=2**64 - 1),
        dtype=_dtype(description["dtype"], "dtype"),
    )
    optimizer = code.get("optimizer")
    if description["optimizer"] is not None:
        optimizer = rebuild(description["optimizer"], _OPTIMIZERS, "optimizer")
    if optimizer is not None:
        loss = code.get("loss")
        if description["loss"] is not None:
            loss = rebuild(description["loss"], losses.CLASSES, "loss")
        metrics = code["metrics"] if "metrics" in code else description["metrics"]
        model._compile(optimizer, loss, metrics, restart=False)
        if description["optimizer"] is not None:  # one that came as it is has its state, and may be the original's
            optimizer.schedule.state = description["schedule"]
        model._learning_rate_changed()
    if arrays:
        _fill(model, description, arrays)
    return model


def _dtype(name: Any, what: str) -> np.dtype[Any]:
    if name not in ("float32", "float64"):  # not by np.dtype(name), which makes too much of a stranger's text
        raise ValueError(f"{what} must be float32 or float64, got {name!r:.50}")
    return np.dtype(np.float32 if name == "float32" else np.float64)


def expected_arrays(description: dict[str, Any], code: dict[str, Any]) -> dict[str, tuple[np.dtype[Any], Shape]]:
    """Dtype and shape of each array that goes with a description, without making any of them.

    How many parameters Python layers have only their code knows: of `parameters` and the optimizer's states the
    shape is (-1,), any number, and `check_fits` says whether that number will do.
    """
    model = restore(description, {}, code)
    if description["n_in"] is None:
        return {}
    n_in = integer(description["n_in"], "n_in", at_least=1)
    update_dtype = _dtype(description.get("update_dtype", model.dtype.name), "update_dtype")
    if all(layers.is_native(layer) for layer in model.layers):
        if update_dtype != model.dtype:
            raise ValueError(f"update_dtype is {update_dtype}, expected {model.dtype}")
        n_parameters, n_running, _ = _core.measure(n_in, _specs(model.layers))
    else:
        n_parameters, n_running = -1, _measure_between(description, model)[1]
    result: dict[str, tuple[np.dtype[Any], Shape]] = {
        "parameters": (update_dtype, (n_parameters,)),
        "running": (model.dtype, (n_running,)),
    }
    if model.optimizer is not None:
        n_states = _core.optimizer_n_states(model.optimizer.core_spec())
        result.update({f"state_{i}": (update_dtype, (n_parameters,)) for i in range(n_states)})
    for i, kept in enumerate(description.get("run_arrays", [])):
        if not isinstance(kept, list) or len(kept) != 2 or not isinstance(kept[1], list):
            raise ValueError("run_arrays must hold pairs of a dtype and a shape")
        shape = tuple(integer(n, f"shape of run_{i}", at_least=0, at_most=2**62) for n in kept[1])
        result[f"run_{i}"] = (np.dtype(choose(kept[0], _RUN_DTYPES, f"dtype of run_{i}")), shape)
    return result


def check_fits(description: dict[str, Any], code: dict[str, Any], n_parameters: int) -> None:
    """ValueError if the native layers alone need more parameters than the file has, before they are made."""
    model = restore(description, {}, code)
    if not all(layers.is_native(layer) for layer in model.layers):
        needed = _measure_between(description, model)[0]
        if needed > n_parameters:
            raise ValueError(f"the layers need at least {needed} parameters, there are {n_parameters}")


def _measure_between(description: dict[str, Any], model: Sequential) -> tuple[int, int]:
    """Parameters and running statistics of the native layers, by the widths that the description claims."""
    widths = description["widths"]
    if not isinstance(widths, list) or len(widths) != len(model.layers) + 1:
        raise ValueError("widths must be a list of one width more than there are layers")
    if widths[0] != description["n_in"]:
        raise ValueError(f"widths begin with {widths[0]!r:.50}, n_in is {description['n_in']}")
    n_parameters = n_running = 0
    for layer, width in zip(model.layers, widths, strict=False):
        if layers.is_native(layer):
            own, running, _ = _core.measure(integer(width, "widths", at_least=1), _specs([layer]))
            n_parameters, n_running = n_parameters + own, n_running + running
    return n_parameters, n_running


def _specs(native: Sequence[Any]) -> list[_core.LayerSpec]:
    return [layer.core_spec() for layer in native]


def _fill(model: Sequential, description: dict[str, Any], arrays: dict[str, Array]) -> None:
    steps = integer(description["steps"], "steps", at_least=0, at_most=COUNTER_MAX)
    forwards = integer(description["forwards"], "forwards", at_least=0, at_most=COUNTER_MAX)
    model._build(description["n_in"], description.get("widths"))
    engine = model._engine
    assert engine is not None
    kept = [arrays[f"run_{i}"] for i in range(len(description.get("run_arrays", [])))]
    places = {f"state_{i}": [state] for i, state in enumerate(model._states)}
    if isinstance(engine, LayerByLayer):
        if engine.update_dtype.name != description["update_dtype"]:
            raise ValueError(f"update_dtype must be {engine.update_dtype}, got {description['update_dtype']}")
        places.update({"parameters": [array for _, array in engine.parameters()], "running": engine.running()})
    else:
        assert model._flat is not None
        places.update({"parameters": [model._flat], "running": [model._running]})
    if {*places, *(f"run_{i}" for i in range(len(kept)))} != set(arrays):
        raise ValueError(f"arrays {sorted(places)} are needed, got {sorted(arrays)}")
    for name, parts in places.items():
        n = sum(part.size for part in parts)
        if arrays[name].shape != (n,):
            raise ValueError(f"{name} must have shape ({n},), got {arrays[name].shape}")
        _core.copy_all(parts, LayerByLayer.shaped(arrays[name], parts))
    engine.set_counters(steps, forwards)
    if description.get("run") is not None:
        model._run = Run.restore(_with_arrays(description["run"], kept), steps)
