package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"time"

	gorillaws "github.com/gorilla/websocket"
	"go.opentelemetry.io/otel/trace"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/gorilla"
	"github.com/wscengine/wscengine/go/wsadapters/nhooyr"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
)

type engine struct {
	*wscengine.WebsocketEngine
	script *script
}

var (
	current *engine
	own     *wslay.WslayWebsocketConnectionAdapter
	keep    = map[string]*kept{}
	names   sync.Mutex
	latches = map[string]chan struct{}{}
	cancels = map[string]*cancellation{}
)

type cancellation struct {
	ctx  context.Context
	fire context.CancelFunc
}

func latch(name string) chan struct{} {
	names.Lock()
	defer names.Unlock()
	if latches[name] == nil {
		latches[name] = make(chan struct{})
	}
	return latches[name]
}

func cancelNamed(name string) *cancellation {
	names.Lock()
	defer names.Unlock()
	if cancels[name] == nil {
		c := &cancellation{}
		c.ctx, c.fire = context.WithCancel(context.Background())
		cancels[name] = c
	}
	return cancels[name]
}

// limit is the context that a command asks for; inside a callback still not the callback's, which may have ended.
func (c *command) limit(s *scope) (context.Context, context.CancelFunc) {
	ctx := context.Background()
	if s.ctx != nil {
		ctx = context.WithoutCancel(s.ctx)
	}
	if c.Cancel != "" {
		ctx = cancelNamed(c.Cancel).ctx
	}
	if c.Timeout != nil {
		return context.WithTimeout(ctx, time.Duration(*c.Timeout)*time.Millisecond)
	}
	return ctx, func() {}
}

func engineOf(s *scope) *engine {
	if s.engine != nil {
		return s.engine
	}
	if current == nil {
		return nil
	}
	return current
}

func engineOptions(options map[string]any) (*wscengine.WebsocketEngineConfigurationOptions, error) {
	opts := wscengine.NewWebsocketEngineConfigurationOptions()
	opts.ReaderRoutinesCount = 1
	return opts, setOptions(reflect.ValueOf(opts).Elem(), options)
}

// setOptions sets C's options by the names of their Go fields. Where Go says zero for "default", C's zero is -1.
func setOptions(fieldsOf reflect.Value, options map[string]any) error {
	for name, value := range options {
		var row *abi.Option
		for i := range abi.Options {
			if abi.Options[i].CName == name {
				row = &abi.Options[i]
			}
		}
		if row == nil || row.Name == "" {
			return core.NewError(abi.StatusErrInvalid, name+": no such option")
		}
		f := fieldsOf.FieldByName(row.Name)
		if !f.IsValid() {
			return core.NewError(abi.StatusErrInvalid, name+": not an option of a connection")
		}
		number, isNumber := value.(float64)
		text, isText := value.(string)
		seed := strings.HasPrefix(row.Name, "Auto") || row.Name == "ReaderRoutinesCount" || row.Name == "OnOpenTimeoutMs" || row.Name == "StopTimeoutMs"
		switch f.Kind() {
		case reflect.Bool:
			if !isNumber || number != 0 && number != 1 {
				return core.NewError(abi.StatusErrInvalid, fmt.Sprintf("%s: %v is not 0 or 1", name, value))
			}
			f.SetBool(number == 1)
		case reflect.Int, reflect.Int64:
			if !isNumber {
				return core.NewError(abi.StatusErrInvalid, fmt.Sprintf("%s: %v is no number", name, value))
			}
			if number == 0 && !seed && (row.Default != 0 || row.Min > 0) {
				number = -1
			}
			f.SetInt(int64(number))
		case reflect.String:
			if !isText {
				return core.NewError(abi.StatusErrInvalid, fmt.Sprintf("%s: %v is no text", name, value))
			}
			f.SetString(text)
		case reflect.Slice:
			var list []string
			switch given := value.(type) {
			case []any:
				for _, one := range given {
					list = append(list, fmt.Sprint(one))
				}
			default:
				list = []string{fmt.Sprint(given)}
			}
			f.Set(reflect.ValueOf(list))
		}
	}
	return nil
}

// inC names options as the scenarios do, in C's words.
func inC(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for _, o := range abi.Options {
		if o.Name != "" {
			text = strings.ReplaceAll(text, "WebsocketEngineConfigurationOptions."+o.Name, o.CName)
		}
	}
	if text == err.Error() {
		return err
	}
	return core.NewError(abi.StatusErrInvalid, text)
}

func newAdapter(c *command) (conn, error) {
	header := map[string][]string{}
	if lines, ok := c.Options["HEADER"].([]any); ok {
		for _, line := range lines {
			name, value, _ := strings.Cut(fmt.Sprint(line), ": ")
			header[name] = append(header[name], value)
		}
	}
	switch *adapterName {
	case "gorilla":
		dialer := *gorillaws.DefaultDialer
		return gorilla.NewGorillaWebsocketConnectionAdapter(&dialer, header), nil
	case "nhooyr":
		return nhooyr.NewNhooyrWebsocketConnectionAdapter(nil), nil
	}
	return wslay.NewWslayWebsocketConnectionAdapter(nil), nil
}

