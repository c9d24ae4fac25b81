/* Somebody else's C program: prints the version, and what a bad URL is told. It has functions whose names our rooms use inside,
 * which must disturb neither side. */
#include <wscengine.h>

#include <stdio.h>
#include <string.h>

int mem_alloc(int x);
int buffer_append(int x);
int mem_alloc(int x) { return x + 1; }
int buffer_append(int x) { return mem_alloc(x) + 1; }

int main(void) {
  wsc_engine *engine = NULL;
  wsc_error *error = NULL;
  wsc_callbacks callbacks = {.struct_size = sizeof callbacks};
  int status = wsc_engine_new("not a url", &callbacks, NULL, NULL, &engine, &error);
  if (status != WSC_ERR_INVALID || engine != NULL) {
    fprintf(stderr, "a bad URL gave %s\n", wsc_status_name(status));
    return 1;
  }
  fprintf(stderr, "%s\n", wsc_error_message(error));
  wsc_error_unref(error);
  if (strcmp(wsc_version(), WSC_VERSION_STRING) != 0 || buffer_append(1) != 3) return 1;
  printf("%s\n", wsc_version());
  return 0;
}
