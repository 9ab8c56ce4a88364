"""JAX: a compiled step for each call; inside fit a whole epoch as one compiled loop (lax.scan)."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import inputs
from ..cases import Case
from . import Run

Array = npt.NDArray[Any]


def missing() -> str | None:
    return None if importlib.util.find_spec("jax") else "jax is not installed"


def versions() -> dict[str, str]:
    import jax

    return {"jax": jax.__version__}


def prepare(case: Case, dtype: np.dtype[Any], threads: int) -> Run | None:
    if case.net is None:
        return None
    if threads == 1:  # read when the first array is made
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
    import jax

    jax.config.update("jax_platforms", "cpu")
    if dtype == np.float64:
        jax.config.update("jax_enable_x64", True)
    return _Predict(case, dtype) if case.op == "predict" else _Training(case, dtype)


def _forward(case: Case, weights: Any, x: Any) -> Any:
    import jax
    import jax.numpy as jnp

    assert case.net is not None
    functions = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "identity": lambda z: z}
    for i, name in enumerate(case.net.activations):
        x = functions[name](x @ weights[2 * i] + weights[2 * i + 1])
    return x


def _loss(case: Case, weights: Any, x: Any, y: Any) -> Any:
    import jax
    import jax.numpy as jnp

    prediction = _forward(case, weights, x)
    assert case.net is not None
    if case.net.takes_labels:
        picked = jnp.take_along_axis(jax.nn.log_softmax(prediction), y[:, None], axis=1)
        return -jnp.mean(picked)
    return jnp.mean((prediction - y) ** 2)


def _make_step(case: Case) -> Any:
    """step(state, x, y) -> (state, loss), state = (weights, m, v, number of steps)."""
    import jax
    import jax.numpy as jnp

    rate = inputs.LEARNING_RATE[case.optimizer]

    def step(state: Any, x: Any, y: Any) -> Any:
        weights, m, v, t = state
        loss, gradients = jax.value_and_grad(lambda w: _loss(case, w, x, y))(weights)
        if case.optimizer == "sgd":
            return ([w - rate * g for w, g in zip(weights, gradients, strict=True)], m, v, t), loss
        t = t + 1
        m = [0.9 * a + 0.1 * g for a, g in zip(m, gradients, strict=True)]
        v = [0.999 * a + 0.001 * g * g for a, g in zip(v, gradients, strict=True)]
        size, root = rate / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
        weights = [w - size * a / (jnp.sqrt(b) / root + 1e-8) for w, a, b in zip(weights, m, v, strict=True)]
        return (weights, m, v, t), loss

    return step


class _Training:
    """Steps one call each, or epochs one call each; the block ends when the last result is there."""

    def __init__(self, case: Case, dtype: np.dtype[Any]) -> None:
        import jax
        import jax.numpy as jnp

        self.case, self.start = case, inputs.weights(case, dtype)
        step = _make_step(case)
        self.step = jax.jit(step, donate_argnums=0)
        if case.op == "train_step":
            self.batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in inputs.batches(case, dtype)]
        else:
            x, y = map(jnp.asarray, inputs.rows(case, dtype, case.n_rows))
            self.order = np.empty(case.n_rows, np.int64)
            whole = case.n_rows // case.batch * case.batch

            def epoch(state: Any, order: Any) -> Any:
                state, _ = jax.lax.scan(
                    lambda s, rows: step(s, x[rows], y[rows]), state, order[:whole].reshape(-1, case.batch)
                )
                if whole < case.n_rows:  # a last, shorter batch
                    state, _ = step(state, x[order[whole:]], y[order[whole:]])
                return state

            self.epoch = jax.jit(epoch, donate_argnums=0)
        self.reset()

    def reset(self) -> None:
        import jax.numpy as jnp

        def zeros() -> list[Any]:
            return [jnp.zeros_like(w) for w in self.start] if self.case.optimizer == "adam" else []

        # array, not asarray: donated buffers must not be NumPy's
        self.state = ([jnp.array(w) for w in self.start], zeros(), zeros(), jnp.zeros((), self.start[0].dtype))
        self.epochs = 0

    def repeat(self, calls: int) -> None:
        import jax

        state = self.state
        if self.case.op == "train_step":
            step, batches = self.step, self.batches
            for _ in range(calls // len(batches)):
                for x, y in batches:
                    state, _ = step(state, x, y)
            for x, y in batches[: calls % len(batches)]:
                state, _ = step(state, x, y)
        else:
            for _ in range(calls):
                state = self.epoch(state, inputs.order(self.epochs, self.order).astype(np.int32))
                self.epochs += 1
        self.state = jax.block_until_ready(state)

    def results(self) -> list[Array]:
        return [np.asarray(w) for w in self.state[0]]


class _Predict:
    """Each call waits for its result."""

    def __init__(self, case: Case, dtype: np.dtype[Any]) -> None:
        import jax
        import jax.numpy as jnp

        self.weights = [jnp.array(w) for w in inputs.weights(case, dtype)]
        self.x = jnp.asarray(inputs.rows(case, dtype, case.batch)[0])
        self.call = jax.jit(lambda weights, x: _forward(case, weights, x))
        self.y: Any = None

    def reset(self) -> None:
        pass

    def repeat(self, calls: int) -> None:
        call, weights, x = self.call, self.weights, self.x
        for _ in range(calls):
            self.y = call(weights, x).block_until_ready()

    def results(self) -> list[Array]:
        return [np.asarray(self.y)]
