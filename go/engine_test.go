package wscengine_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-playground/validator/v10"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
)

func newEngine(t *testing.T, target *url.URL, conn adapterI, c clientI, change func(*optionsT)) *wscengine.WebsocketEngine {
	t.Helper()
	opts := wscengine.NewWebsocketEngineConfigurationOptions().WithAutoReconnectRetryDelayBaseSeconds(1)
	if change != nil {
		change(opts)
	}
	e, err := wscengine.NewWebsocketEngine(target, conn, c, opts, nil)
	require.NoError(t, err)
	return e
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	u, conn, c := &url.URL{Scheme: "ws", Host: "127.0.0.1"}, wslay.NewWslayWebsocketConnectionAdapter(nil), wsclient.NoopClient{}
	for name, made := range map[string]func() (*wscengine.WebsocketEngine, error){
		"url": func() (*wscengine.WebsocketEngine, error) {
			return wscengine.NewWebsocketEngine(nil, conn, c, nil, nil)
		},
		"conn": func() (*wscengine.WebsocketEngine, error) { return wscengine.NewWebsocketEngine(u, nil, c, nil, nil) },
		"nil conn": func() (*wscengine.WebsocketEngine, error) {
			return wscengine.NewWebsocketEngine(u, (*wslay.WslayWebsocketConnectionAdapter)(nil), c, nil, nil)
		},
		"decorated nil": func() (*wscengine.WebsocketEngine, error) {
			decorated, err := wsadapters.NewWebsocketConnectionAdapterInstrumentationDecorator((*wslay.WslayWebsocketConnectionAdapter)(nil), nil)
			require.NoError(t, err)
			return wscengine.NewWebsocketEngine(u, decorated, c, nil, nil)
		},
		"wsclient": func() (*wscengine.WebsocketEngine, error) {
			return wscengine.NewWebsocketEngine(u, conn, nil, nil, nil)
		},
		"scheme": func() (*wscengine.WebsocketEngine, error) {
			return wscengine.NewWebsocketEngine(&url.URL{Scheme: "http", Host: "h"}, conn, c, nil, nil)
		},
		"header": func() (*wscengine.WebsocketEngine, error) {
			opts := wscengine.NewWebsocketEngineConfigurationOptions().WithHeaders([]string{"no colon"})
			return wscengine.NewWebsocketEngine(u, conn, c, opts, nil)
		},
		"NUL": func() (*wscengine.WebsocketEngine, error) {
			opts := wscengine.NewWebsocketEngineConfigurationOptions().WithOrigin("a\x00b")
			return wscengine.NewWebsocketEngine(u, conn, c, opts, nil)
		},
	} {
		e, err := made()
		require.Error(t, err, name)
		require.Nil(t, e, name)
	}
}

func TestValidateNamesEveryFieldItsValueAndTheLimit(t *testing.T) {
	require.NoError(t, wscengine.Validate(&optionsT{
		ReaderRoutinesCount: 4, AutoReconnectRetryDelayBaseSeconds: 5, AutoReconnectRetryDelayMaxExponent: 1,
	}))
	var invalid *validator.InvalidValidationError
	require.ErrorAs(t, wscengine.Validate(nil), &invalid)
	opts := &optionsT{OnOpenTimeoutMs: -1, StopTimeoutMs: -7, JitterPercent: 101, KeepAliveIntervalMs: -2}
	err := wscengine.Validate(opts)
	fields, ok := err.(validator.ValidationErrors)
	require.True(t, ok)
	said := map[string]string{}
	for _, f := range fields {
		said[f.StructField()] = f.Error()
	}
	require.Len(t, said, 7)
	require.Contains(t, said["JitterPercent"], "it is 101 and must be at most 100")
	require.Contains(t, said["StopTimeoutMs"], "it is -7 and must be at least 0")
	_, err = wscengine.NewWebsocketEngine(&url.URL{Scheme: "ws", Host: "h"}, wslay.NewWslayWebsocketConnectionAdapter(nil), wsclient.NoopClient{}, opts, nil)
	_, ok = err.(validator.ValidationErrors)
	require.True(t, ok, "the engine's error is Validate's: %v", err)
}

