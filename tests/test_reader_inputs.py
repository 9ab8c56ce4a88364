"""The fuzzer of the reader of model files gets past the checks that stand before what it is to try."""

import importlib.util
import json
import random
from pathlib import Path

import pytest
from models import counts

PATH = Path(__file__).resolve().parent.parent / "tools" / "reader_inputs.py"


@pytest.fixture(scope="module")
def inputs():
    spec = importlib.util.spec_from_file_location("reader_inputs", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_seeds_load_as_what_they_describe(inputs, tmp_path):
    seeds, sound = inputs.seeds(tmp_path)
    for name, data in seeds.items():
        model = inputs.check(inputs.contents(data, sound), tmp_path / "model.npz")
        assert model is not None, name
        if name.startswith("description"):
            description = json.loads(data[1:])
            assert (model.n_in, model._run is None) == (description["n_in"], description["run"] is None)
    assert {data[0] for data in seeds.values()} == {inputs.WHOLE, inputs.DESCRIPTION, inputs.ARRAY}


@counts(500, 20_000)
def test_changed_descriptions_become_built_models(count, inputs, tmp_path):
    """Arrays follow the description: else the reader would end at the first one that has not the size described."""
    seeds, _ = inputs.seeds(tmp_path)
    descriptions = [json.loads(data[1:]) for name, data in seeds.items() if name.startswith("description")]
    wider = [{**one, "n_in": 7, "widths": one["widths"] and [7, *one["widths"][1:]]} for one in descriptions]
    others, draw = [*inputs.PLAIN, *inputs.parts(descriptions)], random.Random(count)
    for one in wider:
        assert inputs.check(inputs.around(json.dumps(one)), tmp_path / "model.npz").n_in == 7
    built = runs = 0
    for _ in range(count):
        text = json.dumps(inputs.changed(draw.choice(descriptions), others, draw))
        model = inputs.check(inputs.around(text), tmp_path / "model.npz")
        if model is not None and model.built:
            built, runs = built + 1, runs + (model._run is not None)
    print(f"{count} changed descriptions, {built} of them built models, {runs} with a run")
    assert built > count / 10 and runs > count / 50
