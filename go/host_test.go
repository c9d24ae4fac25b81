package wscengine_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsclient"
)

func TestAnEngineWhoseStartFailedIsCollected(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		dead, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		_ = dead.Close()
		const engines = 10
		var collected atomic.Int32
		for range engines {
			c := &client{}
			runtime.AddCleanup(c, func(n *atomic.Int32) { n.Add(1) }, &collected)
			e := newEngine(t, &url.URL{Scheme: "ws", Host: dead.Addr().String()}, conn, c, nil)
			require.Error(t, e.Start(within(t)))
		}
		require.Eventually(t, func() bool {
			runtime.GC()
			return collected.Load() >= engines-1 // the stack may still hold one
		}, 20*time.Second, time.Millisecond)
	})
}

// stubborn is an adapter whose first Dial does not obey its context.
type stubborn struct {
	adapterI
	inside, most, dials atomic.Int32
	release             chan struct{}
}

func (s *stubborn) Dial(context.Context, url.URL) (*http.Response, error) {
	s.most.Store(max(s.most.Load(), s.inside.Add(1)))
	defer s.inside.Add(-1)
	if s.dials.Add(1) == 1 {
		<-s.release
	}
	return nil, nil
}

func (s *stubborn) Read(ctx context.Context) (wsadapters.MessageType, []byte, error) {
	<-ctx.Done()
	return wsadapters.NoMessage, nil, wsadapters.WebsocketCloseError{Code: wsadapters.AbnormalClosure, Err: ctx.Err()}
}

func (s *stubborn) Close(context.Context, wsadapters.StatusCode, string) error {
	s.most.Store(max(s.most.Load(), s.inside.Add(1)))
	defer s.inside.Add(-1)
	time.Sleep(time.Millisecond)
	return nil
}

func TestADialWaitsUntilTheOneBeforeItHasReturned(t *testing.T) {
	conn := &stubborn{release: make(chan struct{})}
	e := newEngine(t, &url.URL{Scheme: "ws", Host: "nowhere.invalid"}, conn, &client{}, nil)
	short, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, e.Start(short), context.DeadlineExceeded)
	again := make(chan error, 1)
	go func() { again <- e.Start(within(t)) }()
	select {
	case err := <-again:
		require.Fail(t, "the first dial is still under way", "%v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(conn.release)
	require.NoError(t, receive(t, again))
	require.NoError(t, e.Stop(within(t)))
	require.Equal(t, int32(2), conn.dials.Load())
	require.Equal(t, int32(1), conn.most.Load(), "dials and closes of one adapter came one at a time")
}

// strict is an adapter that counts what must not be asked of it.
type strict struct {
	adapterI
	mu     sync.Mutex
	over   chan struct{} // of the connection that is open
	faults atomic.Int32
	reads  atomic.Int32
	closed func() // called when Read is out, before Close returns
}

func (s *strict) Dial(context.Context, url.URL) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		s.faults.Add(1)
		return nil, errors.New("open already")
	}
	s.over = make(chan struct{})
	return nil, nil
}

func (s *strict) Read(ctx context.Context) (wsadapters.MessageType, []byte, error) {
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	s.reads.Add(1)
	select {
	case <-over:
	case <-ctx.Done():
	}
	return wsadapters.NoMessage, nil, wsadapters.WebsocketCloseError{Code: wsadapters.AbnormalClosure}
}

func (s *strict) Close(context.Context, wsadapters.StatusCode, string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over == nil {
		s.faults.Add(1)
		return net.ErrClosed
	}
	close(s.over)
	s.over = nil
	if s.closed != nil {
		s.closed()
	}
	return nil
}

func TestStartsThatAreGivenUpLeaveAnAdapterClosed(t *testing.T) {
	conn := &strict{}
	e := newEngine(t, &url.URL{Scheme: "ws", Host: "nowhere.invalid"}, conn, &client{}, nil)
	for i := range 1000 {
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			for range i % 50 {
				runtime.Gosched()
			}
			cancel()
		}()
		if e.Start(ctx) == nil {
			require.NoError(t, e.Stop(within(t)))
		}
		cancel()
	}
	require.Eventually(t, func() bool {
		conn.mu.Lock()
		defer conn.mu.Unlock()
		return conn.over == nil
	}, 20*time.Second, time.Millisecond)
	require.Zero(t, conn.faults.Load(), "it was dialed while open, or closed while it was not")
}

// lateDialer opens its second connection only when nobody wants it any more.
type lateDialer struct {
	strict
	dials   atomic.Int32
	closes  int
	dialing chan struct{}
}

func (l *lateDialer) Dial(ctx context.Context, target url.URL) (*http.Response, error) {
	if l.dials.Add(1) == 2 {
		close(l.dialing)
		<-ctx.Done()
		time.Sleep(5 * time.Millisecond) // a Stop that does not wait has returned by now
	}
	return l.strict.Dial(ctx, target)
}

func TestStopReturnsAfterAnAbandonedDialHasClosed(t *testing.T) {
	conn := &lateDialer{dialing: make(chan struct{})}
	conn.closed = func() { conn.closes++ }
	e := newEngine(t, &url.URL{Scheme: "ws", Host: "nowhere.invalid"}, conn, &client{}, nil)
	require.NoError(t, e.Start(within(t)))
	e.Restart()
	receive(t, conn.dialing)
	require.NoError(t, e.Stop(within(t)))
	conn.mu.Lock()
	defer conn.mu.Unlock()
	require.Equal(t, 2, conn.closes)
	require.Nil(t, conn.over, "another engine could not dial it")
	require.Zero(t, conn.faults.Load())
}