func TestMisuseIsAnErrorAndChangesNothing(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		u := echo(t)
		e := newEngine(t, u, conn, &client{}, nil)
		require.Error(t, e.Stop(within(t)), "stop before start")
		var none context.Context
		require.Error(t, e.Start(none))
		require.Error(t, e.Stop(none))
		require.Error(t, conn.Ping(within(t)))
		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		err := e.Start(cancelled)
		require.ErrorIs(t, err, context.Canceled)
		var failed wscengine.EngineStartError
		require.ErrorAs(t, err, &failed)
		require.NoError(t, e.Start(within(t)))
		require.ErrorAs(t, e.Start(within(t)), &failed, "start twice")
		require.True(t, e.IsStarted())
		require.NoError(t, conn.Ping(within(t)))
		_, err = conn.Dial(within(t), *u)
		require.Error(t, err, "dial twice")
		require.NoError(t, e.Stop(within(t)))
		require.Error(t, e.Stop(within(t)))
		require.ErrorIs(t, conn.Ping(within(t)), net.ErrClosed)
		require.ErrorIs(t, conn.Close(within(t), wsadapters.NormalClosure, ""), net.ErrClosed)
		require.ErrorIs(t, e.Write(within(t), wsadapters.Text, []byte("late")), net.ErrClosed)
		require.False(t, e.IsStarted())
		require.NoError(t, e.Err())
		receive(t, e.Done())
	})
}

func TestAdaptersAloneObeyTheirContexts(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		u := echo(t)
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		verbs := func() map[string]error {
			_, dial := conn.Dial(ended, *u)
			kind, msg, read := conn.Read(ended)
			require.Equal(t, wsadapters.NoMessage, kind)
			require.Nil(t, msg)
			return map[string]error{"dial": dial, "read": read, "ping": conn.Ping(ended), "write": conn.Write(ended, wsadapters.Text, nil)}
		}
		for verb, err := range verbs() {
			require.ErrorIs(t, err, context.Canceled, verb)
		}
		require.Nil(t, conn.GetUnderlyingWebsocketConnection())
		resp, err := conn.Dial(within(t), *u)
		require.NoError(t, err)
		require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
		require.NotNil(t, resp.Body)
		require.NotNil(t, conn.GetUnderlyingWebsocketConnection())
		_, err = conn.Dial(within(t), *u)
		require.Error(t, err, "it is open already")
		require.NoError(t, conn.Write(within(t), wsadapters.Binary, []byte{1, 2, 3}))
		kind, msg, err := conn.Read(within(t))
		require.NoError(t, err)
		require.Equal(t, wsadapters.Binary, kind)
		require.Equal(t, []byte{1, 2, 3}, msg)
		require.NoError(t, conn.Close(within(t), wsadapters.NormalClosure, "bye"))
		require.ErrorIs(t, conn.Close(within(t), wsadapters.NormalClosure, "bye"), net.ErrClosed)
		_, err = conn.Dial(within(t), *u)
		require.NoError(t, err, "it can be dialed again")
		require.NoError(t, conn.Close(within(t), wsadapters.NormalClosure, ""))
	})
}

// stopper stops in the two callbacks of things that fail.
type stopper struct {
	client
	stop func(where string)
}

func (s *stopper) OnReadError(context.Context, adapterI, *sync.Mutex, context.CancelFunc, context.CancelFunc, error) {
	s.stop("read error")
}

func (s *stopper) OnCloseError(context.Context, error) { s.stop("close error") }

// moving dials the server for its first session, and nobody for the others.
type moving struct {
	client
	then     string
	attempts atomic.Int32
}

func (m *moving) BeforeAttempt(_ context.Context, a wsclient.Attempt) error {
	if m.attempts.Add(1) > 1 {
		return a.SetURL(m.then)
	}
	return nil
}

