package wscengine_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/wscengine/wscengine/go/echowsserver"
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/gorilla"
	"github.com/wscengine/wscengine/go/wsadapters/nhooyr"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
)

var adapters = map[string]func() adapterI{
	"wslay":   func() adapterI { return wslay.NewWslayWebsocketConnectionAdapter(nil) },
	"gorilla": func() adapterI { return gorilla.NewGorillaWebsocketConnectionAdapter(nil, nil) },
	"nhooyr":  func() adapterI { return nhooyr.NewNhooyrWebsocketConnectionAdapter(nil) },
}

// everyAdapter runs a test with each.
func everyAdapter(t *testing.T, f func(t *testing.T, conn adapterI)) {
	for name, made := range adapters {
		t.Run(name, func(t *testing.T) { f(t, made()) })
	}
}

// echo is a server that echoes, for one test.
func echo(t *testing.T) *url.URL {
	server := echowsserver.NewEchoWebsocketServer(&http.Server{Addr: "127.0.0.1:0"}, log.New(io.Discard, "", 0))
	require.NoError(t, server.Start())
	t.Cleanup(func() { _ = server.Stop() })
	return &url.URL{Scheme: "ws", Host: server.Addr().String(), Path: "/"}
}

// client has a function for each callback; those that are nil do nothing.
type client struct {
	wsclient.NoopClient
	onOpen    func(ctx context.Context, conn adapterI, exit context.CancelFunc, restarting bool) error
	onMessage func(ctx context.Context, conn adapterI, restart, exit context.CancelFunc, msg []byte)
	onClose   func(ctx context.Context, conn adapterI, how *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails
	onRestart func(ctx context.Context, exit context.CancelFunc, err error, retry int)
}

func (c *client) OnOpen(ctx context.Context, _ *http.Response, conn adapterI, _ *sync.Mutex, exit context.CancelFunc, restarting bool) error {
	if c.onOpen == nil {
		return nil
	}
	return c.onOpen(ctx, conn, exit, restarting)
}

func (c *client) OnMessage(ctx context.Context, conn adapterI, _ *sync.Mutex, restart, exit context.CancelFunc, _ string, _ wsadapters.MessageType, msg []byte) {
	if c.onMessage != nil {
		c.onMessage(ctx, conn, restart, exit, msg)
	}
}

func (c *client) OnClose(ctx context.Context, conn adapterI, _ *sync.Mutex, how *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails {
	if c.onClose == nil {
		return nil
	}
	return c.onClose(ctx, conn, how)
}

func (c *client) OnRestartError(ctx context.Context, exit context.CancelFunc, err error, retry int) {
	if c.onRestart != nil {
		c.onRestart(ctx, exit, err, retry)
	}
}

// within is a context for things that must not hang.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// receive waits for an element of a channel.
func receive[T any](t *testing.T, from <-chan T) (out T) {
	t.Helper()
	select {
	case out = <-from:
	case <-time.After(20 * time.Second):
		require.Fail(t, "nothing came in 20 s")
	}
	return out
}

type held struct {
	goroutines, fds int
	heap            uint64
}

func holds() held {
	runtime.GC() // engines that nobody can reach let go of their handles
	open, _ := os.ReadDir("/proc/self/fd")
	return held{runtime.NumGoroutine(), len(open), core.HeapInUse()}
}

// settles waits until no more is held than before.
func settles(t *testing.T, before held, slack uint64) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		now := holds()
		if now.goroutines <= before.goroutines && now.fds <= before.fds && now.heap <= before.heap+slack {
			return
		}
		require.True(t, time.Now().Before(until), "held before %+v, after %+v", before, now)
	}
}
