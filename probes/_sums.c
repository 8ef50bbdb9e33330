/* What is summed up of every array at every recorded step: in one look, and in double precision.
 *
 * `sums.py` does the same in NumPy where this was not compiled, and says what each function gives. There every look
 * at an array is a call, and a call costs what a thousand entries cost here.
 *
 * Arrays are NumPy's, of float32 or float64 and in one piece, in whatever order; any other raises BufferError.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <math.h>
#include <stdint.h>
#include <string.h>

/* Compiled for several generations of processors, of which the loader takes the one that it finds. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__GLIBC__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif

/* ------------------------------------------------------------------------------------------ over the entries
 *
 * Each loop goes through the four quarters of an array side by side, for a single chain of additions would wait
 * for itself; what is left over is a quarter of its own.
 */

#define OVER_ENTRIES(REAL)                                                                                     \
    FOR_EVERY_PROCESSOR                                                                                        \
    static void sums_of_##REAL(const REAL *a, Py_ssize_t size, double *sum, double *squares)                   \
    {                                                                                                          \
        const Py_ssize_t quarter = size / 4;                                                                   \
        const REAL *b = a + quarter, *c = b + quarter, *d = c + quarter;                                       \
        double s = 0, q = 0;                                                                                   \
        _Pragma("omp simd reduction(+ : s, q)") for (Py_ssize_t i = 0; i < quarter; i++) {                     \
            const double w = a[i], x = b[i], y = c[i], z = d[i];                                               \
            s += (w + x) + (y + z);                                                                            \
            q += (w * w + x * x) + (y * y + z * z);                                                            \
        }                                                                                                      \
        for (Py_ssize_t i = 4 * quarter; i < size; i++) {                                                      \
            s += (double)a[i];                                                                                 \
            q += (double)a[i] * (double)a[i];                                                                  \
        }                                                                                                      \
        *sum = s;                                                                                              \
        *squares = q;                                                                                          \
    }                                                                                                          \
                                                                                                               \
    FOR_EVERY_PROCESSOR                                                                                        \
    static double squares_of_##REAL(const REAL *a, Py_ssize_t size)                                            \
    {                                                                                                          \
        const Py_ssize_t quarter = size / 4;                                                                   \
        const REAL *b = a + quarter, *c = b + quarter, *d = c + quarter;                                       \
        double q = 0;                                                                                          \
        _Pragma("omp simd reduction(+ : q)") for (Py_ssize_t i = 0; i < quarter; i++) {                        \
            const double w = a[i], x = b[i], y = c[i], z = d[i];                                               \
            q += (w * w + x * x) + (y * y + z * z);                                                            \
        }                                                                                                      \
        for (Py_ssize_t i = 4 * quarter; i < size; i++)                                                        \
            q += (double)a[i] * (double)a[i];                                                                  \
        return q;                                                                                              \
    }                                                                                                          \
                                                                                                               \
    FOR_EVERY_PROCESSOR                                                                                        \
    static double squares_of_copied_##REAL(const REAL *restrict a, REAL *restrict copy, Py_ssize_t size)       \
    {                                                                                                          \
        double q = 0;                                                                                          \
        _Pragma("omp simd reduction(+ : q)") for (Py_ssize_t i = 0; i < size; i++) {                           \
            copy[i] = a[i];                                                                                    \
            q += (double)a[i] * (double)a[i];                                                                  \
        }                                                                                                      \
        return q;                                                                                              \
    }                                                                                                          \
                                                                                                               \
    FOR_EVERY_PROCESSOR                                                                                        \
    static double squares_of_moved_##REAL(const REAL *a, REAL *before, Py_ssize_t size)                        \
    {                                                                                                          \
        double q = 0;                                                                                          \
        _Pragma("omp simd reduction(+ : q)") for (Py_ssize_t i = 0; i < size; i++) {                           \
            /* Rounded as the framework would round it. */                                                     \
            const REAL difference = a[i] - before[i];                                                          \
            q += (double)difference * (double)difference;                                                      \
        }                                                                                                      \
        return q;                                                                                              \
    }                                                                                                          \
                                                                                                               \
    FOR_EVERY_PROCESSOR                                                                                        \
    static void limits_of_##REAL(const REAL *a, Py_ssize_t size, double *least, double *largest)               \
    {                                                                                                          \
        REAL low = INFINITY, high = -INFINITY;                                                                 \
        _Pragma("omp simd reduction(min : low) reduction(max : high)")                                         \
        for (Py_ssize_t i = 0; i < size; i++) {                                                                \
            low = a[i] < low ? a[i] : low;                                                                     \
            high = a[i] > high ? a[i] : high;                                                                  \
        }                                                                                                      \
        *least = low;                                                                                          \
        *largest = high;                                                                                       \
    }                                                                                                          \
                                                                                                               \
    FOR_EVERY_PROCESSOR                                                                                        \
    static void fire_##REAL(const REAL *row, char *fired, Py_ssize_t units)                                    \
    {                                                                                                          \
        for (Py_ssize_t unit = 0; unit < units; unit++)                                                        \
            fired[unit] |= row[unit] != 0;                                                                     \
    }                                                                                                          \
                                                                                                               \
    FOR_EVERY_PROCESSOR                                                                                        \
    static char fires_##REAL(const REAL *positions, Py_ssize_t count)                                          \
    {                                                                                                          \
        char fires = 0;                                                                                        \
        for (Py_ssize_t position = 0; position < count; position++)                                            \
            fires |= positions[position] != 0;                                                                 \
        return fires;                                                                                          \
    }                                                                                                          \
                                                                                                               \
    /* Marks the units that fire on any example, and looks no further once all have. */                        \
    static void firing_##REAL(                                                                                 \
        const REAL *a, char *fired, Py_ssize_t examples, Py_ssize_t units, Py_ssize_t positions)               \
    {                                                                                                          \
        memset(fired, 0, units);                                                                               \
        for (; examples-- && memchr(fired, 0, units); a += units * positions) {                                \
            if (positions == 1)                                                                                \
                fire_##REAL(a, fired, units);                                                                  \
            else                                                                                               \
                for (Py_ssize_t unit = 0; unit < units; unit++)                                                \
                    if (!fired[unit])                                                                          \
                        fired[unit] = fires_##REAL(a + unit * positions, positions);                           \
        }                                                                                                      \
    }

