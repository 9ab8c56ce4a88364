"""What all layers share: the base for users' layers, and the base of those that C knows."""

import math
import weakref
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from . import _arrays, _core, initializers
from ._checks import real_dtype, require_held, width
from ._checks import seed as as_seed
from ._data import matrix
from ._describe import Fixed, arguments

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


class Layer:
    """Base of layers that users write in Python; they mix freely with chainrule's own.

    Write `forward` and `backward`; with parameters or another width also `build`, which fills `parameters`
    and `gradients`, lists of arrays of equal shapes. `backward` may write into the arrays in `gradients` or
    put new ones there. A layer that is not a pure function of x and its parameters makes training
    irreproducible; that is up to you.

    Attributes
    ----------
    dtype : numpy.dtype
        The model's, set before `build` is called.
    parameters, gradients : list of ndarray
        Float arrays, C-contiguous.

    Examples
    --------
    >>> import chainrule as cr
    >>> class Double(cr.Layer):
    ...     def forward(self, x, training=False):
    ...         return 2 * x
    ...     def backward(self, dy):
    ...         return 2 * dy
    >>> model = cr.Sequential([cr.Dense(3), Double()])
    """

    dtype: np.dtype[Any] = np.dtype(np.float32)
    parameters: list[Array]
    gradients: list[Array]
    _owner: "weakref.ref[Any] | None"

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        # Here and not in __init__, which subclasses forget to call.
        layer = super().__new__(cls)
        layer.parameters, layer.gradients, layer._owner = [], [], None
        return layer

    def build(self, n_in: int) -> int:
        """Make the parameters for inputs of `n_in` features and return the number of outputs."""
        return n_in

    def forward(self, x: Array, training: bool = False) -> Array:
        """Return the output, (n_rows, n_out)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method forward(x, training=False)")

    def backward(self, dy: Array) -> Array:
        """Write `gradients` and return dx, (n_rows, n_in)."""
        raise NotImplementedError(f"{type(self).__name__} needs a method backward(dy)")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, for files and copies: values as JSON has them.

        Unless overridden, each is read from the attribute of the same name. The parameters are kept beside them;
        whatever else a layer holds is not.

        Raises
        ------
        TypeError
            If there is no such attribute.
        """
        return arguments(self)

    def _claim(self, owner: Any) -> None:
        """Give the layer to a model; ValueError if it has one already."""
        present = self._owner() if self._owner is not None else None
        if present is not None or self.parameters:
            where = "this model" if present is owner else "another model" if present else "use on its own"
            raise ValueError(
                f"a {type(self).__name__} layer is already in {where}; layers hold weights, make a new one"
            )
        self._owner = weakref.ref(owner)