func TestTheUsersCloseReconnects(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		opened, closed := make(chan bool, 4), make(chan *wsclient.CloseMessageDetails, 4)
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(_ context.Context, _ adapterI, _ context.CancelFunc, restarting bool) error {
				opened <- restarting
				return nil
			},
			onClose: func(_ context.Context, _ adapterI, how *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails {
				closed <- how
				return nil
			},
		}, nil)
		require.NoError(t, e.Start(within(t)))
		require.False(t, receive(t, opened))
		require.NoError(t, conn.Close(within(t), wsadapters.GoingAway, "mine"))
		require.NotNil(t, receive(t, closed))
		require.True(t, receive(t, opened))
		require.NoError(t, e.Stop(within(t)))
		require.Nil(t, receive(t, closed), "after Stop there is no close message")
	})
}

func TestAStartThatIsGivenUpWhileOnOpenRuns(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		entered, release := make(chan context.Context, 1), make(chan struct{})
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(ctx context.Context, _ adapterI, _ context.CancelFunc, _ bool) error {
				select {
				case entered <- ctx:
				default:
				}
				<-release
				return nil
			},
		}, nil)
		ctx, cancel := context.WithCancel(context.Background())
		failed := make(chan error, 1)
		go func() { failed <- e.Start(ctx) }()
		open := receive(t, entered)
		cancel()
		require.ErrorIs(t, receive(t, failed), context.Canceled)
		receive(t, open.Done())
		started := make(chan bool, 1)
		go func() { started <- e.IsStarted() }()
		close(release)
		require.False(t, receive(t, started))
		require.Eventually(t, func() bool { return e.State() == wscengine.StateStopped }, 20*time.Second, time.Millisecond)
		require.NoError(t, e.Start(within(t)), "it can start again")
		require.NoError(t, e.Stop(within(t)))
	})
}

func TestContextsCarryWhatStartsDoes(t *testing.T) {
	type key struct{}
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		values, done := make(chan any, 3), make(chan struct{})
		var session context.Context
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(ctx context.Context, c adapterI, _ context.CancelFunc, _ bool) error {
				values <- ctx.Value(key{})
				return c.Write(ctx, wsadapters.Text, []byte("x"))
			},
			onMessage: func(ctx context.Context, _ adapterI, _, _ context.CancelFunc, _ []byte) {
				values <- ctx.Value(key{})
				session = ctx
				close(done)
			},
			onClose: func(ctx context.Context, _ adapterI, _ *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails {
				values <- ctx.Err()
				return nil
			},
		}, nil)
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), key{}, "v"))
		require.NoError(t, e.Start(ctx))
		cancel() // the original's `defer cancel()` must not end the run
		receive(t, done)
		require.Equal(t, "v", receive(t, values))
		require.Equal(t, "v", receive(t, values))
		require.NoError(t, session.Err())
		require.True(t, e.IsStarted())
		require.NoError(t, e.Stop(within(t)))
		require.ErrorIs(t, session.Err(), context.Canceled)
		require.ErrorIs(t, receive(t, values).(error), context.Canceled)
	})
}

func TestStopWhenStartContextEnds(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		e := newEngine(t, echo(t), conn, &client{}, func(o *optionsT) { o.StopWhenStartContextEnds = true })
		ctx, cancel := context.WithCancel(context.Background())
		require.NoError(t, e.Start(ctx))
		cancel()
		receive(t, e.Done())
		require.NoError(t, e.Wait(within(t)))
		require.Equal(t, wscengine.StoppedByExit, e.StopReason())
	})
}

func TestRequestAndResponseWhileTheMutexIsHeld(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		views, came := make(chan adapterI, 1), make(chan string, 8)
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(_ context.Context, c adapterI, _ context.CancelFunc, _ bool) error {
				views <- c
				return nil
			},
			onMessage: func(_ context.Context, _ adapterI, _, _ context.CancelFunc, msg []byte) { came <- string(msg) },
		}, nil)
		require.NoError(t, e.Start(within(t)))
		view := receive(t, views)
		for range 50 {
			e.GetReadMutex().Lock()
			require.NoError(t, view.Write(within(t), wsadapters.Text, []byte("question")))
			_, answer, err := view.Read(within(t))
			e.GetReadMutex().Unlock()
			require.NoError(t, err)
			require.Equal(t, "question", string(answer))
		}
		short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		e.GetReadMutex().Lock()
		kind, _, err := view.Read(short)
		e.GetReadMutex().Unlock()
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, wsadapters.NoMessage, kind)
		require.NoError(t, view.Write(within(t), wsadapters.Text, []byte("news")))
		require.Equal(t, "news", receive(t, came), "a read that was given up leaves the connection as it was")
		require.NoError(t, e.Stop(within(t)))
	})
}

