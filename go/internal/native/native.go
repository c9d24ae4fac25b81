// Package native is the library's own connection behind the adapter interface, alone or under an engine.
package native

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/wsadapters"
)

// ErrOpen is Dial's when there is a connection already.
var ErrOpen = errors.New("a connection is open already")

// Conn is one connection.
type Conn struct {
	K *core.Connection
	// URL of the connection, without its password.
	URL string
	// Reading, when it is set, comes before each read and gives what comes after it.
	Reading func(ctx context.Context) (after func(), err error)
	// Over, when it is set, says whether the session has ended.
	Over func() bool
}

var _ wsadapters.WebsocketConnectionAdapterInterface = (*Conn)(nil)

// URLFull is what spans say of the connection.
func (c *Conn) URLFull() string { return c.URL }

// String keeps printers, such as a mock's, from looking inside, where others are at work.
func (c *Conn) String() string { return "connection to " + c.URL }

// Dial fails: it is open.
func (c *Conn) Dial(context.Context, url.URL) (*http.Response, error) { return nil, ErrOpen }

// Close sends a close message and waits for the peer's.
func (c *Conn) Close(ctx context.Context, code wsadapters.StatusCode, reason string) error {
	return c.K.Close(ctx, int(code), reason)
}

// Ping blocks until the pong.
func (c *Conn) Ping(ctx context.Context) error {
	_, err := c.K.Ping(ctx)
	return err
}

// Read gives the next message.
func (c *Conn) Read(ctx context.Context) (wsadapters.MessageType, []byte, error) {
	for {
		kind, data, again, err := c.read(ctx)
		if err == nil {
			return wsadapters.MessageType(kind), data, nil
		}
		if misused(err) && c.Over != nil {
			if c.Over() {
				err = core.NewError(abi.StatusErrClosed, "read: the session is over")
			} else if again {
				continue // the callback inside which it was to be read has ended since
			}
		}
		return wsadapters.NoMessage, nil, c.closeError(err)
	}
}

// read does that once; again: it may be worth another try.
func (c *Conn) read(ctx context.Context) (kind int, data []byte, again bool, err error) {
	if c.Reading != nil {
		after, err := c.Reading(ctx)
		if err != nil {
			return 0, nil, false, err
		}
		if after != nil {
			defer after()
		}
	}
	kind, data, err = c.K.Read(ctx)
	return kind, data, true, err
}

// misused says whether it was not the user's to read.
func misused(err error) bool {
	failed := (*core.Error)(nil)
	return errors.As(err, &failed) && failed.Status == abi.StatusErrState
}

// closeError turns the end of the connection into what the adapter interface says.
func (c *Conn) closeError(err error) error {
	failed := (*core.Error)(nil)
	if !errors.As(err, &failed) || failed.Status != abi.StatusErrClosed {
		return err
	}
	closed := wsadapters.WebsocketCloseError{Code: wsadapters.StatusCode(failed.CloseCode), Err: err}
	if how := c.K.Closed(); how != nil {
		closed.Code, closed.Reason = wsadapters.StatusCode(how.Code), how.Reason
	}
	if closed.Code == 0 {
		closed.Code = wsadapters.AbnormalClosure
	}
	return closed
}

// Write sends one message.
func (c *Conn) Write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	return c.K.Write(ctx, int(msgType), msg)
}

// GetUnderlyingWebsocketConnection is this very connection.
func (c *Conn) GetUnderlyingWebsocketConnection() any { return c }

// Slot is an adapter object: the connection that it dialed itself, or the session of the engine that uses it.
type Slot struct {
	Settings core.Settings

	mu      sync.Mutex
	dialing bool
	own     *Conn
	engine  any // whose it is
	session wsadapters.WebsocketConnectionAdapterInterface
}

// Adapter is what has a slot: the wslay adapter.
type Adapter interface{ Slot() *Slot }

// Engage makes the slot an engine's for a run; false: it is in use.
func (s *Slot) Engage(engine any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine != nil && s.engine != engine || s.dialing || s.own != nil && s.own.K.Closed() == nil {
		return false
	}
	s.engine = engine
	return true
}

// Enter sets the engine's session; nil: there is none.
func (s *Slot) Enter(engine any, session wsadapters.WebsocketConnectionAdapterInterface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == engine {
		s.session = session
	}
}

// Release ends what Engage began.
func (s *Slot) Release(engine any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.engine == engine {
		s.engine, s.session = nil, nil
	}
}

// Open is the connection that there is, or an error that wraps net.ErrClosed.
func (s *Slot) Open() (wsadapters.WebsocketConnectionAdapterInterface, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.session != nil {
		return s.session, nil
	}
	if s.own != nil {
		return s.own, nil
	}
	return nil, fmt.Errorf("wslay: no connection is open: %w", net.ErrClosed)
}

// Close closes the connection that there is. Of its own the slot lets go also when the peer has not answered in time: the library closes that by itself.
func (s *Slot) Close(ctx context.Context, code wsadapters.StatusCode, reason string) error {
	c, err := s.Open()
	if err != nil {
		return err
	}
	err = c.Close(ctx, code, reason)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.own != nil && s.own == c {
			s.own = nil
		}
	}
	return err
}

// Dial opens a connection of the slot's own.
func (s *Slot) Dial(ctx context.Context, target url.URL) (*http.Response, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.engine != nil || s.dialing || s.own != nil && s.own.K.Closed() == nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("wslay: %w", ErrOpen)
	}
	s.dialing = true
	s.mu.Unlock()
	k, err := core.NewConnection(target.String(), &s.Settings)
	var response *core.Response
	if err == nil {
		if response, err = k.Dial(ctx); err != nil {
			k.Free()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dialing = false
	if err != nil {
		if failed := (*core.Error)(nil); errors.As(err, &failed) {
			response = failed.Response
		}
		return response.HTTP(), err
	}
	s.own = &Conn{K: k, URL: target.Redacted()}
	return response.HTTP(), nil
}
