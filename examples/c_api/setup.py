"""Build both examples: python setup.py build_ext --inplace"""

from Cython.Build import cythonize
from setuptools import Extension, setup

import chainrule

include = [chainrule.get_include()]
setup(
    name="chainrule-c-api-examples",
    ext_modules=[
        *cythonize([Extension("rollout", ["rollout.pyx"], include_dirs=include)]),
        Extension("classify", ["classify.c"], include_dirs=include),
    ],
)