// faulty is an adapter whose verbs misbehave.
type faulty struct {
	wsadapters.WebsocketConnectionAdapterInterfaceMock
	dial func() (*http.Response, error)
	read func() (wsadapters.MessageType, []byte, error)
	gone chan struct{}

	write      func() error
	closeError error
	closing    func() // nil: nothing
}

func (f *faulty) Write(context.Context, wsadapters.MessageType, []byte) error { return f.write() }

func (f *faulty) Dial(context.Context, url.URL) (*http.Response, error) { return f.dial() }
func (f *faulty) Read(context.Context) (wsadapters.MessageType, []byte, error) {
	return f.read()
}
func (f *faulty) Ping(context.Context) error { return nil }
func (f *faulty) Close(context.Context, wsadapters.StatusCode, string) error {
	close(f.gone)
	if f.closing != nil {
		f.closing()
	}
	return f.closeError
}

func TestAdaptersThatPanicOrReturnGarbage(t *testing.T) {
	u := &url.URL{Scheme: "ws", Host: "nowhere.invalid"}
	t.Run("Dial panics", func(t *testing.T) {
		e := newEngine(t, u, &faulty{dial: func() (*http.Response, error) { panic("ouch") }}, &client{}, nil)
		require.ErrorContains(t, e.Start(within(t)), "ouch")
	})
	t.Run("Dial ends its goroutine", func(t *testing.T) {
		e := newEngine(t, u, &faulty{dial: func() (*http.Response, error) { runtime.Goexit(); return nil, nil }}, &client{}, nil)
		require.ErrorContains(t, e.Start(within(t)), "Goexit")
	})
	t.Run("Close ends its goroutine", func(t *testing.T) {
		told := make(chan error, 1)
		bad := &faulty{dial: func() (*http.Response, error) { return nil, nil }, gone: make(chan struct{}), closing: runtime.Goexit}
		bad.read = func() (wsadapters.MessageType, []byte, error) {
			<-bad.gone
			return wsadapters.NoMessage, nil, wsadapters.WebsocketCloseError{Code: wsadapters.AbnormalClosure}
		}
		e := newEngine(t, u, bad, &closeErrors{told: told}, nil)
		require.NoError(t, e.Start(within(t)))
		require.NoError(t, e.Stop(within(t)))
		require.ErrorContains(t, receive(t, told), "Goexit")
	})
	for name, read := range map[string]func() (wsadapters.MessageType, []byte, error){
		"no message and no error": func() (wsadapters.MessageType, []byte, error) { return 0, nil, nil },
		"a panic":                 func() (wsadapters.MessageType, []byte, error) { panic("ouch") },
		"the end of the goroutine": func() (wsadapters.MessageType, []byte, error) {
			runtime.Goexit()
			return wsadapters.Text, nil, nil
		},
		"an error that is no end": func() (wsadapters.MessageType, []byte, error) { return 0, nil, errors.New("odd") },
	} {
		t.Run(name, func(t *testing.T) {
			var readErrors atomic.Int32
			closed := make(chan *wsclient.CloseMessageDetails, 1)
			c := &errorCounter{client: client{onClose: func(_ context.Context, _ adapterI, how *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails {
				closed <- how
				return nil
			}}, count: &readErrors}
			bad := &faulty{dial: func() (*http.Response, error) { return nil, nil }, read: read, gone: make(chan struct{})}
			e := newEngine(t, u, bad, c, func(o *optionsT) { o.AutoReconnect = false })
			require.NoError(t, e.Start(within(t)))
			how := receive(t, closed)
			require.NotNil(t, how)
			require.Equal(t, wsadapters.AbnormalClosure, how.CloseReason, "16 in a row are as good as a dead link")
			require.Error(t, e.Wait(within(t)))
			require.Equal(t, int32(15), readErrors.Load())
			receive(t, bad.gone)
		})
	}
}

type errorCounter struct {
	client
	count *atomic.Int32
}

func (c *errorCounter) OnReadError(context.Context, adapterI, *sync.Mutex, context.CancelFunc, context.CancelFunc, error) {
	c.count.Add(1)
}

type closeErrors struct {
	client
	told chan<- error
}

func (c *closeErrors) OnCloseError(_ context.Context, err error) { c.told <- err }

// ending ends the goroutine of one of its callbacks, as a failed assertion does.
type ending struct {
	client
	where string
	ended chan struct{}
}

func (c *ending) end(where string) {
	if where == c.where {
		c.where = "" // once
		close(c.ended)
		runtime.Goexit()
	}
}

func (c *ending) OnOpen(ctx context.Context, _ *http.Response, conn adapterI, _ *sync.Mutex, _ context.CancelFunc, restarting bool) error {
	c.end("open")
	if restarting {
		c.end("open again")
	}
	return conn.Write(ctx, wsadapters.Text, []byte("x"))
}

func (c *ending) OnMessage(_ context.Context, _ adapterI, _ *sync.Mutex, restart, _ context.CancelFunc, _ string, _ wsadapters.MessageType, _ []byte) {
	defer restart()
	c.end("message")
}

func (c *ending) OnClose(context.Context, adapterI, *sync.Mutex, *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails {
	c.end("close")
	return nil
}

func (c *ending) OnReadError(context.Context, adapterI, *sync.Mutex, context.CancelFunc, context.CancelFunc, error) {
	c.end("read error")
}

func (c *ending) OnCloseError(context.Context, error) { c.end("close error") }
func (c *ending) OnRestartError(context.Context, context.CancelFunc, error, int) {
	c.end("restart error")
}
func (c *ending) OnStopped(context.Context, error) { c.end("stopped") }

func (c *ending) BeforeAttempt(context.Context, wsclient.Attempt) error {
	c.end("before attempt")
	return nil
}

func TestMocksServe(t *testing.T) {
	conn, c := wsadapters.NewWebsocketConnectionAdapterInterfaceMock(), wsclient.NewWebsocketClientMock()
	conn.On("Dial", mock.Anything, mock.Anything).Return(&http.Response{StatusCode: 101}, nil)
	blocked := make(chan time.Time)
	conn.On("Read", mock.Anything).Maybe().WaitUntil(blocked).Return(wsadapters.NoMessage, []byte(nil), wsadapters.WebsocketCloseError{Code: wsadapters.GoingAway})
	conn.On("Close", mock.Anything, wsadapters.GoingAway, mock.Anything).Run(func(mock.Arguments) { close(blocked) }).Return(nil)
	c.On("OnOpen", mock.Anything, mock.Anything, mock.Anything, mock.Anything, mock.Anything, false).Return(nil)
	c.On("OnClose", mock.Anything, mock.Anything, mock.Anything, (*wsclient.CloseMessageDetails)(nil)).Return((*wsclient.CloseMessageDetails)(nil))
	e := newEngine(t, &url.URL{Scheme: "ws", Host: "mocked"}, conn, c, nil)
	require.NoError(t, e.Start(within(t)))
	require.NoError(t, e.Stop(within(t)))
	conn.AssertExpectations(t)
	c.AssertExpectations(t)
}

func TestNothingIsLeftAfterAThousandCycles(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		u := echo(t)
		cycle := func() {
			e := newEngine(t, u, conn, &client{onOpen: func(ctx context.Context, c adapterI, _ context.CancelFunc, _ bool) error {
				return c.Write(ctx, wsadapters.Text, []byte("x"))
			}}, nil)
			require.NoError(t, e.Start(within(t)))
			require.NoError(t, e.Stop(within(t)))
		}
		for range 200 {
			cycle()
		}
		before := holds()
		for range 1000 {
			cycle()
		}
		settles(t, before, 256<<10) // a handle that is lost each time is ten times that; threads keep what they freed
	})
}

