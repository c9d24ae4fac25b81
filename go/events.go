package wscengine

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/wsclient"
)

// Handle makes the callback that an event stands for, and answers the event: by defer, since a callback may end its goroutine.
func (h *handler) Handle(ev *core.Event) {
	e := h.engine
	switch ev.Kind() {
	case abi.EventTypeOpened:
		e.onOpen(ev)
	case abi.EventTypeReadError:
		e.onReadError(ev)
	case abi.EventTypeClosed:
		e.onClose(ev)
	case abi.EventTypeCloseError:
		e.onCloseError(ev)
	case abi.EventTypeRestartError:
		e.onRestartError(ev)
	case abi.EventTypeBeforeAttempt:
		e.beforeAttempt(ev)
	case abi.EventTypeStopped:
		e.onStopped(ev)
	case abi.EventTypeLog:
		e.log(ev)
	case abi.EventTypeDoDial, abi.EventTypeDoPing, abi.EventTypeDoClose, abi.EventTypeDoStopReading:
		e.host.asked(ev)
	default:
		ev.Done()
	}
}

func (e *WebsocketEngine) onOpen(ev *core.Event) {
	r := e.run.Load()
	s := newSession(e, r, ev)
	e.session.Store(s)
	if e.slot != nil {
		e.slot.Enter(e, s.conn)
	}
	ctx, cancel := e.openContext(r, s)
	defer cancel()
	var resp *http.Response
	if s.link != nil {
		resp = s.link.takeResponse() // the adapter's very own
	} else {
		resp = ev.Response().HTTP()
	}
	err := errGoexit
	s.callback(true)
	defer func() {
		s.callback(false)
		if err != nil {
			s.leave()
			e.core.Load().Refuse(ev, err)
			return
		}
		if s.link != nil {
			s.link.accept()
		}
		e.changed()
		ev.Done()
	}()
	e.tracing.Load().call(ev, ctx, func(ctx context.Context) error {
		err = e.client.OnOpen(ctx, resp, s.conn, &e.readMutex, s.exit, ev.Flags()&abi.EventFlagsRestarting != 0)
		return err
	})
}

// openContext ends with what ends OnOpen: Stop, the timeout and, in a start, Start's own context.
func (e *WebsocketEngine) openContext(r *run, s *session) (context.Context, context.CancelFunc) {
	ctx, free := s.values, context.CancelFunc(func() {})
	if e.opts.openTimeoutMs > 0 {
		ctx, free = context.WithTimeout(ctx, milliseconds(e.opts.openTimeoutMs))
	}
	ctx, cancel := r.attempting(ctx)
	stop := func() bool { return true }
	if r.opening.Load() {
		stop = context.AfterFunc(r.starting, cancel)
	}
	return ctx, func() { stop(); cancel(); free() }
}

// leave ends what the user may still do with a session.
func (s *session) leave() {
	s.end()
	if s.link != nil {
		s.link.retire()
	}
	if s.engine.slot != nil {
		s.engine.slot.Enter(s.engine, nil)
	}
}

// held runs a callback that the engine holds the read mutex for.
func (e *WebsocketEngine) held(ev *core.Event, ctx context.Context, f func(context.Context)) {
	if s := e.session.Load(); s != nil {
		s.callback(true)
		defer s.callback(false)
	}
	e.readMutex.Lock()
	defer e.readMutex.Unlock()
	e.tracing.Load().call(ev, ctx, func(ctx context.Context) error { f(ctx); return nil })
}

func (e *WebsocketEngine) onReadError(ev *core.Event) {
	s := e.session.Load()
	err := e.core.Load().Error(ev)
	defer func() {
		ev.Done()
		if s.link != nil {
			s.link.readOn()
		}
	}()
	e.held(ev, s.ctx, func(ctx context.Context) {
		e.client.OnReadError(ctx, s.conn, &e.readMutex, s.restart, s.exit, err)
	})
}

func (e *WebsocketEngine) onClose(ev *core.Event) {
	s := e.session.Load()
	s.end()
	var answer *wsclient.CloseMessageDetails
	s.closed.Store(ev.Close())
	details := closeDetails(s.closed.Load())
	defer func() {
		s.leave()
		if answer == nil {
			ev.Done()
			return
		}
		ev.Closed(int(answer.CloseReason), answer.CloseMessage)
	}()
	e.held(ev, s.ctx, func(ctx context.Context) {
		if s.link != nil {
			s.link.closing() // not before: who held the mutex must see that his read fails
		}
		answer = e.client.OnClose(ctx, s.conn, &e.readMutex, details)
	})
}

