package core

// #include "shim.h"
import "C"

import (
	"fmt"
	"strings"
	"unsafe"
)

// Settings are options as C counts them: numbers of the option table, and values.
type Settings struct {
	ints []intSetting
	strs []strSetting
}

type intSetting struct {
	id    int
	value int64
}

type strSetting struct {
	id    int
	value string
}

// Int sets one of type INT or BOOL.
func (s *Settings) Int(id int, value int64) { s.ints = append(s.ints, intSetting{id, value}) }

// Str sets one of type STR, or appends to one of type LIST.
func (s *Settings) Str(id int, value string) { s.strs = append(s.strs, strSetting{id, value}) }

// Add appends those of other, which count more.
func (s *Settings) Add(other *Settings) {
	if other != nil {
		s.ints = append(s.ints, other.ints...)
		s.strs = append(s.strs, other.strs...)
	}
}

// open makes the C options; the caller frees them.
func (s *Settings) open() (*C.wsc_options, error) {
	o := C.wsc_options_new()
	if o == nil {
		return nil, NewError(C.WSC_ERR_NOMEM, "out of memory for options")
	}
	for _, set := range s.ints {
		if r := C.wsc_options_set_int(o, C.int(set.id), C.int64_t(set.value)); r < 0 {
			C.wsc_options_free(o)
			return nil, taken(r, new(*C.wsc_error), nil)
		}
	}
	for _, set := range s.strs {
		if strings.IndexByte(set.value, 0) >= 0 {
			C.wsc_options_free(o)
			return nil, NewError(C.WSC_ERR_INVALID, fmt.Sprintf("%q has a NUL in it", set.value))
		}
		text := cString(set.value)
		r := C.wsc_options_set_str(o, C.int(set.id), text)
		C.free(unsafe.Pointer(text))
		if r < 0 {
			C.wsc_options_free(o)
			return nil, taken(r, new(*C.wsc_error), nil)
		}
	}
	return o, nil
}
