# cython: language_level=3
"""A pendulum held upright by a network: the loop, the network and the physics run without the GIL."""

from libc.math cimport sin

from chainrule cimport chainrule as cr

cr.chainrule_import()


def swing(policy, double angle, double speed, int n_steps):
    """Return (angle, speed) after n_steps of 20 ms under a float32 policy of two inputs and one output."""
    cdef cr.cr_network *network = cr.chainrule_network(policy)
    cdef float[2] state
    cdef float torque
    cdef cr.cr_status status = cr.CR_OK
    if policy.n_in != 2 or policy.n_out != 1 or policy.dtype != "float32":
        raise ValueError("policy must be a float32 network of two inputs and one output")
    with nogil:
        for _ in range(n_steps):
            state[0] = <float>angle
            state[1] = <float>speed
            status = cr.cr_network_predict(network, 1, &state[0], 2, &torque, 1)
            if status != cr.CR_OK:
                break
            speed += 0.02 * (9.81 * sin(angle) + torque)
            angle += 0.02 * speed
    if status != cr.CR_OK:
        raise RuntimeError(cr.cr_status_message(status).decode())
    return angle, speed