OVER_ENTRIES(float)
OVER_ENTRIES(double)

/* ------------------------------------------------------------------------------------------------- arrays */

/* A view of an array that the loops can read; 0, and an exception, where they cannot. */
static int look(PyObject *array, Py_buffer *view, int flags)
{
    if (PyObject_GetBuffer(array, view, PyBUF_STRIDES | PyBUF_FORMAT | flags) != 0) {
        /* NumPy says so of types that no buffer knows. */
        if (PyErr_ExceptionMatches(PyExc_ValueError)) {
            PyErr_Clear();
            PyErr_SetString(PyExc_BufferError, "needs an array that can be had as a buffer");
        }
        return 0;
    }
    if ((strcmp(view->format, "f") == 0 || strcmp(view->format, "d") == 0) && PyBuffer_IsContiguous(view, 'A'))
        return 1;
    PyBuffer_Release(view);
    PyErr_SetString(PyExc_BufferError, "needs an array of float32 or float64 that lies in one piece");
    return 0;
}

static int is_single(const Py_buffer *view)
{
    return view->format[0] == 'f';
}

static Py_ssize_t size_of(const Py_buffer *view)
{
    return view->len / view->itemsize;
}

/* Whether the entries of two arrays lie in the same order, so that they can be taken pair by pair. */
static int are_alike(const Py_buffer *one, const Py_buffer *other)
{
    const size_t bytes = one->ndim * sizeof(Py_ssize_t);
    return one->ndim == other->ndim && one->format[0] == other->format[0]
        && memcmp(one->shape, other->shape, bytes) == 0 && memcmp(one->strides, other->strides, bytes) == 0;
}

/* ----------------------------------------------------------------------------------------------- functions */

static PyObject *sums(PyObject *Py_UNUSED(module), PyObject *array)
{
    Py_buffer view;
    double sum, squares;
    if (!look(array, &view, 0))
        return NULL;
    if (is_single(&view))
        sums_of_float(view.buf, size_of(&view), &sum, &squares);
    else
        sums_of_double(view.buf, size_of(&view), &sum, &squares);
    PyBuffer_Release(&view);
    return Py_BuildValue("(dd)", sum, squares);
}

static PyObject *squares_of(PyObject *array)
{
    Py_buffer view;
    double squares;
    if (!look(array, &view, 0))
        return NULL;
    squares = is_single(&view) ? squares_of_float(view.buf, size_of(&view))
                               : squares_of_double(view.buf, size_of(&view));
    PyBuffer_Release(&view);
    return PyFloat_FromDouble(squares);
}

static PyObject *sums_of_squares(PyObject *Py_UNUSED(module), PyObject *given)
{
    PyObject *arrays = PySequence_Fast(given, "needs a sequence of arrays"), *found;
    if (arrays == NULL)
        return NULL;
    found = PyList_New(PySequence_Fast_GET_SIZE(arrays));
    for (Py_ssize_t i = 0; found != NULL && i < PyList_GET_SIZE(found); i++) {
        PyObject *number = squares_of(PySequence_Fast_GET_ITEM(arrays, i));
        if (number == NULL)
            Py_CLEAR(found);
        else
            PyList_SET_ITEM(found, i, number);
    }
    Py_DECREF(arrays);
    return found;
}

/* What is done to two arrays, the second of which may be written to. */
struct pairing {
    double (*of_floats)(const float *, float *, Py_ssize_t);
    double (*of_doubles)(const double *, double *, Py_ssize_t);
    int flags;
};

static PyObject *of_pair(PyObject *array, PyObject *partner, const struct pairing *pairing)
{
    Py_buffer one, other;
    PyObject *number = NULL;
    if (!look(array, &one, 0))
        return NULL;
    if (look(partner, &other, pairing->flags)) {
        if (!are_alike(&one, &other))
            PyErr_SetString(PyExc_BufferError, "needs pairs of arrays alike in shape, type and order");
        else if (is_single(&one))
            number = PyFloat_FromDouble(pairing->of_floats(one.buf, other.buf, size_of(&one)));
        else
            number = PyFloat_FromDouble(pairing->of_doubles(one.buf, other.buf, size_of(&one)));
        PyBuffer_Release(&other);
    }
    PyBuffer_Release(&one);
    return number;
}

