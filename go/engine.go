package wscengine

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/internal/native"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsclient"
)

// WebsocketEngine manages a connection: opens it, calls a client back, notices when it is lost, opens it again. All methods may be called from any
// goroutine, and from callbacks.
type WebsocketEngine struct {
	readMutex sync.Mutex
	client    wsclient.WebsocketClientInterface
	url       string
	shown     string // the same without its password
	opts      choices
	provider  trace.TracerProvider
	readers   int
	slot      *native.Slot // of the wslay adapter
	host      *host        // of any other

	starts  sync.Mutex
	core    atomic.Pointer[core.Engine] // another, if there is a tracer provider by the time of a start
	tracing atomic.Pointer[tracing]
	run     atomic.Pointer[run] // the last, or the one to come
	session atomic.Pointer[session]
	reason  atomic.Int32 // of the last run that ended
	change  atomic.Pointer[chan struct{}]
}

// handler answers the core's events; it keeps them out of the engine's own method set.
type handler struct{ engine *WebsocketEngine }

// NewWebsocketEngine makes an engine that is not started.
//
// url, conn and wsclient must not be nil; conn is the engine's alone while it runs. opts nil: the defaults. tracerProvider nil: the global one. conn
// is wrapped in wsadapters' instrumentation decorator unless it is one already.
//
// Fails for nil, for options that are out of their limits (validator.ValidationErrors) and for a URL, header or file that cannot be used (*Error);
// nothing is started.
func NewWebsocketEngine(
	url *url.URL,
	conn wsadapters.WebsocketConnectionAdapterInterface,
	wsclient wsclient.WebsocketClientInterface,
	opts *WebsocketEngineConfigurationOptions,
	tracerProvider trace.TracerProvider,
) (*WebsocketEngine, error) {
	switch {
	case url == nil:
		return nil, errors.New("wscengine: url is nil")
	case isNil(conn):
		return nil, errors.New("wscengine: conn is nil")
	case isNil(wsclient):
		return nil, errors.New("wscengine: wsclient is nil")
	}
	inner := conn
	decorated, traced := conn.(*wsadapters.WebsocketConnectionAdapterInstrumentationDecorator)
	if traced {
		if inner = decorated.Decorated(); isNil(inner) {
			return nil, errors.New("wscengine: the adapter that conn decorates is nil")
		}
	}
	if opts == nil {
		opts = NewWebsocketEngineConfigurationOptions()
	}
	if err := Validate(opts); err != nil {
		return nil, err
	}
	e := &WebsocketEngine{
		client:   wsclient,
		url:      url.String(),
		shown:    url.Redacted(),
		opts:     opts.choices(),
		provider: tracerProvider,
		readers:  opts.ReaderRoutinesCount,
	}
	if url.User == nil {
		e.shown = e.url
	}
	if adapter, ok := inner.(native.Adapter); ok {
		e.slot = adapter.Slot()
	} else {
		e.host = &host{engine: e, conn: conn, traced: traced}
	}
	if err := e.build(); err != nil {
		return nil, err
	}
	e.run.Store(&run{engine: e, done: make(chan struct{})})
	return e, nil
}

// changes is closed when a session has opened, a run has ended or a start has failed.
func (e *WebsocketEngine) changes() <-chan struct{} {
	made := make(chan struct{})
	if e.change.CompareAndSwap(nil, &made) {
		return made
	}
	if now := e.change.Load(); now != nil {
		return *now
	}
	return e.changes()
}

func (e *WebsocketEngine) changed() {
	if before := e.change.Swap(nil); before != nil {
		close(*before)
	}
}

// build makes the core's engine, with a tracer if there is one to tell.
func (e *WebsocketEngine) build() error {
	s := &core.Settings{}
	if e.slot != nil {
		s.Add(&e.slot.Settings)
	}
	s.Add(e.opts.settings)
	s.Int(abi.OptionIdHostAdapter, number(e.host != nil))
	if _, ok := undecorated(e.client).(wsclient.BeforeAttemptInterface); ok {
		s.Int(abi.OptionIdAskBeforeAttempt, 1)
	}
	made := newTracing(e)
	var tracer core.Tracer
	if made != nil {
		tracer = made
	}
	inner, err := core.NewEngine(e.url, s, &handler{e}, tracer)
	if err != nil {
		return err
	}
	e.core.Store(inner)
	e.tracing.Store(made)
	return nil
}

