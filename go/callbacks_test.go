package wscengine_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsclient"
)

func TestStopInsideEveryCallbackActsAsExit(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		for _, where := range []string{"open", "message", "close", "restart error"} {
			t.Run(where, func(t *testing.T) {
				var e *wscengine.WebsocketEngine
				stop := func(at string) {
					if at == where {
						require.NoError(t, e.Stop(context.Background()))
					}
				}
				u := echo(t)
				dead, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(t, err)
				_ = dead.Close()
				e = newEngine(t, u, conn, &moving{client: client{
					onOpen: func(ctx context.Context, c adapterI, _ context.CancelFunc, _ bool) error {
						stop("open")
						return c.Write(ctx, wsadapters.Text, []byte("x"))
					},
					onMessage: func(_ context.Context, _ adapterI, restart, _ context.CancelFunc, _ []byte) {
						stop("message")
						restart()
					},
					onClose: func(context.Context, adapterI, *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails {
						stop("close")
						return nil
					},
					onRestart: func(context.Context, context.CancelFunc, error, int) { stop("restart error") },
				}, then: "ws://" + dead.Addr().String() + "/"}, nil)
				_ = e.Start(within(t)) // a stop in OnOpen may or may not let it succeed
				require.NoError(t, e.Wait(within(t)))
				require.Equal(t, wscengine.StateStopped, e.State())
			})
		}
	})
}

func TestStopInOnReadErrorAndOnCloseErrorActsAsExit(t *testing.T) {
	var e *wscengine.WebsocketEngine
	stopped := make(chan string, 2)
	stop := func(where string) {
		require.NoError(t, e.Stop(context.Background()))
		stopped <- where
	}
	bad := &faulty{dial: func() (*http.Response, error) { return nil, nil }, gone: make(chan struct{}), closeError: errors.New("odd"),
		read: func() (wsadapters.MessageType, []byte, error) { return 0, nil, errors.New("odd") }}
	e = newEngine(t, &url.URL{Scheme: "ws", Host: "nowhere.invalid"}, bad, &stopper{stop: stop}, nil)
	require.NoError(t, e.Start(within(t)))
	require.Equal(t, "read error", receive(t, stopped))
	require.Equal(t, "close error", receive(t, stopped))
	require.NoError(t, e.Wait(within(t)))
	require.Equal(t, wscengine.StoppedByExit, e.StopReason())
}

func TestOnOpensErrorComesBack(t *testing.T) {
	mine := errors.New("mine")
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(context.Context, adapterI, context.CancelFunc, bool) error { return fmt.Errorf("no: %w", mine) },
		}, nil)
		err := e.Start(within(t))
		require.ErrorIs(t, err, mine)
		var failed wscengine.EngineStartError
		require.ErrorAs(t, err, &failed)
		require.False(t, e.IsStarted())
	})
}

func TestAPanicInACallbackIsGos(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		if os.Getenv("PANICS_WITH") == "" { // in a process of its own
			child := exec.Command(os.Args[0], "-test.run=^TestAPanicInACallbackIsGos$/^"+strings.Split(t.Name(), "/")[1]+"$")
			child.Env = append(os.Environ(), "PANICS_WITH=mine")
			out, err := child.CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(out), "panic: mine")
			_, file, _, _ := runtime.Caller(0)
			require.Contains(t, string(out), filepath.Base(file))
			return
		}
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(ctx context.Context, c adapterI, _ context.CancelFunc, _ bool) error {
				return c.Write(ctx, wsadapters.Text, []byte("x"))
			},
			onMessage: func(context.Context, adapterI, context.CancelFunc, context.CancelFunc, []byte) {
				panic(os.Getenv("PANICS_WITH"))
			},
		}, nil)
		require.NoError(t, e.Start(within(t)))
		receive(t, e.Done())
	})
}

func TestACallbackThatEndsItsGoroutineHasReturned(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		u := echo(t)
		for _, where := range []string{"before attempt", "open", "open again", "message", "close", "stopped"} {
			t.Run(where, func(t *testing.T) {
				c := &ending{where: where, ended: make(chan struct{})}
				e := newEngine(t, u, conn, c, nil)
				err := e.Start(within(t))
				if where == "open" || where == "before attempt" {
					require.ErrorContains(t, err, "Goexit")
					require.NoError(t, e.Start(within(t)), "it can start again")
				} else {
					require.NoError(t, err)
				}
				if where != "stopped" {
					receive(t, c.ended)
				}
				require.NoError(t, e.Stop(within(t)))
				receive(t, e.Done())
				receive(t, c.ended)
			})
		}
	})
	for _, where := range []string{"read error", "close error"} {
		t.Run(where, func(t *testing.T) {
			c := &ending{where: where, ended: make(chan struct{})}
			bad := &faulty{dial: func() (*http.Response, error) { return nil, nil }, write: func() error { return nil },
				gone: make(chan struct{}), closeError: errors.New("odd")}
			first := true
			bad.read = func() (wsadapters.MessageType, []byte, error) {
				if first && where == "read error" {
					first = false
					return wsadapters.NoMessage, nil, errors.New("odd")
				}
				<-bad.gone
				return wsadapters.NoMessage, nil, wsadapters.WebsocketCloseError{Code: wsadapters.AbnormalClosure}
			}
			e := newEngine(t, &url.URL{Scheme: "ws", Host: "nowhere.invalid"}, bad, c, nil)
			require.NoError(t, e.Start(within(t)))
			if where == "read error" {
				receive(t, c.ended)
			}
			require.NoError(t, e.Stop(within(t)))
			receive(t, c.ended)
			receive(t, e.Done())
		})
	}
}