func runEngine(c *command, s *scope) (fields, error) {
	target, err := url.Parse(c.URL)
	if err != nil {
		return fields{"made": false}, core.NewError(abi.StatusErrInvalid, "url: "+err.Error())
	}
	opts, err := engineOptions(c.Options)
	if err != nil {
		return fields{"made": false}, err
	}
	made := &script{rules: c.On, calls: map[string]int{}}
	var client wsclient.WebsocketClientInterface = made
	if c.On["before_attempt"] != nil {
		client = &asking{made}
	}
	var provider trace.TracerProvider
	if c.Trace {
		provider = tracerProvider()
	}
	adapter, err := newAdapter(c)
	if err != nil {
		return nil, err
	}
	e, err := wscengine.NewWebsocketEngine(target, adapter, client, opts, provider)
	if err != nil {
		return fields{"made": false}, inC(err)
	}
	made.engine = &engine{e, made}
	current = made.engine
	return fields{"made": true}, nil
}

func runFree(_ *command, s *scope) (fields, error) {
	freed := current != nil
	if current != nil {
		_ = current.Stop(context.Background())
	}
	current = nil // leaks collects
	return fields{"freed": freed}, nil
}

func runWait(c *command, s *scope) (fields, error) {
	e := engineOf(s)
	ctx, cancel := c.limit(s)
	defer cancel()
	err := e.Wait(ctx)
	reason := fields{"reason": e.StopReason().String()}
	if err != nil {
		if ctx.Err() != nil || statusName(err) == "ERR_IN_CALLBACK" || e.State() != wscengine.StateStopped {
			return reason, err
		}
		reason["status"], reason["error"] = "STOPPED", errorFields(err)
		return reason, nil
	}
	if e.StopReason() != wscengine.StoppedNeverRan {
		reason["status"] = "STOPPED"
	}
	return reason, nil
}

// runPause takes the mutex itself, as Go's users do; it has no timeout of its own.
func runPause(c *command, s *scope) (fields, error) {
	ctx, cancel := c.limit(s)
	defer cancel()
	mutex := engineOf(s).GetReadMutex()
	if c.Timeout == nil && c.Cancel == "" {
		mutex.Lock()
		return nil, nil
	}
	for ; !mutex.TryLock(); time.Sleep(100 * time.Microsecond) {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("pause: %w", ctx.Err())
		}
	}
	return nil, nil
}

func runResume(_ *command, s *scope) (fields, error) {
	mutex := engineOf(s).GetReadMutex()
	if mutex.TryLock() {
		mutex.Unlock()
		return nil, core.NewError(abi.StatusErrState, "resume: not paused")
	}
	mutex.Unlock()
	return nil, nil
}

func runExit(c *command, s *scope) (fields, error) {
	if s.exit != nil {
		s.exit()
	} else if k := sessionOf(c, s); k != nil && k.exit != nil && c.Via != "engine" && (s.session != nil || c.Via != "") {
		k.exit()
	} else {
		engineOf(s).Exit()
	}
	return nil, nil
}

func runRestart(c *command, s *scope) (fields, error) {
	if k := sessionOf(c, s); k != nil && k.restart != nil && c.Via != "engine" && (s.session != nil || c.Via != "") {
		k.restart()
	} else {
		engineOf(s).Restart()
	}
	return nil, nil
}

func runStats(_ *command, s *scope) (fields, error) {
	out, v := fields{}, reflect.ValueOf(engineOf(s).Stats())
	for i := range v.NumField() {
		name := snake(v.Type().Field(i).Name)
		if d, ok := v.Field(i).Interface().(time.Duration); ok {
			out[name+"_ns"] = int64(d)
		} else {
			out[name] = v.Field(i).Uint()
		}
	}
	return out, nil
}

