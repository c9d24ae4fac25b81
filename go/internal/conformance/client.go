package main

import (
	"context"
	"errors"
	"net/http"
	"sync"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsclient"
)

type conn = wsadapters.WebsocketConnectionAdapterInterface

// scope is what a command is about: inside a callback its engine, session, message …
type scope struct {
	engine  *engine
	ctx     context.Context
	session *kept
	kind    wsadapters.MessageType
	data    []byte
	attempt wsclient.Attempt
	exit    context.CancelFunc
	refuse  bool
	reply   *wsclient.CloseMessageDetails
}

// kept is a session that a command may name.
type kept struct {
	conn          conn
	exit, restart context.CancelFunc
	id            string
	epoch         uint64
}

// script is the client that plays a scenario's rules.
type script struct {
	engine *engine
	rules  map[string][]rule

	mu    sync.Mutex
	calls map[string]int
	open  *kept
}

// asking is a script with a rule for before_attempt.
type asking struct{ *script }

func (s *script) play(of string, sc *scope, shown fields) {
	sc.engine = s.engine
	s.mu.Lock()
	s.calls[of]++
	call := s.calls[of]
	s.mu.Unlock()
	leave := fields{"event": "leave", "of": of, "call": call}
	shown["event"], shown["call"] = of, call
	if sc.session != nil {
		shown["session"], shown["epoch"], leave["epoch"] = sc.session.id, sc.session.epoch, sc.session.epoch
	}
	emit(shown)
	for _, r := range s.rules[of] {
		if r.Call != 0 && r.Call != call || r.Text != nil && (sc.kind != wsadapters.Text || *r.Text != string(sc.data)) {
			continue
		}
		for i := range r.Do {
			step := r.Do[i]
			result := carryOut(&step, sc)
			result["event"], result["of"], result["call"], result["cmd"] = "action", of, call, step.Cmd
			emit(result)
		}
		break
	}
	emit(leave)
}

func (s *script) session(ctx context.Context, c conn, restart, exit context.CancelFunc) *kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, ok := wscengine.SessionOf(ctx)
	if !ok {
		return nil
	}
	if s.open == nil || s.open.id != session.ID {
		s.open = &kept{id: session.ID, epoch: session.Epoch}
	}
	if c != nil {
		s.open.conn = c
	}
	s.open.restart, s.open.exit = session.Restart, session.Exit
	if restart != nil {
		s.open.restart = restart
	}
	if exit != nil {
		s.open.exit = exit
	}
	return s.open
}

var errRefused = errors.New("refused")

func (s *script) OnOpen(ctx context.Context, resp *http.Response, c conn, _ *sync.Mutex, exit context.CancelFunc, restarting bool) error {
	sc := &scope{ctx: ctx, session: s.session(ctx, c, nil, exit)}
	shown := fields{"restarting": restarting, "subprotocol": "", "response": responseFields(resp)}
	if resp != nil {
		shown["subprotocol"] = resp.Header.Get("Sec-Websocket-Protocol")
	}
	s.play("on_open", sc, shown)
	if sc.refuse {
		return errRefused
	}
	return nil
}

func (s *script) OnMessage(ctx context.Context, c conn, _ *sync.Mutex, restart, exit context.CancelFunc, _ string, kind wsadapters.MessageType, data []byte) {
	sc := &scope{ctx: ctx, session: s.session(ctx, c, restart, exit), kind: kind, data: data}
	shown := messageFields(kind, data)
	session, _ := wscengine.SessionOf(ctx)
	shown["stamped"] = !session.Received.IsZero()
	s.play("on_message", sc, shown)
}

func (s *script) OnReadError(ctx context.Context, c conn, _ *sync.Mutex, restart, exit context.CancelFunc, err error) {
	s.play("on_read_error", &scope{ctx: ctx, session: s.session(ctx, c, restart, exit)}, fields{"error": errorFields(err)})
}

func (s *script) OnClose(ctx context.Context, c conn, _ *sync.Mutex, _ *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails {
	sc := &scope{ctx: ctx, session: s.session(ctx, c, nil, nil)}
	session, _ := wscengine.SessionOf(ctx)
	s.play("on_close", sc, closeFields(session.Close))
	s.mu.Lock()
	s.open = nil
	s.mu.Unlock()
	return sc.reply
}

func (s *script) OnCloseError(ctx context.Context, err error) {
	s.play("on_close_error", &scope{ctx: ctx, session: s.session(ctx, nil, nil, nil)}, fields{"error": errorFields(err)})
}

func (s *script) OnRestartError(ctx context.Context, exit context.CancelFunc, err error, retry int) {
	sc := &scope{ctx: ctx, exit: exit}
	s.play("on_restart_error", sc, fields{"retry": retry, "last": wscengine.IsLastAttempt(ctx), "error": errorFields(err)})
}

func (s *script) OnStopped(ctx context.Context, err error) {
	s.play("on_stopped", &scope{ctx: ctx}, fields{"reason": s.engine.StopReason().String(), "error": errorFields(err)})
}

func (s *asking) BeforeAttempt(ctx context.Context, a wsclient.Attempt) error {
	sc := &scope{ctx: ctx, attempt: a}
	s.play("before_attempt", sc, fields{"number": a.Number(), "url": a.URL(), "last_error": errorFields(a.LastError())})
	if sc.refuse {
		return errRefused
	}
	return nil
}