func TestOnOpenWithoutATimeoutMayReadAndPing(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(ctx context.Context, c adapterI, _ context.CancelFunc, _ bool) error {
				_, limited := ctx.Deadline()
				require.False(t, limited)
				require.NoError(t, c.Write(ctx, wsadapters.Text, []byte("x")))
				_, msg, err := c.Read(ctx)
				require.NoError(t, err)
				require.Equal(t, "x", string(msg))
				return c.Ping(ctx)
			},
		}, func(o *optionsT) { o.OnOpenTimeoutMs = 0 })
		require.NoError(t, e.Start(within(t)))
		for _, after := range []time.Duration{100 * 365 * 24 * time.Hour, math.MaxInt64} {
			far, cancel := context.WithTimeout(context.Background(), after)
			require.NoError(t, conn.Ping(far), "a deadline in %s", after)
			cancel()
		}
		require.NoError(t, e.Stop(within(t)))
	})
}

func TestStopEndsTheReadOfWhoHoldsTheMutex(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		views, reads, failed := make(chan adapterI, 1), make(chan struct{}), make(chan error, 1)
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(_ context.Context, c adapterI, _ context.CancelFunc, _ bool) error {
				views <- c
				return nil
			},
		}, nil)
		require.NoError(t, e.Start(within(t)))
		view := receive(t, views)
		go func() {
			e.GetReadMutex().Lock()
			defer e.GetReadMutex().Unlock()
			close(reads)
			_, _, err := view.Read(context.Background())
			failed <- err
		}()
		receive(t, reads)
		require.NoError(t, e.Stop(within(t)))
		require.ErrorIs(t, receive(t, failed), net.ErrClosed)
	})
}

func TestStopEndsTheContextsOfCallbacksThatAreNoSessionsYet(t *testing.T) {
	for name, made := range adapters {
		for _, where := range []string{"open", "open again", "before attempt", "restart error"} {
			t.Run(name+"/"+where, func(t *testing.T) {
				dead, err := net.Listen("tcp", "127.0.0.1:0")
				require.NoError(t, err)
				_ = dead.Close()
				c := &patient{where: where, entered: make(chan struct{}, 1), nowhere: "ws://" + dead.Addr().String() + "/"}
				e := newEngine(t, echo(t), made(), c, nil)
				started := make(chan error, 1)
				go func() { started <- e.Start(context.Background()) }()
				receive(t, c.entered)
				require.NoError(t, e.Stop(within(t)))
				require.Equal(t, where == "open", receive(t, started) != nil)
			})
		}
	}
}

// patient waits in one of its callbacks until that callback's context ends.
type patient struct {
	client
	where, nowhere string
	entered        chan struct{}
	attempts       int
}

func (p *patient) wait(ctx context.Context, where string) {
	if where == p.where {
		p.entered <- struct{}{}
		<-ctx.Done()
	}
}

func (p *patient) BeforeAttempt(ctx context.Context, a wsclient.Attempt) error {
	if p.attempts++; p.attempts == 1 {
		return nil
	}
	p.wait(ctx, "before attempt")
	if p.where == "restart error" {
		return a.SetURL(p.nowhere)
	}
	return nil
}

func (p *patient) OnOpen(ctx context.Context, _ *http.Response, conn adapterI, _ *sync.Mutex, _ context.CancelFunc, restarting bool) error {
	if p.wait(ctx, "open"); restarting {
		p.wait(ctx, "open again")
	}
	return conn.Write(ctx, wsadapters.Text, []byte("x"))
}

func (p *patient) OnMessage(_ context.Context, _ adapterI, _ *sync.Mutex, restart, _ context.CancelFunc, _ string, _ wsadapters.MessageType, _ []byte) {
	restart()
}

func (p *patient) OnRestartError(ctx context.Context, _ context.CancelFunc, _ error, _ int) {
	p.wait(ctx, "restart error")
}

func TestAReadThatNobodyCancelledIsNotCancelled(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		views := make(chan adapterI, 1)
		e := newEngine(t, echo(t), conn, &client{
			onOpen: func(_ context.Context, c adapterI, _ context.CancelFunc, _ bool) error {
				views <- c
				return nil
			},
		}, nil)
		for range 700 {
			require.NoError(t, e.Start(within(t)))
			view, failed := receive(t, views), make(chan error, 1)
			go func() {
				_, _, err := view.Read(context.Background())
				failed <- err
			}()
			require.NoError(t, e.Stop(within(t)))
			err := receive(t, failed)
			require.NotErrorIs(t, err, context.Canceled)
			require.ErrorIs(t, err, net.ErrClosed)
		}
	})
}
