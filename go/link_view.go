package wscengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"unicode/utf8"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/wsadapters"
)

// A link as an adapter: the view of the connection that callbacks get. It ends with the session.
var _ wsadapters.WebsocketConnectionAdapterInterface = (*link)(nil)

// URLFull is what spans say of the connection.
func (l *link) URLFull() string { return l.host.engine.shown }

// String keeps printers, such as a mock's, from looking inside, where others are at work.
func (l *link) String() string { return "connection to " + l.host.engine.shown }

// usable is an error when the connection has ended.
func (l *link) usable(verb string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == linkOpen && (l.failure == nil || !isClose(l.failure)) {
		return nil
	}
	out := &Error{Status: abi.StatusErrClosed, Message: "wscengine: " + verb + ": the session is over", Cause: l.failure}
	var closed wsadapters.WebsocketCloseError
	if errors.As(l.failure, &closed) {
		out.CloseCode = int(closed.Code)
		out.Message += ": " + closed.Error()
	}
	return out
}

func isClose(err error) bool {
	var closed wsadapters.WebsocketCloseError
	return errors.As(err, &closed) || errors.Is(err, net.ErrClosed)
}

func invalid(format string, values ...any) error {
	return &Error{Status: abi.StatusErrInvalid, Message: "wscengine: " + fmt.Sprintf(format, values...)}
}

// Dial fails: it is open.
func (l *link) Dial(context.Context, url.URL) (*http.Response, error) {
	return nil, badState("dial", errors.New("a connection is open already"))
}

// Close closes the connection; the engine then connects anew.
func (l *link) Close(ctx context.Context, code wsadapters.StatusCode, reason string) error {
	if err := l.usable("close"); err != nil {
		return err
	}
	if err := core.CheckClose(int(code), reason); err != nil {
		return err
	}
	l.mu.Lock()
	l.user = &ownClose{code, reason}
	l.asks++        // nobody dials before it has returned
	l.startFeeder() // somebody must see the peer's answer
	l.mu.Unlock()
	defer l.answered()
	return l.host.conn.Close(ctx, code, reason)
}

// Ping blocks until the pong.
func (l *link) Ping(ctx context.Context) error {
	if err := l.usable("ping"); err != nil {
		return err
	}
	l.listens() // somebody must see the pong
	return l.host.conn.Ping(ctx)
}

// Read gives the next message: of the queue, into which the connection is read as long as somebody waits. So giving a read up does no harm.
func (l *link) Read(ctx context.Context) (wsadapters.MessageType, []byte, error) {
	stop := context.AfterFunc(ctx, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.changed.Broadcast()
	})
	defer stop()
	m, err := l.wait(ctx)
	l.settle()
	if err != nil {
		return wsadapters.NoMessage, nil, err
	}
	return m.kind, m.data, nil
}

func (l *link) wait(ctx context.Context) (message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		switch {
		case l.state != linkOpen || l.refuses:
			return message{}, &Error{Status: abi.StatusErrClosed, Message: "wscengine: read: the session is over", Cause: l.failure}
		case len(l.queue) > 0:
			return l.front(), nil
		case l.failure != nil:
			return message{}, l.failure
		case ctx.Err() != nil:
			return message{}, fmt.Errorf("wscengine: read: %w", ctx.Err())
		}
		l.startFeeder()
		l.changed.Wait()
	}
}

// Write sends one message.
func (l *link) Write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	if err := l.usable("write"); err != nil {
		return err
	}
	switch {
	case msgType != wsadapters.Text && msgType != wsadapters.Binary:
		return invalid("write: message type %d is neither Text (1) nor Binary (2)", msgType)
	case msgType == wsadapters.Text && !utf8.Valid(msg):
		return invalid("write: the text is not UTF-8")
	}
	err := l.host.conn.Write(ctx, msgType, msg)
	if err == nil {
		l.host.sentMessages.Add(1)
		l.host.sentBytes.Add(uint64(len(msg)))
	}
	return err
}

// GetUnderlyingWebsocketConnection is the adapter's.
func (l *link) GetUnderlyingWebsocketConnection() any {
	return l.host.conn.GetUnderlyingWebsocketConnection()
}
