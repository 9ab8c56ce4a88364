"""Many Python threads at once, each with a model of its own and all with one shared; run by free_threaded.py."""

import sys
import threading

import numpy as np

import chainrule as cr

N_THREADS, N_EPOCHS, N_ROWS = 16, 20, 96


def data(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((N_ROWS, 12), dtype=np.float32)
    return x, rng.standard_normal((N_ROWS, 3), dtype=np.float32)


def trained(seed: int) -> cr.Sequential:
    model = cr.Sequential([cr.Dense(24, "tanh"), cr.Dropout(0.2), cr.Dense(3)], seed=seed)
    model.compile(optimizer=cr.Adam(), loss="squared_error")
    model.fit(*data(seed), epochs=N_EPOCHS, batch_size=16, verbose=0)
    return model


def main() -> int:
    alone = [trained(seed).predict(data(seed)[0]) for seed in range(N_THREADS)]
    shared = trained(0)
    wrong: list[str] = []
    start = threading.Barrier(N_THREADS)

    def work(seed: int) -> None:
        start.wait()
        if not np.array_equal(trained(seed).predict(data(seed)[0]), alone[seed]):
            wrong.append(f"thread {seed} trained another model than a program with one thread")
        for _ in range(200):
            if not np.array_equal(shared.predict(data(0)[0]), alone[0]):
                wrong.append(f"thread {seed} got another prediction from the shared model")
                return

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(N_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print("\n".join(wrong) or f"GIL {'on' if gil else 'off'}; {N_THREADS} threads at once, the bits of one alone")
    return 1 if wrong or gil else 0


if __name__ == "__main__":
    sys.exit(main())