func snake(name string) string {
	name = strings.Replace(name, "RTT", "Rtt", 1)
	var b strings.Builder
	for i, r := range name {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

const pattern = "abcdefghijklmnopqrstuvw"

func runAttempt(c *command, s *scope) (fields, error) {
	a := s.attempt
	if a == nil {
		return nil, core.NewError(abi.StatusErrState, "no attempt")
	}
	if c.ClearHeaders != "" {
		a.ClearHeaders()
	}
	if c.ClearSubprotocols != "" {
		a.ClearSubprotocols()
	}
	if c.Reset != "" {
		a.Reset()
	}
	if c.DelayMs != nil {
		a.SetDelayMs(*c.DelayMs)
	}
	if c.RetryDelayMs != nil {
		a.SetRetryDelayMs(*c.RetryDelayMs)
	}
	name, value, _ := strings.Cut(c.Header, ": ")
	return nil, errors.Join(
		when(c.URL != "", func() error { return a.SetURL(c.URL) }),
		when(c.Header != "", func() error { return a.AddHeader(name, value) }),
		when(c.Subprotocol != "", func() error { return a.AddSubprotocol(c.Subprotocol) }),
	)
}

func when(wanted bool, f func() error) error {
	if !wanted {
		return nil
	}
	return f()
}

func runLatch(c *command, _ *scope) (fields, error) {
	patience := 20 * time.Second
	if c.Timeout != nil {
		patience = time.Duration(*c.Timeout) * time.Millisecond
	}
	select {
	case <-latch(c.Name):
		return nil, nil
	case <-time.After(patience):
		return nil, core.NewError(abi.StatusErrTimeout, "latch")
	}
}

func runRelease(c *command, _ *scope) (fields, error) {
	opened := latch(c.Name)
	names.Lock()
	defer names.Unlock()
	select {
	case <-opened:
	default:
		close(opened)
	}
	return nil, nil
}

func runLeaks(*command, *scope) (fields, error) {
	runtime.GC() // what is left is asked for again and again, until nothing changes
	open, err := os.ReadDir("/proc/self/fd")
	// The runtime's threads come and go as it likes; goroutines are what must not be left behind.
	return fields{"threads": runtime.NumGoroutine() - int(laneCount.Load()), "fds": len(open) - 1}, err
}

func runValidate(c *command, _ *scope) (fields, error) {
	opts, err := engineOptions(c.Options)
	if err != nil {
		return nil, err
	}
	target := &url.URL{Scheme: "ws", Host: "127.0.0.1"}
	_, err = wscengine.NewWebsocketEngine(target, wslay.NewWslayWebsocketConnectionAdapter(nil), wsclient.NoopClient{}, opts, nil)
	return nil, inC(err)
}

var commands map[string]func(*command, *scope) (fields, error)

func init() {
	withLimit := func(f func(*engine, context.Context) error) func(*command, *scope) (fields, error) {
		return func(c *command, s *scope) (fields, error) {
			ctx, cancel := c.limit(s)
			defer cancel()
			return nil, f(engineOf(s), ctx)
		}
	}
	commands = map[string]func(*command, *scope) (fields, error){
		"engine": runEngine, "free": runFree, "wait": runWait, "pause": runPause, "resume": runResume,
		"exit": runExit, "restart": runRestart, "stats": runStats, "write": runWrite, "write_many": runWriteMany,
		"read": runRead, "ping": runPing, "close": runClose, "attempt": runAttempt, "latch": runLatch,
		"release": runRelease, "leaks": runLeaks, "validate": runValidate, "connect": runConnect, "disconnect": runDisconnect,
		"start": withLimit(func(e *engine, ctx context.Context) error { return e.Start(ctx) }),
		"stop":  withLimit(func(e *engine, ctx context.Context) error { return e.Stop(ctx) }),
		"state": func(_ *command, s *scope) (fields, error) {
			return fields{"value": engineOf(s).State().String(), "reason": engineOf(s).StopReason().String()}, nil
		},
		"is_started": func(_ *command, s *scope) (fields, error) { return fields{"value": engineOf(s).IsStarted()}, nil },
		"session": func(c *command, s *scope) (fields, error) {
			if k := sessionOf(c, s); k != nil {
				return fields{"session": k.id, "epoch": k.epoch}, nil
			}
			return fields{"session": nil}, nil
		},
		"keep": func(c *command, s *scope) (fields, error) {
			k := sessionOf(c, s)
			if k == nil {
				return nil, core.NewError(abi.StatusErrState, "no session to keep")
			}
			keep[c.Name] = k
			return nil, nil
		},
		"forget": func(*command, *scope) (fields, error) { clear(keep); return nil, nil },
		"echo": func(_ *command, s *scope) (fields, error) {
			return nil, s.session.conn.Write(s.ctx, s.kind, s.data)
		},
		"cork": func(c *command, s *scope) (fields, error) {
			k, err := corked(c, s)
			if err == nil {
				k.Cork()
			}
			return nil, err
		},
		"uncork": func(c *command, s *scope) (fields, error) {
			k, err := corked(c, s)
			if err == nil {
				err = k.Uncork()
			}
			return nil, err
		},
		"refuse": func(_ *command, s *scope) (fields, error) { s.refuse = true; return nil, nil },
		"reply": func(c *command, s *scope) (fields, error) {
			s.reply = &wsclient.CloseMessageDetails{CloseReason: wsadapters.StatusCode(c.Code), CloseMessage: c.Reason}
			return nil, nil
		},
		"cancel": func(c *command, _ *scope) (fields, error) { cancelNamed(c.Name).fire(); return nil, nil },
		"close_codes": func(*command, *scope) (fields, error) {
			out := fields{}
			for name, code := range abi.CloseCodes {
				out[name] = code
			}
			return out, nil
		},
		"spans": func(*command, *scope) (fields, error) { return fields{"open": openSpans()}, nil },
	}
}

func carryOut(c *command, s *scope) fields {
	run := commands[c.Cmd]
	if run == nil {
		return fields{"status": "UNKNOWN_COMMAND"}
	}
	out, err := run(c, s)
	if out == nil {
		out = fields{}
	}
	if err != nil {
		out["status"], out["error"] = statusName(err), errorFields(err)
	} else if out["status"] == nil {
		out["status"] = "OK"
	}
	return out
}
