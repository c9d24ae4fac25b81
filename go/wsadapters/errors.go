package wsadapters

import "fmt"

// Error names the code and the reason.
func (e WebsocketCloseError) Error() string {
	text := fmt.Sprintf("websocket closed: %d", int(e.Code))
	if e.Reason != "" {
		text += fmt.Sprintf(" %q", e.Reason)
	}
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap gives the library's own error.
func (e WebsocketCloseError) Unwrap() error { return e.Err }
