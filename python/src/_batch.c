/* The message path: what a batch holds becomes Python objects and calls of the user's function, and a list of messages becomes one write, without
 * a Python instruction a message. Stable ABI. It knows the core's structs from its headers and its functions by their addresses (bind), so that the
 * core is linked once, into _core. */
#include <Python.h>

#include <stdlib.h>
#include <wscengine.h>

static struct {
  uint32_t (*take)(wsc_event *, wsc_record *);
  int (*done)(wsc_event *, const wsc_reply *);
  int (*write_many)(wsc_connection *, const wsc_context *, const wsc_outgoing *, size_t, wsc_error **);
} core;

static PyObject *bind(PyObject *module, PyObject *args) {
  unsigned long long take, done, write_many;
  (void)module;
  if (!PyArg_ParseTuple(args, "KKK", &take, &done, &write_many)) return NULL;
  core.take = (uint32_t(*)(wsc_event *, wsc_record *))(uintptr_t)take;
  core.done = (int (*)(wsc_event *, const wsc_reply *))(uintptr_t)done;
  core.write_many = (int (*)(wsc_connection *, const wsc_context *, const wsc_outgoing *, size_t, wsc_error **))(
      uintptr_t)write_many;
  Py_RETURN_NONE;
}

/* Text has been checked by the core; Python only looks at it once more. */
static PyObject *message_of(const wsc_event *ev, const wsc_record *r, int raw) {
  const char *p = (const char *)ev->arena + r->offset;
  if (r->type == WSC_TEXT && !raw) return PyUnicode_DecodeUTF8(p, (Py_ssize_t)r->length, "strict");
  return PyBytes_FromStringAndSize(p, (Py_ssize_t)r->length);
}

/* The next record, counted in reply; with the last one (or each, when the rest is for other readers) the batch is done, so that what
 * comes next need not wait for this record's callback. */
static int take_next(wsc_event *ev, wsc_reply *reply, int share, wsc_record *r) {
  if (!core.take(ev, r)) return 0;
  reply->consumed++;
  if (share || reply->consumed == ev->count) core.done(ev, reply);
  return 1;
}

/* deliver(event, reply, raw, share, call, session): call(session, message) for each. It ends when there is no more to take, or with the call's
 * exception; then it may be called again for the rest. */
static PyObject *deliver(PyObject *module, PyObject *args) {
  unsigned long long event, answer;
  int raw, share;
  PyObject *call, *session;
  (void)module;
  if (!PyArg_ParseTuple(args, "KKppOO", &event, &answer, &raw, &share, &call, &session)) return NULL;
  wsc_event *ev = (wsc_event *)(uintptr_t)event;
  wsc_reply *reply = (wsc_reply *)(uintptr_t)answer;
  for (wsc_record r; take_next(ev, reply, share, &r);) {
    PyObject *message = message_of(ev, &r, raw);
    if (!message) return NULL;
    PyObject *result = PyObject_CallFunctionObjArgs(call, session, message, NULL);
    Py_DECREF(message);
    if (!result) return NULL;
    Py_DECREF(result);
    if (share) break; /* the rest has gone back */
  }
  Py_RETURN_NONE;
}

/* collect(event, reply, raw, most): up to so many messages as a list. */
static PyObject *collect(PyObject *module, PyObject *args) {
  unsigned long long event, answer;
  unsigned most;
  int raw;
  (void)module;
  if (!PyArg_ParseTuple(args, "KKpI", &event, &answer, &raw, &most)) return NULL;
  wsc_event *ev = (wsc_event *)(uintptr_t)event;
  wsc_reply *reply = (wsc_reply *)(uintptr_t)answer;
  PyObject *list = PyList_New(0);
  wsc_record r;
  for (unsigned n = 0; list && n < most && take_next(ev, reply, 0, &r); n++) {
    PyObject *message = message_of(ev, &r, raw);
    if (!message || PyList_Append(list, message) < 0) Py_CLEAR(list);
    Py_XDECREF(message);
  }
  return list;
}

