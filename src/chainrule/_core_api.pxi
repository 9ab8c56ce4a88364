# _core_api.pxi - the table of chainrule_api.h, for other extension modules. Part of _core.pyx.

cdef cr.cr_network *_network_of(object model) except NULL:
    """The C network of a model, for other extension modules; the model keeps it."""
    if not isinstance(model, Model):
        raise TypeError(f"model must be a chainrule.Sequential, got {type(model).__name__}")
    if (<Model>model)._network is None:
        raise ValueError("the model has no native network: it is not built, or one of its layers is written in Python")
    return (<Model>model)._network._c


cdef extern from "chainrule_api.h":
    const char *CR_API_CAPSULE
    ctypedef struct cr_api:
        cr.cr_network *(*network_of)(object model) except NULL
    cr_api cr_provided_api

cr_provided_api.network_of = _network_of
_api = PyCapsule_New(&cr_provided_api, CR_API_CAPSULE, NULL)
