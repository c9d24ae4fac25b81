package wscengine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/internal/native"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsclient"
)

// run is from a start to the end that follows it.
type run struct {
	engine      *WebsocketEngine
	values      context.Context // of Start's, and its span; never ends
	ctx         context.Context // the same; ends with the run
	end         context.CancelFunc
	starting    context.Context                    // Start's own, while it waits
	failed      atomic.Bool                        // the start has
	stopping    atomic.Bool                        // Stop was called
	interrupted atomic.Bool                        // a Stop has begun
	attempts    atomic.Pointer[context.CancelFunc] // of the context of the callback that runs while no session is open yet: Stop ends it
	opening     atomic.Bool                        // the start is under way
	done        chan struct{}                      // closed when the run has ended
	started     chan struct{}                      // closed when Start returns
	err         error                              // why it ended, once done is closed
}

func newRun(e *WebsocketEngine, ctx context.Context) *run {
	r := &run{engine: e, starting: ctx, done: make(chan struct{}), started: make(chan struct{})}
	r.values = context.WithoutCancel(ctx)
	r.ctx, r.end = context.WithCancel(r.values)
	r.opening.Store(true)
	return r
}

// attempting gives the context of a callback that is a part of getting connected, which Stop does not wait for: one runs at a time.
func (r *run) attempting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	r.attempts.Store(&cancel)
	if r.interrupted.Load() {
		cancel()
	}
	return ctx, cancel
}

// interrupt ends that context, now that the core knows of a Stop: what fails by it is not tried again, and no failure of the user's.
func (r *run) interrupt() {
	r.interrupted.Store(true)
	if cancel := r.attempts.Load(); cancel != nil {
		(*cancel)()
	}
}

// exit ends this run, never a later one.
func (r *run) exit() {
	if r.engine.run.Load() == r {
		r.engine.core.Load().Exit()
	}
}

// session is one connection of a run.
type session struct {
	engine  *WebsocketEngine
	id      string
	epoch   uint64
	values  context.Context // those of its callbacks' contexts; never ends
	ctx     context.Context // ends with the session
	end     context.CancelFunc
	exit    context.CancelFunc
	restart context.CancelFunc
	conn    wsadapters.WebsocketConnectionAdapterInterface // the view that callbacks get
	native  *native.Conn                                   // inside of conn, with the wslay adapter
	link    *link                                          // likewise, with another

	pausing chan struct{} // has an element while somebody reads the connection himself; made when that is wanted

	received atomic.Int64
	closed   atomic.Pointer[Close]

	mu          sync.Mutex
	reading     int         // who read the connection themselves, or wait to
	current     *core.Batch // that is being taken
	calling     bool        // a callback but OnMessage runs, or is about to: the library lets read whoever wants
	cancelPause context.CancelFunc
}

// newSession is called with OPENED.
func newSession(e *WebsocketEngine, r *run, ev *core.Event) *session {
	s := &session{engine: e, id: ev.SessionID(), epoch: ev.Epoch()}
	s.values = context.WithValue(r.values, sessionKey{}, s)
	s.ctx, s.end = context.WithCancel(s.values) // no child of the run's: a context that has had children keeps half a KiB for them
	handle := ev.Session()
	s.exit, s.restart = handle.Exit, handle.Restart
	if k := ev.Connection(); k != nil {
		s.native = &native.Conn{K: k, URL: e.shown, Reading: s.take, Over: func() bool { return s.ctx.Err() != nil }}
		s.conn = s.native
	} else {
		s.link = e.host.opened(s)
		s.conn = s.link
	}
	if t := e.tracing.Load(); t != nil && (e.host == nil || !e.host.traced) {
		s.conn = t.decorate(s.conn)
	}
	return s
}

// take is what comes before a read of the connection by the user, and gives what comes after it: what is being taken goes back first, and the engine
// takes nothing meanwhile.
func (s *session) take(ctx context.Context) (after func(), err error) {
	s.mu.Lock()
	s.reading++
	if s.pausing == nil {
		s.pausing = make(chan struct{}, 1)
	}
	if s.current != nil {
		s.current.Finish()
	}
	s.mu.Unlock()
	read := func() {
		s.mu.Lock()
		s.reading--
		s.mu.Unlock()
	}
	select {
	case s.pausing <- struct{}{}:
	case <-ctx.Done():
		read()
		return nil, ctx.Err()
	}
	paused, err := s.pause(ctx)
	if err != nil {
		<-s.pausing
		read()
		if s.native.K.Closed() != nil {
			return nil, nil // the read itself says how it ended
		}
		return nil, err
	}
	return func() {
		if paused {
			s.engine.core.Load().Resume()
		}
		<-s.pausing
		read()
	}, nil
}

// pause pauses the library, if it is not busy with a callback that lets read whoever wants; when one begins meanwhile, that is as good.
func (s *session) pause(ctx context.Context) (paused bool, err error) {
	limited, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	free := s.calling
	s.cancelPause = cancel
	s.mu.Unlock()
	if free {
		return false, nil
	}
	err = s.engine.core.Load().Pause(limited)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancelPause = nil
	if err != nil && (s.calling || limited.Err() != nil && ctx.Err() == nil) { // it may have ended by now, too
		return false, nil
	}
	return err == nil, err
}

// callback is on while one runs that is not OnMessage.
func (s *session) callback(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calling = on
	if on && s.cancelPause != nil {
		s.cancelPause()
	}
}

// closeDetails is how a connection ended, as callbacks get it.
func closeDetails(c *core.Close) *wsclient.CloseMessageDetails {
	if c == nil {
		return nil
	}
	return &wsclient.CloseMessageDetails{CloseReason: wsadapters.StatusCode(c.Code), CloseMessage: c.Reason}
}

// Session is one connection of an engine, as its callbacks can ask their context about it.
type Session struct {
	// ID is a UUID; Epoch counts the sessions of a run from 1.
	ID    string
	Epoch uint64
	// Received is when the message (with several readers: the last ones) was read from the socket; zero with a Go adapter.
	Received time.Time
	// Close is how the connection ended, in OnClose; nil: the user ended the session.
	Close *Close
	// Restart ends this session, never a newer one, and connects anew; Exit ends the run. As those that callbacks get.
	Restart, Exit context.CancelFunc
}

// Close is how a connection ended, in full.
type Close = core.Close

type sessionKey struct{}

// SessionOf gives the session that a callback's context belongs to; false for OnRestartError's, and for any other context.
func SessionOf(ctx context.Context) (Session, bool) {
	s, ok := ctx.Value(sessionKey{}).(*session)
	if !ok {
		return Session{}, false
	}
	out := Session{ID: s.id, Epoch: s.epoch, Close: s.closed.Load(), Restart: s.restart, Exit: s.exit}
	if ns := s.received.Load(); ns != 0 {
		out.Received = time.Unix(0, ns)
	}
	return out, true
}