func TestIdleEnginesNeedNoGoroutines(t *testing.T) {
	u := echo(t)
	first := newEngine(t, u, wslay.NewWslayWebsocketConnectionAdapter(nil), &client{}, nil)
	require.NoError(t, first.Start(within(t)))
	const many = 50
	others := []*wscengine.WebsocketEngine{}
	before := ours()
	for range many {
		e := newEngine(t, u, wslay.NewWslayWebsocketConnectionAdapter(nil), &client{}, nil)
		require.NoError(t, e.Start(within(t)))
		others = append(others, e)
	}
	require.Eventually(t, func() bool { return ours() <= before }, 20*time.Second, 10*time.Millisecond)
	for _, e := range append(others, first) {
		require.NoError(t, e.Stop(within(t)))
	}
}

// ours counts goroutines with code of this module's engine in their stacks.
func ours() int {
	stacks := goleak.Find(goleak.IgnoreTopFunction("testing.(*T).Run"))
	if stacks == nil {
		return 0
	}
	return strings.Count(stacks.Error(), "go/internal/core.")
}

func TestLogRecordsReachSlog(t *testing.T) {
	var mu sync.Mutex
	var text strings.Builder
	lines := slog.NewTextHandler(writer(func(p []byte) {
		mu.Lock()
		defer mu.Unlock()
		text.Write(p)
	}), &slog.HandlerOptions{Level: slog.LevelDebug})
	e := newEngine(t, echo(t), wslay.NewWslayWebsocketConnectionAdapter(nil), &client{}, func(o *optionsT) { o.Logger = slog.New(lines) })
	require.NoError(t, e.Start(within(t)))
	require.NoError(t, e.Stop(within(t)))
	mu.Lock()
	defer mu.Unlock()
	for _, part := range []string{"engine_id=", "session_id=", "subsystem=engine"} {
		require.Contains(t, text.String(), part)
	}
}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