func TestStopReturnsAfterTheAdaptersClose(t *testing.T) {
	var returns atomic.Bool
	conn := &strict{closed: func() {
		time.Sleep(20 * time.Millisecond)
		returns.Store(true)
	}}
	e := newEngine(t, &url.URL{Scheme: "ws", Host: "nowhere.invalid"}, conn, &client{}, nil)
	require.NoError(t, e.Start(within(t)))
	require.Eventually(t, func() bool { return conn.reads.Load() > 0 }, 20*time.Second, time.Millisecond)
	require.NoError(t, e.Stop(within(t)))
	require.True(t, returns.Load())
}

func TestOnOpenGetsTheAdaptersOwnResponse(t *testing.T) {
	mine, got := &http.Response{StatusCode: http.StatusSwitchingProtocols, Request: &http.Request{}}, make(chan *http.Response, 1)
	conn := &responding{response: mine}
	e := newEngine(t, &url.URL{Scheme: "ws", Host: "nowhere.invalid"}, conn, &opener{got: got}, nil)
	require.NoError(t, e.Start(within(t)))
	require.Same(t, mine, receive(t, got))
	require.NoError(t, e.Stop(within(t)))
}

type responding struct {
	strict
	response *http.Response
}

func (r *responding) Dial(ctx context.Context, target url.URL) (*http.Response, error) {
	_, err := r.strict.Dial(ctx, target)
	return r.response, err
}

type opener struct {
	wsclient.NoopClient
	got chan *http.Response
}

func (o *opener) OnOpen(_ context.Context, resp *http.Response, _ adapterI, _ *sync.Mutex, _ context.CancelFunc, _ bool) error {
	o.got <- resp
	return nil
}

func TestADecoratedClientKeepsItsOtherCallbacks(t *testing.T) {
	for name, provider := range map[string]trace.TracerProvider{"untraced": nil, "traced": sdk.NewTracerProvider()} {
		t.Run(name, func(t *testing.T) {
			c := &hooked{asked: make(chan struct{}, 1), stopped: make(chan struct{}, 1)}
			decorated, err := wscengine.NewWebsocketClientInstrumentationDecorator(c, provider)
			require.NoError(t, err)
			twice, err := wscengine.NewWebsocketClientInstrumentationDecorator(decorated, provider)
			require.NoError(t, err)
			e, err := wscengine.NewWebsocketEngine(echo(t), adapters["wslay"](), twice, nil, provider)
			require.NoError(t, err)
			require.NoError(t, e.Start(within(t)))
			receive(t, c.asked)
			require.NoError(t, e.Stop(within(t)))
			receive(t, c.stopped)
		})
	}
}

type hooked struct {
	wsclient.NoopClient
	asked, stopped chan struct{}
}

func (h *hooked) BeforeAttempt(context.Context, wsclient.Attempt) error {
	h.asked <- struct{}{}
	return nil
}

func (h *hooked) OnStopped(context.Context, error) { h.stopped <- struct{}{} }

func TestASendThatWaitsForASessionDoesNotOutwaitTheRun(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		release, opening := make(chan struct{}), make(chan struct{})
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(context.Context, adapterI, context.CancelFunc, bool) error {
				close(opening)
				<-release
				return errors.New("no")
			},
		}, func(o *optionsT) { o.SendWaitsForSession = true })
		send := func() <-chan error {
			sent := make(chan error, 1)
			go func() { sent <- e.Write(context.Background(), wsadapters.Text, []byte("x")) }()
			return sent
		}
		require.ErrorIs(t, receive(t, send()), net.ErrClosed, "it was never started")
		started := make(chan error, 1)
		go func() { started <- e.Start(within(t)) }()
		receive(t, opening)
		waits := send()
		close(release)
		require.Error(t, receive(t, started))
		_ = receive(t, waits) // it may have found the session that was being opened
		require.ErrorIs(t, receive(t, send()), net.ErrClosed, "its start failed")
	})
}

func TestAnEngineThatFoundNoDescriptorsCanBeMadeLater(t *testing.T) {
	if os.Getenv("WITHOUT_DESCRIPTORS") == "" { // in a process that has no engine yet
		child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
		child.Env = append(os.Environ(), "WITHOUT_DESCRIPTORS=1")
		out, err := child.CombinedOutput()
		require.NoError(t, err, string(out))
		return
	}
	var was syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	r, w, err := os.Pipe() // the netpoller's own are there from now on
	require.NoError(t, err)
	_, _ = r.Close(), w.Close()
	before := holds().fds
	made := func(most uint64) error {
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: most, Max: was.Max}))
		_, err := wscengine.NewWebsocketEngine(&url.URL{Scheme: "ws", Host: "nowhere.invalid"}, adapters["wslay"](), wsclient.NoopClient{}, nil, nil)
		require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &was))
		return err
	}
	failed := 0
	for most := uint64(1); made(most) != nil; most++ { // one more is to be had each time
		failed++
		require.Less(t, most, uint64(1000))
		require.Equal(t, before, holds().fds)
	}
	require.NotZero(t, failed)
}

func TestTheUsersCloseBesideStopIsNoCloseError(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		views, told := make(chan adapterI, 1), make(chan error, 100)
		c := &closeErrors{told: told}
		c.onOpen = func(_ context.Context, conn adapterI, _ context.CancelFunc, _ bool) error {
			views <- conn
			return nil
		}
		e := newEngine(t, echo(t), conn, c, nil)
		for range 100 {
			require.NoError(t, e.Start(within(t)))
			view, closed := receive(t, views), make(chan struct{})
			go func() {
				defer close(closed)
				_ = view.Close(within(t), wsadapters.NormalClosure, "")
			}()
			require.NoError(t, e.Stop(within(t)))
			receive(t, closed)
		}
		require.Empty(t, told)
	})
}