static PyObject *of_pairs(PyObject *arguments, const struct pairing *pairing)
{
    PyObject *ones, *others, *found;
    if (!PyArg_ParseTuple(arguments, "O!O!", &PyList_Type, &ones, &PyList_Type, &others))
        return NULL;
    if (PyList_GET_SIZE(ones) != PyList_GET_SIZE(others)) {
        PyErr_SetString(PyExc_BufferError, "needs as many arrays in the one list as in the other");
        return NULL;
    }
    found = PyList_New(PyList_GET_SIZE(ones));
    for (Py_ssize_t i = 0; found != NULL && i < PyList_GET_SIZE(found); i++) {
        PyObject *number = of_pair(PyList_GET_ITEM(ones, i), PyList_GET_ITEM(others, i), pairing);
        if (number == NULL)
            Py_CLEAR(found);
        else
            PyList_SET_ITEM(found, i, number);
    }
    return found;
}

static PyObject *copied(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    static const struct pairing copying = {squares_of_copied_float, squares_of_copied_double, PyBUF_WRITABLE};
    return of_pairs(arguments, &copying);
}

static PyObject *moved(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    static const struct pairing moving = {squares_of_moved_float, squares_of_moved_double, 0};
    return of_pairs(arguments, &moving);
}

static PyObject *summary(PyObject *Py_UNUSED(module), PyObject *array)
{
    Py_buffer view;
    double sum, squares, least, largest;
    if (!look(array, &view, 0))
        return NULL;
    if (is_single(&view)) {
        sums_of_float(view.buf, size_of(&view), &sum, &squares);
        limits_of_float(view.buf, size_of(&view), &least, &largest);
    } else {
        sums_of_double(view.buf, size_of(&view), &sum, &squares);
        limits_of_double(view.buf, size_of(&view), &least, &largest);
    }
    PyBuffer_Release(&view);
    return Py_BuildValue("(dddd)", sum, squares, least, largest);
}

/* Marks the units that fire, and counts them and the marks above a bound; 0, and an exception, where it cannot. */
static int mark(const Py_buffer *view, int64_t *marks, int64_t mark, int64_t since, Py_ssize_t *now, Py_ssize_t *lately)
{
    const Py_ssize_t examples = view->shape[0], units = view->shape[1], positions = size_of(view) / (examples * units);
    char *fired = PyMem_Malloc(units);
    if (fired == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    if (is_single(view))
        firing_float(view->buf, fired, examples, units, positions);
    else
        firing_double(view->buf, fired, examples, units, positions);
    *now = *lately = 0;
    for (Py_ssize_t unit = 0; unit < units; unit++) {
        marks[unit] = fired[unit] ? mark : marks[unit];
        *now += fired[unit];
        *lately += marks[unit] > since;
    }
    PyMem_Free(fired);
    return 1;
}

static PyObject *mark_firing(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *array, *marks;
    long long number, since;
    Py_buffer view, marked;
    Py_ssize_t now, lately;
    int is_done = 0;
    if (!PyArg_ParseTuple(arguments, "OOLL", &array, &marks, &number, &since) || !look(array, &view, 0))
        return NULL;
    if (view.ndim < 2 || !PyBuffer_IsContiguous(&view, 'C') || size_of(&view) == 0) {
        PyErr_SetString(PyExc_BufferError, "needs examples, units and perhaps positions, row by row");
    } else if (PyObject_GetBuffer(marks, &marked, PyBUF_WRITABLE) == 0) {
        if (marked.len == view.shape[1] * (Py_ssize_t)sizeof(int64_t))
            is_done = mark(&view, marked.buf, number, since, &now, &lately);
        else
            PyErr_SetString(PyExc_BufferError, "needs a mark of 8 bytes for each unit");
        PyBuffer_Release(&marked);
    }
    PyBuffer_Release(&view);
    return is_done ? Py_BuildValue("(nn)", now, lately) : NULL;
}

static PyMethodDef functions[] = {
    {"sums", sums, METH_O, "sums(array): sum, and sum of squares"},
    {"sums_of_squares", sums_of_squares, METH_O, "sums_of_squares(arrays): one for each"},
    {"copied", copied, METH_VARARGS, "copied(arrays, copies): writes the copies; sums of squares"},
    {"moved", moved, METH_VARARGS, "moved(arrays, before): sums of squares of the differences"},
    {"summary", summary, METH_O, "summary(array): sum, sum of squares, least and largest entry"},
    {"mark_firing", mark_firing, METH_VARARGS, "mark_firing(array, marks, mark, since): how many fire, and how many marks are above"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_sums", .m_size = 0, .m_methods = functions,
};

PyMODINIT_FUNC PyInit__sums(void)
{
    return PyModule_Create(&definition);
}