/* The bytes of a str or bytes, borrowed from it; false with an exception set. */
static int view(PyObject *item, wsc_outgoing *out) {
  Py_ssize_t n;
  char *bytes;
  *out = (wsc_outgoing){.type = PyUnicode_Check(item) ? WSC_TEXT : WSC_BINARY};
  if (out->type == WSC_TEXT) {
    out->data = (const uint8_t *)PyUnicode_AsUTF8AndSize(item, &n);
    if (!out->data) return 0;
  } else if (PyBytes_Check(item)) {
    if (PyBytes_AsStringAndSize(item, &bytes, &n) < 0) return 0;
    out->data = (const uint8_t *)bytes;
  } else {
    PyErr_SetString(PyExc_TypeError, "a message is str or bytes");
    return 0;
  }
  out->length = (size_t)n;
  return 1;
}

/* send_many(connection, context, messages): (status, address of the error). messages is a tuple of str and bytes. */
static PyObject *send_many(PyObject *module, PyObject *args) {
  unsigned long long connection, context;
  PyObject *messages;
  (void)module;
  if (!PyArg_ParseTuple(args, "KKO!", &connection, &context, &PyTuple_Type, &messages)) return NULL;
  size_t count = (size_t)PyTuple_Size(messages);
  wsc_outgoing *out = malloc((count ? count : 1) * sizeof *out);
  if (!out) return PyErr_NoMemory();
  for (size_t i = 0; i < count; i++) {
    if (view(PyTuple_GetItem(messages, (Py_ssize_t)i), &out[i])) continue;
    free(out);
    return NULL;
  }
  wsc_error *error = NULL;
  int status;
  Py_BEGIN_ALLOW_THREADS;
  status = core.write_many((wsc_connection *)(uintptr_t)connection, (const wsc_context *)(uintptr_t)context, out, count,
                           &error);
  Py_END_ALLOW_THREADS;
  free(out);
  return Py_BuildValue("iK", status, (unsigned long long)(uintptr_t)error);
}

/* send(write, target, context, message): (status, address of the error). write: the address of wsc_connection_write or wsc_engine_write, target
 * what it is called with; message is a str or bytes. */
static PyObject *send_one(PyObject *module, PyObject *args) {
  unsigned long long write, target, context;
  PyObject *message;
  wsc_outgoing out;
  (void)module;
  if (!PyArg_ParseTuple(args, "KKKO", &write, &target, &context, &message) || !view(message, &out)) return NULL;
  int (*call)(void *, const wsc_context *, int, const uint8_t *, size_t, wsc_error **) =
      (int (*)(void *, const wsc_context *, int, const uint8_t *, size_t, wsc_error **))(uintptr_t)write;
  wsc_error *error = NULL;
  int status;
  Py_BEGIN_ALLOW_THREADS;
  status = call((void *)(uintptr_t)target, (const wsc_context *)(uintptr_t)context, (int)out.type, out.data, out.length,
                &error);
  Py_END_ALLOW_THREADS;
  if (status == WSC_OK && !error) Py_RETURN_NONE;
  return Py_BuildValue("iK", status, (unsigned long long)(uintptr_t)error);
}

static PyMethodDef methods[] = {
    {"bind", bind, METH_VARARGS, "bind(take, done, write_many): addresses of the core's functions"},
    {"deliver", deliver, METH_VARARGS, "deliver(event, reply, raw, share, call, session)"},
    {"collect", collect, METH_VARARGS, "collect(event, reply, raw, most) -> list"},
    {"send", send_one, METH_VARARGS, "send(write, target, context, message) -> None, or (status, error)"},
    {"send_many", send_many, METH_VARARGS, "send_many(connection, context, messages) -> (status, error)"},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "wscengine._batch", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__batch(void) { return PyModule_Create(&definition); }
