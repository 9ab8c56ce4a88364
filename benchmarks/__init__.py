"""The benchmark room: kernels and whole training runs, chainrule against its rivals. See README.md here."""