class View:
    """An array of a layer under its name: reading gives the view, assigning copies into it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, layer: "NativeLayer | None", owner: type) -> Any:
        if layer is None:
            return self
        if not layer._built:
            raise AttributeError(f"{owner.__name__} has no {self._name} before it is built")
        return layer._views.get(self._name)

    def __set__(self, layer: "NativeLayer", value: npt.ArrayLike) -> None:
        view = self.__get__(layer, type(layer))
        if view is None:
            raise ValueError(f"{self._name} cannot be set: {layer!r} has none")
        array = _arrays.real(self._name, value)
        if array.shape != view.shape:
            raise ValueError(f"{self._name} must have shape {view.shape}, got {array.shape}")
        values = _arrays.held(self._name, array, view.dtype)
        model = layer._owner() if layer._owner is not None else None
        if model is None:
            _core.copy_all([view], [values])
        else:
            with model._alone:
                _core.copy_all([view], [values], model._network)


class NativeLayer(Fixed, Layer):
    """Base of the layers that the C library knows."""

    n_in: int
    n_out: int
    dtype: np.dtype[Any]
    parameters: list[Array]
    gradients: list[Array]
    _built = False
    _kind: ClassVar[str]
    _parameter_names: ClassVar[tuple[str, ...]] = ()
    _running_names: ClassVar[tuple[str, ...]] = ()

    def _instead(self) -> str | None:
        return "a model of it" if self._built else None

    def core_spec(self) -> _core.LayerSpec:
        """This layer as the compiled core takes it."""
        return _core.LayerSpec(kind=_core.LAYERS[self._kind])

    def build(self, n_in: int, *, seed: Any = 0, dtype: Any = np.float32) -> int:
        """Make the parameters of a layer used on its own; layers of a model are built by the model.

        Parameters
        ----------
        n_in : int
            Number of input features.
        seed : int, default=0
            Of the first values and of dropout masks.
        dtype : {"float32", "float64"}

        Returns
        -------
        int
            Number of outputs.
        """
        if self._owner is not None:
            raise ValueError(f"this {type(self).__name__} layer belongs to a model; build the model")
        with _core.StandardMode():
            return self._build(width(n_in, "n_in"), as_seed(seed), real_dtype(dtype), 0, 0)

    def _build(self, n_in: int, seed: int, dtype: np.dtype[Any], index: int, first_parameter: int) -> int:
        """Build with arrays of the layer's own."""
        n_parameters, n_running, _ = _core.measure(n_in, [self.core_spec()])
        arrays = [aligned(n, dtype) for n in (n_parameters, n_parameters, n_running)]
        self._attach(n_in, dtype, seed, index, *arrays)
        self._initialize(first_parameter)
        return self.n_out

    def _attach(
        self,
        n_in: int,
        dtype: np.dtype[Any],
        seed: int,
        index: int,
        values: Array,
        gradients: Array,
        running: Array,
    ) -> None:
        """Take flat arrays as the place of this layer's parameters, gradients and running statistics."""
        self._require_held(dtype)
        self.n_in, self.n_out, self.dtype = n_in, self._measure(n_in), dtype
        self._seed, self._index, self._forwards = seed, index, 0
        self._flat, self._flat_gradient = values, gradients
        self._views: dict[str, Array] = {}
        self._saved: Any = None
        for names, suffix, flat in (
            (self._parameter_names, "", values),
            (self._parameter_names, "_gradient", gradients),
            (self._running_names, "", running),
        ):
            start = 0
            for name in names:
                shape = self._shape(name)
                if shape is not None:
                    stop = start + math.prod(shape)
                    self._views[name + suffix] = flat[start:stop].reshape(shape)
                    start = stop
        present = [name for name in self._parameter_names if name in self._views]
        self.parameters = [self._views[name] for name in present]
        self.gradients = [self._views[name + "_gradient"] for name in present]
        self._built = True

    def _require_held(self, dtype: np.dtype[Any]) -> None:
        """ValueError if a setting is not in its range as a number of `dtype`."""
        spec, activation = self.core_spec(), getattr(self, "activation", None)
        if activation is not None:
            activation.require_held(dtype)
        for name in ("l1", "l2", "epsilon"):
            value, above_zero = getattr(spec, name), name == "epsilon"
            require_held(value, f"{name} of {type(self).__name__}", dtype, above_zero=above_zero)

    def _initialize(self, first_parameter: int) -> None:
        """Write the first values; parameter i of the layer draws from stream first_parameter + i."""
        present = [name for name in self._parameter_names if name in self._views]
        for i, name in enumerate(present):
            random = initializers.Random(self._seed, first_parameter + i)
            view = self._views[name]
            view[...] = initializers.make(self._initializer(name), view.shape, random, f"{name}_initializer")
        for name in self._running_names:
            self._views[name][...] = 1.0 if name == "running_variance" else 0.0

    def _running(self) -> list[Array]:
        return [self._views[name] for name in self._running_names]

    def _measure(self, n_in: int) -> int:
        return n_in

    def _shape(self, name: str) -> Shape | None:
        return (self.n_in,)

    def _initializer(self, name: str) -> Any:
        return initializers.Constant(1.0 if name == "gamma" else 0.0)

    def _input(self, x: Any) -> Array:
        if not self._built:
            raise RuntimeError(f"this {type(self).__name__} layer is not built; call build(n_in), or use it in a model")
        array = np.asarray(x)
        if array.ndim == 2 and array.shape[1] != self.n_in:
            raise ValueError(f"x has {array.shape[1]} features, the layer was built for {self.n_in}")
        return matrix(array, self.dtype, self.n_in)

    def _output_gradient(self, dy: Any) -> Array:
        """Check `dy` against the last forward."""
        if not self._built or self._saved is None:
            raise RuntimeError(f"backward of {type(self).__name__} needs a forward before it")
        shape = (len(self._saved[0]), self.n_out)
        if np.shape(dy) != shape:
            raise ValueError(f"dy must have the shape {shape} of the last forward's output, got {np.shape(dy)}")
        return matrix(dy, self.dtype, self.n_out, "dy")


def aligned(n: int, dtype: np.dtype[Any]) -> Array:
    """Return n zeros that start on a page of 4 KiB.

    Parameters and states that one loop walks through then lie a multiple of 4 KiB apart. A little more than that, and
    processors, which compare the low 12 bits of addresses, take each load for one of what was just stored and wait
    (Adam: 0.28 ns a parameter, 0.34 to 0.6 at 64 to 128 bytes more).
    """
    block = np.zeros(n * dtype.itemsize + 4096, np.uint8)
    start = -block.ctypes.data % 4096
    return block[start : start + n * dtype.itemsize].view(dtype)