// GetReadMutex gives the mutex whose holder pauses the engine: no message and no event is taken meanwhile, and the holder may read the connection
// itself. It is granted at once, also while messages stream in and while none come. The engine holds it in OnReadError, OnClose and OnCloseError.
//
// Unlock it before Stop, which waits for it.
func (e *WebsocketEngine) GetReadMutex() *sync.Mutex { return &e.readMutex }

// IsStarted says whether a run is on, also between its sessions. It waits while the engine is starting or stopping, but not inside a callback: there
// starting is true and stopping is false.
func (e *WebsocketEngine) IsStarted() bool {
	inside := e.core.Load().Inside()
	for {
		r := e.run.Load()
		state := e.core.Load().State()
		switch {
		case state == abi.StateStarting && !inside && r.started != nil:
			<-r.started
		case state == abi.StateStopping && !inside:
			e.waitBriefly()
			time.Sleep(100 * time.Microsecond) // its last event is being answered
		default:
			return state != abi.StateStopped && state != abi.StateStopping
		}
	}
}

// waitBriefly waits for the end of the run, but not for long: by now it may be a newer one, which goes on.
func (e *WebsocketEngine) waitBriefly() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_ = e.core.Load().Wait(ctx)
}

// Start connects, calls OnOpen and returns when that has. ctx is the parent of every context of the run: its values and its span are theirs; that it
// ends ends a start that is under way, and a run only with StopWhenStartContextEnds.
//
// Fails with an EngineStartError: ctx ended, the engine is started already (nothing changes), no connection, OnOpen's error, the timeout. Then the
// connection is closed with 1001 and nothing goes on; the engine does not try again by itself.
func (e *WebsocketEngine) Start(ctx context.Context) error {
	if ctx == nil {
		return EngineStartError{errNilContext}
	}
	if err := ctx.Err(); err != nil {
		return EngineStartError{err}
	}
	if e.core.Load().Inside() {
		return EngineStartError{inCallback("start")}
	}
	r, err := e.begin(ctx)
	if err != nil {
		return EngineStartError{err}
	}
	err = e.core.Load().Start(ctx, e.tracing.Load().parent(ctx))
	r.opening.Store(false)
	if err != nil {
		e.startFailed(r)
		close(r.started)
		return EngineStartError{err}
	}
	close(r.started)
	if e.opts.stopWithContext {
		stop := context.AfterFunc(ctx, r.exit)
		context.AfterFunc(r.ctx, func() { stop() })
	}
	return nil
}

