/* Prints, as JSON, what only the compiler knows of the public headers: the tables, the values of enumerators and the layout of the
 * public structs. bindings/generate.py writes abi_lists.h, which names the enumerators and the fields. */
#include "wscengine.h"

#include <inttypes.h>
#include <stdio.h>

#include "abi_lists.h" /* WSC_ABI_CONSTANTS(C), WSC_ABI_STRUCTS(S, F, E) */

static void string(const char *key, const char *s, const char *end) {
  printf("\"%s\": \"", key);
  for (; *s; s++) {
    if (*s == '"' || *s == '\\') putchar('\\');
    putchar(*s);
  }
  printf("\"%s", end);
}

static void number(const char *key, int64_t n, const char *end) { printf("\"%s\": %" PRId64 "%s", key, n, end); }

static const char *comma = "";
static void row(void) {
  printf("%s\n  {", comma);
  comma = ",";
}

static void open_list(const char *name) {
  printf("\"%s\": [", name);
  comma = "";
}

static void statuses(void) {
  open_list("statuses");
#define XX(name, n, python, text) \
  row(); \
  string("name", #name, ", "); \
  number("number", n, ", "); \
  string("python", python, ", "); \
  string("text", text, "}");
  WSC_STATUS_MAP(XX)
#undef XX
  printf("],\n");
}

static void close_codes(void) {
  open_list("close_codes");
#define XX(name, n) \
  row(); \
  string("name", #name, ", "); \
  number("number", n, "}");
  WSC_CLOSE_CODE_MAP(XX)
#undef XX
  printf("],\n");
}

static void options(void) {
  open_list("options");
#define XX(name, n, type, scope, def, low, high, unit, python, flag, go, doc) \
  row(); \
  string("name", #name, ", "); \
  number("number", n, ", "); \
  string("type", #type, ", "); \
  string("scope", #scope, ", "); \
  number("default", def, ", "); \
  number("min", low, ", "); \
  number("max", high, ", "); \
  string("unit", unit, ", "); \
  string("python", python, ", "); \
  string("flag", flag, ", "); \
  string("go", go, ", "); \
  string("doc", doc, "}");
  WSC_OPTION_MAP(XX)
#undef XX
  printf("],\n");
}

static void events(void) {
  open_list("events");
#define XX(name, n, session, doc) \
  row(); \
  string("name", #name, ", "); \
  number("number", n, ", "); \
  number("session", session, ", "); \
  string("doc", doc, "}");
  WSC_EVENT_MAP(XX)
#undef XX
  printf("],\n");
}

static void constants(void) {
  printf("\"constants\": {");
  comma = "";
#define C(name) \
  printf("%s\n  ", comma); \
  comma = ","; \
  number(#name, name, "");
  WSC_ABI_CONSTANTS(C)
#undef C
  printf("},\n");
}

static void structs(void) {
  const char *outer = "";
  printf("\"structs\": {");
#define S(type) \
  printf("%s\n  \"%s\": {\"size\": %zu, \"fields\": {", outer, #type, sizeof(type)); \
  outer = ","; \
  comma = "";
#define F(type, name) \
  printf("%s\"%s\": [%zu, %zu]", comma, #name, offsetof(type, name), sizeof(((type *)0)->name)); \
  comma = ", ";
#define E() printf("}}");
  WSC_ABI_STRUCTS(S, F, E)
  printf("},\n");
}

int main(void) {
  printf("{");
  statuses();
  close_codes();
  options();
  events();
  constants();
  structs();
  string("version", WSC_VERSION_STRING, ",\n");
  number("pointer_bits", 8 * (int)sizeof(void *), "}\n");
  return 0;
}
