package core

// #include "shim.h"
import "C"

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"github.com/wscengine/wscengine/go/internal/abi"
)

// Error is an error of the C library: one link of its chain. Cause is the next one; where the chain began in Go it is that very error.
type Error struct {
	Status     int
	Message    string
	CloseCode  int
	OSError    int
	HTTPStatus int
	Response   *Response
	Cause      error
}

func (e *Error) Error() string { return e.Message }

// Unwrap gives the cause, and the system's error number.
func (e *Error) Unwrap() []error {
	var out []error
	if e.Cause != nil {
		out = append(out, e.Cause)
	}
	if e.OSError != 0 {
		out = append(out, syscall.Errno(e.OSError))
	}
	return out
}

// Is makes the library's statuses what Go programs ask for.
func (e *Error) Is(target error) bool {
	switch e.Status {
	case abi.StatusErrTimeout:
		return target == context.DeadlineExceeded || target == os.ErrDeadlineExceeded
	case abi.StatusErrCanceled:
		return target == context.Canceled
	case abi.StatusErrClosed:
		return target == net.ErrClosed
	}
	return false
}

// Timeout is net.Error's.
func (e *Error) Timeout() bool { return e.Status == abi.StatusErrTimeout }

// Temporary is net.Error's.
func (e *Error) Temporary() bool { return false }

// NewError makes one that did not come from C.
func NewError(status int, message string) *Error { return &Error{Status: status, Message: message} }

// StatusText says what a status means.
func StatusText(status int) string { return C.GoString(C.wsc_status_text(C.int(status))) }

// StatusName is its name in C, without WSC_.
func StatusName(status int) string { return C.GoString(C.wsc_status_name(C.int(status))) }

// StatusOf is that of the first link of the library's; without one the status that says what an error of Go's does.
func StatusOf(err error) int {
	var ours *Error
	var network net.Error
	switch {
	case err == nil:
		return abi.StatusOk
	case errors.As(err, &ours):
		return ours.Status
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return abi.StatusErrTimeout
	case errors.Is(err, context.Canceled):
		return abi.StatusErrCanceled
	case errors.Is(err, net.ErrClosed):
		return abi.StatusErrClosed
	case errors.As(err, &network):
		return abi.StatusErrIo
	}
	return abi.StatusErrHost
}

// errorOf copies a borrowed chain. given finds errors of Go's that C carried.
func errorOf(e *C.wsc_error, given *givenErrors) error {
	if e == nil {
		return nil
	}
	cause := C.wsc_error_cause(e)
	if id := uintptr(C.shim_error_host(e)); id != 0 && cause == nil && given != nil {
		if err := given.find(id); err != nil {
			return err
		}
	}
	out := &Error{
		Status:     int(C.wsc_error_status(e)),
		Message:    C.GoString(C.wsc_error_message(e)),
		CloseCode:  int(C.wsc_error_close_code(e)),
		OSError:    int(C.wsc_error_os_error(e)),
		HTTPStatus: int(C.wsc_error_http_status(e)),
		Response:   responseOf(C.wsc_error_response(e)),
	}
	if inner := errorOf(cause, given); inner != nil {
		out.Cause = inner
	}
	return out
}

// taken is errorOf for a call that failed; it drops the reference.
func taken(status C.int, e **C.wsc_error, given *givenErrors) error {
	if status >= 0 {
		return nil
	}
	if *e == nil {
		return NewError(int(status), C.GoString(C.wsc_status_text(status)))
	}
	err := errorOf(*e, given)
	C.wsc_error_unref(*e)
	*e = nil
	return err
}

// givenErrors keeps the last few errors of Go's that were given to C, so that they come back as they were.
type givenErrors struct {
	mu   sync.Mutex
	last uintptr
	ring []error // made with the first
}

const givenMost = 16

func (g *givenErrors) find(id uintptr) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if id > g.last || g.last-id >= givenMost {
		return nil
	}
	return g.ring[id%givenMost]
}

// give makes a C error that stands for err; the caller unrefs it.
func (g *givenErrors) give(err error, status int) *C.wsc_error {
	if err == nil {
		return nil
	}
	return g.giveAs(err, err.Error(), status, 0)
}

// giveAs is the same with another text.
func (g *givenErrors) giveAs(err error, said string, status, closeCode int) *C.wsc_error {
	g.mu.Lock()
	g.last++
	id := g.last
	if g.ring == nil {
		g.ring = make([]error, givenMost)
	}
	g.ring[id%givenMost] = err
	g.mu.Unlock()
	text := cString(said)
	defer C.free(unsafe.Pointer(text))
	var out *C.wsc_error
	C.shim_error_new(C.int(status), C.int(closeCode), text, C.uintptr_t(id), &out)
	return out
}

// cString is C.CString for text that may have NULs in it.
func cString(s string) *C.char {
	b := []byte(s)
	for i, c := range b {
		if c == 0 {
			b[i] = '?'
		}
	}
	return C.CString(string(b))
}