// begin makes the run of a start; an error: there is one already.
func (e *WebsocketEngine) begin(ctx context.Context) (*run, error) {
	e.starts.Lock()
	defer e.starts.Unlock()
	before := e.run.Load()
	if before.over() {
		_ = e.core.Load().Wait(ctx) // its last event may not be answered yet
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if before.opening.Load() || e.core.Load().State() != abi.StateStopped {
		return nil, badState("start", errStarted)
	}
	if e.tracing.Load() == nil && traced(e.provider) {
		if err := e.build(); err != nil { // a provider has been set since
			return nil, err
		}
	}
	if e.slot != nil && !e.slot.Engage(e) {
		return nil, badState("start", errors.New("the adapter is in use: its connection is open, or another engine has it"))
	}
	r := newRun(e, ctx)
	if !before.over() {
		r.done = before.done // nobody has seen it closed yet
	}
	e.run.Store(r)
	e.core.Load().Attach()
	return r, nil
}

// startFailed leaves everything as before; who waits for Done goes on waiting for a run.
func (e *WebsocketEngine) startFailed(r *run) {
	r.failed.Store(true)
	e.changed()
	r.end()
	if !r.over() {
		e.reason.Store(abi.StopReasonStartFailed)
	}
	if e.slot != nil {
		e.slot.Release(e)
	}
	if !e.detachIfIdle() {
		go func() { // of a start that was retried comes STOPPED; OnOpen may be running still; the last answer lets go too
			for !e.detachIfIdle() && e.core.Load().State() != abi.StateStopped {
				e.waitBriefly()
			}
		}()
	}
}

// detachIfIdle lets go of the handler after a start that failed, once nothing of it is left; false: something is.
func (e *WebsocketEngine) detachIfIdle() bool {
	e.starts.Lock()
	defer e.starts.Unlock()
	if !e.run.Load().failed.Load() {
		return true // a new run needs it
	}
	if e.core.Load().State() != abi.StateStopped || e.host != nil && !e.host.idle() {
		return false
	}
	e.core.Load().Detach()
	return true
}

// Stop calls OnClose, closes the connection and returns when no callback runs or will run. Inside a callback it acts as exit does and returns nil at
// once, whatever the context.
//
// Fails when the engine is not started, and when StopTimeoutMs or ctx ends first: then it goes on stopping, and a second Stop waits again.
func (e *WebsocketEngine) Stop(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	if e.core.Load().Inside() {
		e.core.Load().Exit()
		return nil
	}
	if r := e.run.Load(); e.core.Load().State() == abi.StateStopped && !r.opening.Load() {
		return badState("stop", errNotStarted)
	}
	e.run.Load().stopping.Store(true)
	return e.tracing.Load().stop(ctx, func(ctx context.Context) error {
		return e.core.Load().Stop(ctx, func() { e.run.Load().interrupt() })
	})
}

// Wait blocks until the run has ended and none of its callbacks runs. The error says why it ended, nil after Stop and exit; or that ctx has.
func (e *WebsocketEngine) Wait(ctx context.Context) error {
	if ctx == nil {
		return errNilContext
	}
	if e.core.Load().Inside() {
		return inCallback("wait")
	}
	return e.core.Load().Wait(ctx)
}

// Done is closed when the run that is under way, or the next one, has ended.
func (e *WebsocketEngine) Done() <-chan struct{} { return e.run.Load().done }

// Err is why the last run ended: nil while it goes on, and after Stop and exit.
func (e *WebsocketEngine) Err() error {
	r := e.run.Load()
	if !r.over() {
		return nil
	}
	return r.err
}

// Exit ends the run when the running callbacks have returned: the exit of callbacks, for everybody else.
func (e *WebsocketEngine) Exit() { e.core.Load().Exit() }

// Restart ends the session that is open when the running callbacks have returned, and connects anew.
func (e *WebsocketEngine) Restart() { e.core.Load().Restart() }

// Write sends one message on the session that is open. Between sessions it fails with an error that wraps net.ErrClosed, or waits with
// SendWaitsForSession.
func (e *WebsocketEngine) Write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	if ctx == nil {
		return errNilContext
	}
	if e.host != nil {
		return e.host.write(ctx, msgType, msg)
	}
	return e.tracing.Load().write(ctx, msgType, msg, e.core.Load().Write)
}

// State of an engine.
type State int

// States.
const (
	StateStopped      State = abi.StateStopped
	StateStarting     State = abi.StateStarting
	StateOpen         State = abi.StateOpen
	StateReconnecting State = abi.StateReconnecting
	StateStopping     State = abi.StateStopping
)

// String is its name in lower case.
func (s State) String() string {
	return [...]string{"stopped", "starting", "open", "reconnecting", "stopping"}[s]
}

// State is the engine's, at once.
func (e *WebsocketEngine) State() State { return State(e.core.Load().State()) }

// StopReason is why a run ended.
type StopReason int

// Reasons.
const (
	StoppedNeverRan    StopReason = abi.StopReasonNeverRan
	StoppedByStop      StopReason = abi.StopReasonByStop
	StoppedByExit      StopReason = abi.StopReasonByExit
	StoppedLost        StopReason = abi.StopReasonLost        // AutoReconnect is off and the connection ended
	StoppedGaveUp      StopReason = abi.StopReasonGaveUp      // MaxAttempts, GiveUpOn or BeforeAttempt
	StoppedStartFailed StopReason = abi.StopReasonStartFailed // there was no run
)

// String is its name in lower case.
func (r StopReason) String() string {
	return [...]string{"never_ran", "stop", "exit", "lost", "gave_up", "start_failed"}[r]
}

// StopReason is that of the last run that ended.
func (e *WebsocketEngine) StopReason() StopReason { return StopReason(e.reason.Load()) }

// Stats are the counters of an engine, all sessions together. Durations are -1 while they are not known.
type Stats = core.Stats

// Stats gives the counters now.
func (e *WebsocketEngine) Stats() Stats {
	s := e.core.Load().Stats()
	if e.host != nil {
		s.MessagesDropped = e.host.dropped.Load()
		s.MessagesSent, s.BytesSent = e.host.sentMessages.Load(), e.host.sentBytes.Load()
	}
	return s
}
