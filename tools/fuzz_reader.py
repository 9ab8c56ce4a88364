"""Fuzz the reader of model files, guided by coverage: python tools/fuzz_reader.py [seconds, default 20]

Wants the installed package and `pip install atheris`. What it tries and what must hold: reader_inputs.py. A find is
left in the folder it prints, as crash-*, oom-* or timeout-*.
"""

import contextlib
import json
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["chainrule", "zipfile"]):
    import chainrule.io.file  # noqa: F401, I001 - saving and loading would import it too late
    import reader_inputs


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    folder = Path(tempfile.mkdtemp(prefix="fuzz-reader-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    seeds, sound = reader_inputs.seeds(folder)
    for name, data in seeds.items():
        (corpus / name).write_bytes(data)
    descriptions = [json.loads(data[1:]) for name, data in seeds.items() if name.startswith("description")]
    others = [*reader_inputs.PLAIN, *reader_inputs.parts(descriptions)]
    words = {word for word in json.dumps(descriptions).split('"') if word.replace("_", "").isalnum()}
    (folder / "words").write_text("".join(f'"\\"{word}\\""\n' for word in sorted(words)))
    print(f"finds, if any: {folder}/crash-*, oom-* or timeout-*")
    options = {
        "max_total_time": seconds, "max_len": 4096, "timeout": 600, "rss_limit_mb": 600, "malloc_limit_mb": 200,
        "dict": folder / "words", "artifact_prefix": f"{folder}/", "print_final_stats": 1, "verbosity": 0,
        "mutate_depth": 2,
    }  # fmt: skip
    arguments = [sys.argv[0], *(f"-{name}={value}" for name, value in options.items()), str(corpus)]

    def one_input(data):
        reader_inputs.check(reader_inputs.contents(data, sound), folder / "model.npz")

    def mutated(data, max_size, seed):
        """Most changes of bytes leave no JSON: a description is mostly changed in what it says."""
        draw = random.Random(seed)
        if data and data[0] == reader_inputs.DESCRIPTION and draw.random() < 0.9:
            with contextlib.suppress(ValueError, RecursionError):
                text = json.dumps(reader_inputs.changed(json.loads(data[1:]), others, draw)).encode()
                if len(text) < max_size:
                    return data[:1] + text
        return atheris.Mutate(data, max_size)

    atheris.Setup(arguments, one_input, custom_mutator=mutated)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
