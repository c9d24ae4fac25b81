package main

import (
	"encoding/hex"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/wsadapters"
)

func responseFields(r *http.Response) any {
	if r == nil {
		return nil
	}
	headers := fields{}
	for name, values := range r.Header {
		headers[name] = values[len(values)-1]
	}
	body, _ := io.ReadAll(r.Body)
	reason := r.Status
	if len(reason) > 4 {
		reason = reason[4:]
	}
	return fields{
		"status": r.StatusCode, "reason": reason, "subprotocol": r.Header.Get("Sec-Websocket-Protocol"),
		"headers": headers, "body_length": len(body), "body": string(body[:min(len(body), 1024)]),
	}
}

// links are an error and its causes, as the library chains them.
func links(err error) (out []error) {
	var closed wsadapters.WebsocketCloseError
	var start wscengine.EngineStartError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &start) && err == error(start):
		return links(start.Err)
	case errors.As(err, &closed) && err == error(closed):
		if inner := links(closed.Err); len(inner) > 0 {
			return inner
		}
	}
	out = []error{err}
	if e := (*core.Error)(nil); errors.As(err, &e) && e.Cause != nil {
		out = append(out, links(e.Cause)...)
	}
	return out
}

func statusName(err error) string {
	var invalid validator.ValidationErrors
	if errors.As(err, &invalid) {
		return "ERR_INVALID"
	}
	var closed wsadapters.WebsocketCloseError
	if e := (*core.Error)(nil); !errors.As(err, &e) && errors.As(err, &closed) {
		return "ERR_CLOSED"
	}
	return core.StatusName(core.StatusOf(err))
}

func errorFields(err error) any {
	if err == nil {
		return nil
	}
	chain, messages := []string{}, []string{}
	out := fields{"close_code": 0, "os_error": 0, "http_status": 0, "response": nil}
	for i, one := range links(err) {
		chain, messages = append(chain, statusName(one)), append(messages, one.Error())
		if e, ok := one.(*core.Error); ok {
			if i == 0 {
				out["close_code"], out["os_error"], out["http_status"] = e.CloseCode, e.OSError, e.HTTPStatus
			}
			if e.Response != nil {
				out["response"] = responseFields(e.Response.HTTP())
			}
		}
	}
	var closed wsadapters.WebsocketCloseError
	if errors.As(err, &closed) {
		out["close_code"] = int(closed.Code)
	}
	out["status"], out["message"], out["chain"], out["messages"] = chain[0], messages[0], chain, messages
	return out
}

func messageFields(kind wsadapters.MessageType, data []byte) fields {
	out := fields{"type": "binary", "length": len(data)}
	text := kind == wsadapters.Text
	if text {
		out["type"] = "text"
	}
	switch {
	case len(data) > 256:
		out["crc"] = crc32.ChecksumIEEE(data)
		if text {
			head := data[:32]
			for !utf8.Valid(head) {
				head = head[:len(head)-1]
			}
			out["head"] = string(head)
		}
	case text:
		out["text"] = string(data)
	default:
		out["hex"] = hex.EncodeToString(data)
	}
	return out
}

var (
	initiators = []string{"nobody", "local", "peer", "network"}
	timers     = []string{"none", "connect", "keepalive", "data_idle", "close"}
)

func closeFields(c *wscengine.Close) fields {
	if c == nil {
		return fields{"by": "user"}
	}
	return fields{
		"by": initiators[c.Initiator], "code": c.Code, "code_sent": c.CodeSent, "code_received": c.CodeReceived, "os_error": c.OSError,
		"timer": timers[c.Timer], "unsent_bytes": c.Unsent, "reason": c.Reason,
	}
}
