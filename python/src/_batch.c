/* The message path: what a batch holds becomes Python objects and calls of the user's function, and a list of messages becomes one write, without
 * a Python instruction a message. Stable ABI. It knows the core's structs from its headers and its functions by their addresses (bind), so that the
 * core is linked once, into _core. */
#include <Python.h>

#include <string.h>
#include <wscengine.h>

static struct {
  uint32_t (*take)(wsc_event *, wsc_record *);
  int (*done)(wsc_event *, const wsc_reply *);
  int (*write)(wsc_connection *, const wsc_context *, int, const uint8_t *, size_t, wsc_error **);
  void (*cork)(wsc_connection *);
  int (*uncork)(wsc_connection *, wsc_error **);
} core;

static PyObject *bind(PyObject *module, PyObject *args) {
  unsigned long long take, done, write, cork, uncork;
  (void)module;
  if (!PyArg_ParseTuple(args, "KKKKK", &take, &done, &write, &cork, &uncork)) return NULL;
  core.take = (uint32_t(*)(wsc_event *, wsc_record *))(uintptr_t)take;
  core.done = (int (*)(wsc_event *, const wsc_reply *))(uintptr_t)done;
  core.write =
      (int (*)(wsc_connection *, const wsc_context *, int, const uint8_t *, size_t, wsc_error **))(uintptr_t)write;
  core.cork = (void (*)(wsc_connection *))(uintptr_t)cork;
  core.uncork = (int (*)(wsc_connection *, wsc_error **))(uintptr_t)uncork;
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

/* ---- sending: what there is room for, now; who must wait for room does that in Python, where signals are handled ---- */

static const wsc_context at_once = {.struct_size = sizeof at_once, .deadline_ns = 1}; /* long past */

static int no_message(PyObject *item) {
  PyObject *name = PyObject_GetAttrString((PyObject *)Py_TYPE(item), "__name__");
  if (name) PyErr_Format(PyExc_TypeError, "a message is str (text) or bytes (binary), not %U", name);
  Py_XDECREF(name);
  return 0;
}

/* The bytes of a message, borrowed from it, or from *copy where others might change them meanwhile; false with an exception set. */
static int view(PyObject *item, wsc_outgoing *out, PyObject **copy) {
  Py_ssize_t n;
  *copy = NULL;
  *out = (wsc_outgoing){.type = PyUnicode_Check(item) ? WSC_TEXT : WSC_BINARY};
  if (out->type == WSC_TEXT) {
    out->data = (const uint8_t *)PyUnicode_AsUTF8AndSize(item, &n);
    if (!out->data) return 0;
  } else {
    if (!PyBytes_Check(item)) {
      if (!PyByteArray_Check(item) && !PyMemoryView_Check(item)) return no_message(item);
      if (!(item = *copy = PyBytes_FromObject(item))) return 0;
    }
    out->data = (const uint8_t *)PyBytes_AsString(item);
    n = PyBytes_Size(item);
  }
  out->length = (size_t)n;
  return 1;
}

typedef int writer(void *, const wsc_context *, int, const uint8_t *, size_t, wsc_error **);
struct sender {
  writer *write;
  void *target;
};

/* self: bytes that are a struct sender. */
static PyObject *send_one(PyObject *self, PyObject *message) {
  wsc_outgoing out;
  PyObject *copy;
  if (!view(message, &out, &copy)) return NULL;
  struct sender to;
  memcpy(&to, PyBytes_AsString(self), sizeof to);
  wsc_error *error = NULL;
  int status;
  Py_BEGIN_ALLOW_THREADS;
  status = to.write(to.target, &at_once, (int)out.type, out.data, out.length, &error);
  Py_END_ALLOW_THREADS;
  Py_XDECREF(copy);
  if (status == WSC_OK && !error) Py_RETURN_NONE;
  return Py_BuildValue("iK", status, (unsigned long long)(uintptr_t)error);
}

static PyMethodDef send_method = {"send", send_one, METH_O, "send(message) -> None, or (status, error)"};

/* sender(write, target): a function that sends one message. write: the address of wsc_connection_write or wsc_engine_write, target: of what it is
 * called with, which must outlive the function. */
static PyObject *sender(PyObject *module, PyObject *args) {
  unsigned long long write, target;
  (void)module;
  if (!PyArg_ParseTuple(args, "KK", &write, &target)) return NULL;
  struct sender to = {(writer *)(uintptr_t)write, (void *)(uintptr_t)target};
  PyObject *self = PyBytes_FromStringAndSize((const char *)&to, sizeof to);
  PyObject *made = self ? PyCFunction_NewEx(&send_method, self, NULL) : NULL;
  Py_XDECREF(self);
  return made;
}

/* Looks at every message before the first is sent; false with an exception set. What might change becomes bytes of its own in the list. */
static int look_at_all(PyObject *messages) {
  for (Py_ssize_t i = 0; i < PyList_Size(messages); i++) {
    wsc_outgoing out;
    PyObject *copy;
    if (!view(PyList_GetItem(messages, i), &out, &copy)) return 0;
    if (copy && PyList_SetItem(messages, i, copy) < 0) return 0;
  }
  return 1;
}

enum { AT_A_TIME = 256 };

/* send_many(connection, messages, from): (how many of them have been sent, status, error). messages is a list that is nobody else's: from
 * messages[from] on, until one finds no room, or fails. */
static PyObject *send_many(PyObject *module, PyObject *args) {
  unsigned long long connection;
  PyObject *messages, *copy;
  Py_ssize_t at;
  (void)module;
  if (!PyArg_ParseTuple(args, "KO!n", &connection, &PyList_Type, &messages, &at)) return NULL;
  if (at == 0 && !look_at_all(messages)) return NULL;
  wsc_connection *k = (wsc_connection *)(uintptr_t)connection;
  wsc_outgoing out[AT_A_TIME];
  wsc_error *error = NULL;
  int status = WSC_OK, corked = 0, n, i;
  do {
    for (n = 0; n < AT_A_TIME && at + n < PyList_Size(messages); n++)
      view(PyList_GetItem(messages, at + n), &out[n], &copy); /* never fails: it has been looked at */
    Py_BEGIN_ALLOW_THREADS;
    if (!corked++) core.cork(k);
    for (i = 0; i < n; i++)
      if ((status = core.write(k, &at_once, (int)out[i].type, out[i].data, out[i].length, &error)) < 0) break;
    if (i < AT_A_TIME)
      core.uncork(k, NULL); /* a link that is lost only now is told by the next verb, as after a send */
    Py_END_ALLOW_THREADS;
    at += i;
  } while (i == AT_A_TIME);
  return Py_BuildValue("niK", at, status, (unsigned long long)(uintptr_t)error);
}

static PyMethodDef methods[] = {
    {"bind", bind, METH_VARARGS, "bind(take, done, write, cork, uncork): addresses of the core's functions"},
    {"deliver", deliver, METH_VARARGS, "deliver(event, reply, raw, share, call, session)"},
    {"collect", collect, METH_VARARGS, "collect(event, reply, raw, most) -> list"},
    {"sender", sender, METH_VARARGS, "sender(write, target) -> send(message) -> None, or (status, error)"},
    {"send_many", send_many, METH_VARARGS, "send_many(connection, messages, from) -> (sent, status, error)"},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "wscengine._batch", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__batch(void) { return PyModule_Create(&definition); }
