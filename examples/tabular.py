"""Tabular data: CSV text -> numbers -> standardised columns -> a classifier -> probabilities; saved and loaded."""

import csv
import io
import tempfile
from pathlib import Path

import numpy as np

import chainrule as cr

CITIES = ("Bergen", "Lyon", "Porto")


def made_up_csv(n=2000, seed=0):
    """Customers, and whether they bought: the young with money do, and in Lyon more than elsewhere."""
    rng = np.random.default_rng(seed)
    lines = ["age,income,city,bought"]
    for age, income, city in zip(rng.uniform(18, 80, n), rng.lognormal(10, 0.5, n), rng.choice(3, n), strict=True):
        score = 3 * np.log(income / 20_000) - (age - 45) / 10 + 2 * (city == 1)
        lines.append(f"{age:.0f},{income:.0f},{CITIES[city]},{int(score + rng.normal() > 1)}")
    return "\n".join(lines)


def table(text):
    """Features, with one column a city, and labels."""
    rows = list(csv.DictReader(io.StringIO(text)))
    numbers = np.array([[float(row["age"]), np.log(float(row["income"]))] for row in rows])
    cities = np.array([[row["city"] == city for city in CITIES] for row in rows], float)
    return np.hstack([numbers, cities]), np.array([int(row["bought"]) for row in rows])


def main():
    x, y = table(made_up_csv())
    n_train = len(x) * 3 // 4
    mean, scale = x[:n_train].mean(0), x[:n_train].std(0)  # of the rows to train on alone
    x = ((x - mean) / scale).astype(np.float32)

    model = cr.Sequential([cr.Dense(32, "relu"), cr.Dropout(0.1), cr.Dense(1)], seed=0)
    model.compile("adam", "sigmoid_cross_entropy", metrics=["accuracy", "roc_auc"])
    stop = cr.EarlyStopping(patience=10, restore_best_weights=True)
    model.fit(x[:n_train], y[:n_train], epochs=100, validation_split=0.2, callbacks=[stop], verbose=0)
    print("held out:", {name: round(value, 3) for name, value in model.evaluate(x[n_train:], y[n_train:]).items()})

    with tempfile.TemporaryDirectory() as folder:  # the model, and beside it what its columns were divided by
        model.save(Path(folder, "model.npz"))
        np.savez(Path(folder, "columns.npz"), mean=mean, scale=scale)
        same, columns = cr.load(Path(folder, "model.npz")), dict(np.load(Path(folder, "columns.npz")))
    new, _ = table("age,income,city,bought\n25,40000,Lyon,0\n70,15000,Porto,0")
    logits = same.predict(((new - columns["mean"]) / columns["scale"]).astype(np.float32))
    print("probability to buy:", [f"{p:.3f}" for p in cr.kernels.activation("sigmoid", logits)[:, 0]])


if __name__ == "__main__":
    main()
