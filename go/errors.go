package wscengine

import (
	"errors"
	"fmt"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
)

// EngineStartError is what Start fails with. It is used as a value: errors.As finds it by its value type.
type EngineStartError struct {
	// Err is why: what OnOpen returned, the context's error, a *Error.
	Err error
}

// Error says why.
func (err EngineStartError) Error() string {
	return fmt.Sprintf("websocket engine failed to start: %v", err.Err)
}

// Unwrap gives why.
func (err EngineStartError) Unwrap() error { return err.Err }

// Error is an error of the library: its status, close code, system's error number, HTTP status and answer of a refused upgrade, and its cause.
// errors.Is finds context.DeadlineExceeded for a timeout, context.Canceled, and net.ErrClosed for a connection that has ended.
type Error = core.Error

var (
	errStarted    = errors.New("the engine is running already")
	errNotStarted = errors.New("the engine is not started")
	errInCallback = errors.New("not possible inside a callback, which would wait for itself")
	errNilContext = errors.New("the context is nil")
	errGoexit     = errors.New("the callback ended its goroutine (runtime.Goexit)")
)

// inCallback is a misuse that is told apart by its status.
func inCallback(what string) error {
	return &Error{Status: abi.StatusErrInCallback, Message: what + ": " + errInCallback.Error(), Cause: errInCallback}
}

func badState(what string, cause error) error {
	return &Error{Status: abi.StatusErrState, Message: what + ": " + cause.Error(), Cause: cause}
}
