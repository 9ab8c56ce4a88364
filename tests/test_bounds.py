"""The limits of elementwise errors stand in three places, for three readers; here they are held together."""

import re
from pathlib import Path

import bounds
import pytest

CSRC = Path(__file__).resolve().parent.parent / "csrc"


def measured():
    """name -> (float, double) of the table in csrc/kernels/README.md."""
    text = (CSRC / "kernels" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w+)(?: \(erf\))? \| (\d\.\d\d) \|.*\| (\d\.\d\d) \| \S+ \|$", text, re.MULTILINE)
    return {name: (float(single), float(double)) for name, single, double in rows}


def limits():
    """name -> (float, double) of csrc/tests/test_accuracy.c."""
    text = (CSRC / "tests" / "test_accuracy.c").read_text(encoding="utf-8")
    rows = re.findall(r'^ {4}\{"(\w+)", [01], CR_\w+, ([\d.]+), ([\d.]+),', text, re.MULTILINE)
    return {name: (float(single), float(double)) for name, single, double in rows}


def test_both_suites_have_the_same_limits():
    assert len(limits()) == 12
    assert {name: bounds.ULP[name] for name in limits()} == limits()


def test_they_are_those_measured():
    """For float exactly; for double, whose inputs are a sample, up to a tenth more."""
    assert measured().keys() == limits().keys()
    for name, (single, double) in measured().items():
        assert limits()[name][0] == single, name
        assert double < limits()[name][1] <= 1.1 * double, name


@pytest.mark.parametrize(("name", "function"), [("exponential", "exp"), ("elu", "expm1"), ("celu", "expm1")])
def test_what_is_another_function_has_its_limits(name, function):
    assert bounds.ULP[name] == bounds.ULP[function]


def test_the_others_measured():
    text = (CSRC / "kernels" / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    found = dict(re.findall(r"(selu|softsign|hard_sigmoid|hard_swish)(?: is off)? by (\d\.\d\d)", text))
    assert len(found) == 4
    assert {name: bounds.ULP[name][0] for name in found} == {name: float(error) for name, error in found.items()}
