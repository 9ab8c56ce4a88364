"""Shares of the rows: those kept for validation, and the weights of classes."""

import numpy as np
import pytest
from models import Pass, compiled

import chainrule as cr


@pytest.mark.parametrize(("loss", "classes"), [("sigmoid_cross_entropy", (0, 1)), ("hinge", (-1, 1))])
def test_one_output_has_two_classes_also_where_the_data_has_one(loss, classes, rng):
    x, models = rng.normal(size=(20, 5)), []
    for class_weight in (dict.fromkeys(classes, 2.0), {classes[0]: 2.0}, None):
        model = compiled([cr.Dense(1)], loss=loss)
        model.fit(x, np.full(len(x), classes[0]), class_weight=class_weight)
        models.append(model.parameters.tobytes())
    assert models[0] == models[1] == models[2]  # the same weight for all rows is no weight


@pytest.mark.parametrize(
    ("split", "n"), [(0.29, 29), (0.57, 57), (0.58, 58), (0.295, 30), (0.07, 7), (0.001, 1), (1e-9, 1), (0.99, 99)]
)
def test_a_share_for_validation_is_the_number_that_it_says(split, n, rng):
    seen = []

    class Count(Pass):
        def forward(self, x, training=False):
            seen.append((training, len(x)))
            return super().forward(x, training)

    model = cr.Sequential([Count(), cr.Dense(1)])
    model.compile("sgd", "squared_error")
    model.fit(rng.normal(size=(100, 2)), np.zeros(100), batch_size=100, validation_split=split)
    assert seen == [(True, 100 - n), (False, n)]
