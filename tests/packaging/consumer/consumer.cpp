// Somebody else's C++ program: the headers compile as C++ and the symbols link.
#include <wscengine.h>

#include <cstdio>
#include <memory>

int main() {
  std::unique_ptr<wsc_options, decltype(&wsc_options_free)> options(wsc_options_new(), wsc_options_free);
  if (!options) return 1;
  if (wsc_options_set_int(options.get(), WSC_OPT_READER_COUNT, 0) != WSC_OK) return 1;
  wsc_error *all = nullptr;
  if (wsc_options_validate(options.get(), &all) != WSC_ERR_INVALID) return 1;
  std::fprintf(stderr, "%s\n", wsc_error_message(all));
  wsc_error_unref(all);
  std::printf("%s\n", wsc_version());
  return 0;
}
