/* classify.c - classes(model, x, n_in, n_out): the greatest output's index of each row, as int32 in a bytes object. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chainrule_api.h"

/* Whether str(model.name) is `expected`; if not, a ValueError (or what reading it raised) is set. */
static int is(PyObject *model, const char *name, const char *expected)
{
    PyObject *value = PyObject_GetAttrString(model, name);
    PyObject *text = value == NULL ? NULL : PyObject_Str(value);
    const int same = text != NULL && PyUnicode_CompareWithASCIIString(text, expected) == 0;
    if (text != NULL && !same) {
        PyErr_Format(PyExc_ValueError, "%s of the model must be %s, got %U", name, expected, text);
    }
    Py_XDECREF(value);
    Py_XDECREF(text);
    return same;
}

static int is_number(PyObject *model, const char *name, Py_ssize_t expected)
{
    char text[32];
    snprintf(text, sizeof text, "%zd", expected);
    return is(model, name, text);
}

/* The buffer of rows of n_in float32 numbers, one after the other; -1 and an exception for anything else. */
static int get_rows(PyObject *object, Py_ssize_t n_in, Py_buffer *x)
{
    if (PyObject_GetBuffer(object, x, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        return -1;
    }
    if (strcmp(x->format, "f") == 0 && x->ndim == 2 && x->shape[1] == n_in) {
        return 0;
    }
    PyErr_Format(PyExc_ValueError,
                 "x must be a float32 array of shape (n, %zd), got format %s, %d dimensions, %zd columns", n_in,
                 x->format, x->ndim, x->ndim > 0 ? x->shape[x->ndim - 1] : 0);
    PyBuffer_Release(x);
    return -1;
}

static PyObject *classes(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *model, *rows;
    Py_buffer x;
    Py_ssize_t n_in, n_out;
    if (!PyArg_ParseTuple(arguments, "OOnn", &model, &rows, &n_in, &n_out) || get_rows(rows, n_in, &x) < 0) {
        return NULL;
    }
    PyObject *result = NULL;
    cr_network *network = chainrule_network(model);
    if (network != NULL && !(is(model, "dtype", "float32") && is_number(model, "n_in", n_in)
                             && is_number(model, "n_out", n_out))) {
        network = NULL;
    }
    if (network != NULL) {
        const Py_ssize_t n_rows = x.shape[0];
        float *y = malloc((size_t)(n_rows * n_out + 1) * sizeof *y);
        int32_t *best = malloc((size_t)(n_rows + 1) * sizeof *best);
        cr_status status = CR_NO_MEMORY;
        if (y != NULL && best != NULL) {
            Py_BEGIN_ALLOW_THREADS
            status = cr_network_predict(network, (size_t)n_rows, x.buf, (size_t)n_in, y, (size_t)n_out);
            for (Py_ssize_t i = 0; status == CR_OK && i < n_rows; i++) {
                best[i] = 0;
                for (int32_t j = 1; j < n_out; j++) {
                    best[i] = y[i * n_out + j] > y[i * n_out + best[i]] ? j : best[i];
                }
            }
            Py_END_ALLOW_THREADS
        }
        if (status == CR_OK) {
            result = PyBytes_FromStringAndSize((const char *)best, n_rows * (Py_ssize_t)sizeof *best);
        } else {
            PyErr_SetString(PyExc_RuntimeError, cr_status_message(status));
        }
        free(y);
        free(best);
    }
    PyBuffer_Release(&x);
    return result;
}

static PyMethodDef methods[] = {
    {"classes", classes, METH_VARARGS, "classes(model, x, n_in, n_out): int32 bytes, one class a row."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "classify", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit_classify(void)
{
    if (chainrule_import() < 0) {
        return NULL;
    }
    return PyModule_Create(&definition);
}
