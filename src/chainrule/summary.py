"""A model as a table."""

from typing import TYPE_CHECKING

from .layers import Activation, Dense, Dropout

if TYPE_CHECKING:
    from .layers import Layer
    from .model import Sequential


def summary(model: "Sequential") -> str:
    """Return a table of layers, output widths and numbers of parameters."""
    rows = [("", "layer", "output", "parameters")]
    total = 0
    widths = model._widths
    for index, layer in enumerate(model.layers):
        n = sum(array.size for array in layer.parameters)
        total += n
        width = f"(n, {widths[index + 1]})" if widths else "not built"
        rows.append((str(index), _title(layer), width, f"{n:,}" if widths else "-"))
    sizes = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        f"{row[0]:>{sizes[0]}}  {row[1]:<{sizes[1]}}  {row[2]:>{sizes[2]}}  {row[3]:>{sizes[3]}}".rstrip()
        for row in rows
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    if widths:
        size = total * model.dtype.itemsize
        lines.append(f"inputs {widths[0]}, parameters {total:,} ({size / 1024:,.1f} KiB as {model.dtype})")
    else:
        lines.append(f"not built yet, dtype {model.dtype}: build(n_in) or fit makes the weights")
    return "\n".join(lines)


def _title(layer: "Layer") -> str:
    name = type(layer).__name__
    if isinstance(layer, Dense):
        return f"{name} {layer.activation.name}"
    if isinstance(layer, Activation):
        return f"{name} {layer.name}"
    if isinstance(layer, Dropout):
        return f"{name} {layer.rate:g}"
    return name