func TestEverythingAtOnce(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		var inside atomic.Int32
		e := newEngine(t, echo(t), conn, &client{
			onMessage: func(_ context.Context, _ adapterI, restart, exit context.CancelFunc, msg []byte) {
				inside.Add(1)
				defer inside.Add(-1)
				switch string(msg) {
				case "restart":
					restart()
				case "exit":
					exit()
				}
			},
		}, func(o *optionsT) { o.StableAfterMs = 1 })
		write := func(ctx context.Context, text string) { _ = e.Write(ctx, wsadapters.Text, []byte(text)) }
		var everybody sync.WaitGroup
		for _, do := range []func(context.Context){
			func(ctx context.Context) { _ = e.Start(ctx) },
			func(ctx context.Context) { _ = e.Start(ctx) },
			func(ctx context.Context) { _ = e.Stop(ctx) },
			func(ctx context.Context) { write(ctx, "hello") },
			func(ctx context.Context) { write(ctx, "restart") },
			func(ctx context.Context) { write(ctx, "exit") },
			func(ctx context.Context) { _ = conn.Ping(ctx) },
			func(ctx context.Context) { _ = conn.Close(ctx, wsadapters.NormalClosure, "") },
			func(ctx context.Context) { e.Restart() },
			func(ctx context.Context) { _, _, _, _ = e.IsStarted(), e.State(), e.Stats(), e.Err() },
			func(ctx context.Context) {
				e.GetReadMutex().Lock()
				defer e.GetReadMutex().Unlock()
				_, _, _ = conn.Read(ctx)
			},
		} {
			everybody.Add(1)
			go func() {
				defer everybody.Done()
				for range 100 {
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
					do(ctx)
					cancel()
				}
			}()
		}
		everybody.Wait()
		_ = e.Stop(within(t)) // it may have stopped
		require.Equal(t, wscengine.StateStopped, e.State())
		require.Zero(t, inside.Load())
		require.NoError(t, e.Start(within(t)))
		require.NoError(t, e.Stop(within(t)))
	})
}