func (e *WebsocketEngine) onCloseError(ev *core.Event) {
	err := e.core.Load().Error(ev)
	ctx := e.session.Load().values
	defer ev.Done()
	e.held(ev, ctx, func(ctx context.Context) { e.client.OnCloseError(ctx, err) })
}

func (e *WebsocketEngine) onRestartError(ev *core.Event) {
	r := e.run.Load()
	ctx, cancel := r.attempting(r.ctx)
	defer cancel()
	err := e.core.Load().Error(ev)
	if errors.Is(err, context.DeadlineExceeded) {
		cancel()
	}
	if ev.Flags()&abi.EventFlagsLast != 0 {
		ctx = context.WithValue(ctx, lastAttempt{}, true)
	}
	defer ev.Done()
	e.tracing.Load().call(ev, ctx, func(ctx context.Context) error {
		e.client.OnRestartError(ctx, r.exit, err, ev.Retry())
		return nil
	})
}

type lastAttempt struct{}

// IsLastAttempt says, of OnRestartError's context, whether the engine gives up with this failure.
func IsLastAttempt(ctx context.Context) bool { return ctx.Value(lastAttempt{}) != nil }

// attempt is the client's view of one.
type attempt struct {
	*core.Attempt
	last error
}

func (a attempt) LastError() error                   { return a.last }
func (a attempt) AddHeader(name, value string) error { return a.Attempt.AddHeader(name + ": " + value) }
func (a attempt) SetDelayMs(ms int64)                { a.SetDelay(ms) }
func (a attempt) SetRetryDelayMs(ms int64)           { a.SetRetryDelay(ms) }

func (e *WebsocketEngine) beforeAttempt(ev *core.Event) {
	a, err := ev.Attempt(), errGoexit
	ctx, cancel := e.run.Load().attempting(e.run.Load().ctx)
	defer func() {
		cancel()
		a.Forget()
		if err != nil {
			e.core.Load().Refuse(ev, err)
			return
		}
		ev.Done()
	}()
	err = undecorated(e.client).(wsclient.BeforeAttemptInterface).BeforeAttempt(ctx, attempt{a, e.core.Load().LastError(a)})
}

func (e *WebsocketEngine) onStopped(ev *core.Event) {
	r := e.run.Load()
	r.err = e.core.Load().Error(ev)
	e.reason.Store(int32(ev.Status()))
	defer e.stopped(ev, r)
	if e.host != nil {
		e.host.rest()
	}
	e.tracing.Load().call(ev, r.ctx, func(ctx context.Context) error {
		if client, ok := undecorated(e.client).(wsclient.OnStoppedInterface); ok {
			client.OnStopped(ctx, r.err)
		}
		return nil
	})
}

func (e *WebsocketEngine) stopped(ev *core.Event, r *run) {
	r.end()
	if s := e.session.Load(); s != nil {
		s.end()
	}
	e.session.Store(nil)
	e.changed()
	if e.slot != nil {
		e.slot.Release(e)
	}
	e.core.Load().Detach()
	close(r.done)
	ev.Done()
}

// over says whether the run has ended.
func (r *run) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// on says whether the run may still have a session.
func (r *run) on() bool { return r.started != nil && !r.failed.Load() && !r.over() }

func (e *WebsocketEngine) log(ev *core.Event) {
	defer ev.Done()
	if e.opts.logger == nil {
		return
	}
	record := slog.NewRecord(ev.Time(), levels[ev.Level()], ev.Text(), 0)
	record.AddAttrs(slog.Uint64("engine_id", e.core.Load().ID()), slog.String("subsystem", ev.Subsystem()))
	if id := ev.SessionID(); id != "" {
		record.AddAttrs(slog.String("session_id", id))
	}
	if lost := ev.Lost(); lost > 0 {
		record.AddAttrs(slog.Int("lost_before", lost))
	}
	ctx := e.run.Load().context()
	if e.opts.logger.Enabled(ctx, record.Level) {
		_ = e.opts.logger.Handler().Handle(ctx, record)
	}
}

func (r *run) context() context.Context {
	if r.ctx == nil {
		return context.Background()
	}
	return r.ctx
}
