package core

// #include "shim.h"
import "C"

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"unsafe"
)

// Response is the server's answer to an upgrade request, also one that refused it.
type Response struct {
	Status      int
	Reason      string
	Subprotocol string
	Header      http.Header
	Body        []byte
}

func responseOf(r *C.wsc_response) *Response {
	if r == nil {
		return nil
	}
	out := &Response{
		Status:      int(C.wsc_response_status(r)),
		Reason:      C.GoString(C.wsc_response_reason(r)),
		Subprotocol: C.GoString(C.wsc_response_subprotocol(r)),
		Header:      http.Header{},
	}
	var name, value *C.char
	for i := C.size_t(0); C.wsc_response_header_at(r, i, &name, &value); i++ {
		out.Header.Add(C.GoString(name), C.GoString(value))
	}
	var n C.size_t
	if p := C.wsc_response_body(r, &n); p != nil && n > 0 {
		out.Body = C.GoBytes(unsafe.Pointer(p), C.int(n))
	}
	return out
}

// HTTP gives it as net/http would.
func (r *Response) HTTP() *http.Response {
	if r == nil {
		return nil
	}
	return &http.Response{
		Status:        fmt.Sprintf("%03d %s", r.Status, r.Reason),
		StatusCode:    r.Status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        r.Header,
		Body:          io.NopCloser(bytes.NewReader(r.Body)),
		ContentLength: int64(len(r.Body)),
	}
}

// giveResponse makes a C response of what an adapter got; nil for nil or for what is none. The caller frees it.
func giveResponse(r *http.Response) *C.wsc_response {
	if r == nil || r.StatusCode < 100 || r.StatusCode > 999 {
		return nil
	}
	out := C.wsc_response_new()
	if out == nil {
		return nil
	}
	reason := cString(http.StatusText(r.StatusCode))
	defer C.free(unsafe.Pointer(reason))
	C.wsc_response_set(out, C.int(r.StatusCode), reason)
	for name, values := range r.Header {
		for _, value := range values {
			n, v := cString(name), cString(value)
			C.wsc_response_add_header(out, n, v)
			C.free(unsafe.Pointer(n))
			C.free(unsafe.Pointer(v))
		}
	}
	return out
}
