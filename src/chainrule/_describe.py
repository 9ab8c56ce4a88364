"""Settings as data: an object of ours <-> a dict that JSON can hold.

A class lists the arguments of its constructor in `_settings`; each is kept in an attribute of the same name.
`describe` reads them, `rebuild` calls the constructor, whose checks therefore also guard what comes from a
file.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from ._checks import choose


class Described:
    """Base of the classes that can be written to a file."""

    _settings: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        import inspect  # here: slow to load

        parts = []
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if name in self._settings and hasattr(self, name):
                value = _plain(getattr(self, name))
                if parameter.default is parameter.empty:
                    parts.append(repr(value))
                elif repr(value) != repr(parameter.default):
                    parts.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(parts)})"


class Fixed(Described):
    """Base of those whose settings C has a copy of, so that they cannot change from some moment on."""

    _made_of_settings: ClassVar[tuple[str, ...]] = ()

    def _instead(self) -> str | None:
        """What to do with a new object, because settings of this one cannot change; None while they can."""
        return None

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__ and (name in self._settings or name in self._made_of_settings):
            instead = self._instead()
            if instead is not None:
                raise AttributeError(f"{name} cannot be changed; make a new {type(self).__name__} and {instead}")
        super().__setattr__(name, value)


def _plain(value: Any) -> Any:
    return getattr(value, "setting", value)


def is_known(thing: Any, classes: Mapping[str, type[Described]]) -> bool:
    """Whether `rebuild` with these classes could make `thing`: it and what it is made of are of them, not derived."""
    if not isinstance(thing, Described):
        return True
    known = type(thing) is classes.get(type(thing).__name__)
    return known and all(is_known(getattr(thing, name), classes) for name in thing._settings)


def describe(thing: Described, classes: Mapping[str, type[Described]] | None = None) -> dict[str, Any]:
    """Return {"type": class name, setting: value, ...}; values are such as JSON has.

    What `rebuild` does not find again takes its default.

    Parameters
    ----------
    classes : mapping of str to type, optional
        Those that `rebuild` will be given.

    Raises
    ------
    TypeError
        If the object or a setting of it is code or an array that a file cannot hold, or of another class.
    """
    if not isinstance(thing, Described):
        raise TypeError(f"{thing!r} is not one of chainrule's own and cannot be written to a file")
    result: dict[str, Any] = {"type": type(thing).__name__}
    for name in thing._settings:
        value = _plain(getattr(thing, name))
        if isinstance(value, Described):
            value = describe(value, classes)
        elif isinstance(value, tuple):
            value = list(value)
        elif not (value is None or isinstance(value, (bool, int, float, str))):
            raise TypeError(f"{name}={value!r} of {type(thing).__name__} cannot be written to a file")
        result[name] = value
    if classes is not None and type(thing) is not classes.get(type(thing).__name__):
        raise TypeError(f"{thing!r} is of a class of your own, whose code cannot be written to a file")
    return result


def arguments(thing: Any) -> dict[str, Any]:
    """The arguments of the constructor of a user's object, each from the attribute of its name."""
    import inspect  # here: slow to load

    result, kind = {}, type(thing)
    # Of __init__: in CPython 3.11.2, Debian's, the class may have the signature of Layer.__new__, which takes anything.
    for name, parameter in list(inspect.signature(kind.__init__).parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(thing, name):
            raise TypeError(
                f"{kind.__name__} cannot be written to a file: its argument {name} is not kept in an attribute of that"
                " name; keep it, or write get_config()"
            )
        result[name] = _plain(getattr(thing, name))
    return result


def check_plain(value: Any, what: str) -> Any:
    """Return `value`, of what JSON has (tuples as lists), or a TypeError that says what is not."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [check_plain(item, what) for item in value]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: check_plain(item, what) for name, item in value.items()}
    raise TypeError(f"{what} cannot be written to a file: {value!r:.200} is not a number, text, list or dict")


def rebuild(description: Any, classes: Mapping[str, type[Described]], what: str) -> Any:
    """Make the object that `describe` read; ValueError or TypeError if the description is not sound.

    Parameters
    ----------
    classes : mapping of str to type
        The classes that may occur, here and nested; nothing else is ever called.
    """
    if not isinstance(description, dict) or "type" not in description:
        raise ValueError(f"{what} must be a dict with a type, got {description!r}")
    kind = classes[choose(description["type"], classes, f"type of {what}")]
    settings = {name: value for name, value in description.items() if name != "type"}
    for name, value in settings.items():
        choose(name, kind._settings, f"setting of {kind.__name__}")
        if isinstance(value, dict):
            settings[name] = rebuild(value, classes, f"{name} of {what}")
    return kind(**settings)
