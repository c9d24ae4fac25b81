package wscengine_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"sync"
	"testing"
	"time"

	gorillaws "github.com/gorilla/websocket"
	"github.com/stretchr/testify/require"

	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/gorilla"
)

func TestTheContextOfAReadThatIsOverEndsNothing(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		u := echo(t)
		for range 100 {
			_, err := conn.Dial(within(t), *u)
			require.NoError(t, err)
			require.NoError(t, conn.Write(within(t), wsadapters.Text, []byte("x")))
			ctx, cancel := context.WithCancel(context.Background())
			_, _, err = conn.Read(ctx)
			require.NoError(t, err)
			cancel()
			require.NoError(t, conn.Close(within(t), wsadapters.NormalClosure, ""))
		}
	})
}

// cancelling is a socket whose writes end a context when they are done.
type cancelling struct {
	net.Conn
	cancel context.CancelFunc
}

func (c *cancelling) Write(p []byte) (int, error) {
	runtime.Gosched() // who is late comes between deadline and write
	n, err := c.Conn.Write(p)
	c.cancel()
	return n, err
}

func TestTheContextOfAWriteThatIsOverEndsNoOther(t *testing.T) {
	socket := &cancelling{cancel: func() {}}
	conn := gorilla.NewGorillaWebsocketConnectionAdapter(&gorillaws.Dialer{
		NetDialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			under, err := (&net.Dialer{}).DialContext(ctx, network, addr)
			socket.Conn = under
			return socket, err
		},
	}, nil)
	_, err := conn.Dial(within(t), *echo(t))
	require.NoError(t, err)
	for range 1000 {
		ctx, cancel := context.WithCancel(context.Background())
		socket.cancel = cancel
		require.NoError(t, conn.Write(ctx, wsadapters.Text, []byte("x")))
		require.NoError(t, conn.Write(context.Background(), wsadapters.Text, []byte("y")))
	}
	require.NoError(t, conn.Close(within(t), wsadapters.NormalClosure, ""))
}

// deaf is a server that answers nothing after the handshake, and says when a connection of its has sent something.
func deaf(t *testing.T) (target *url.URL, heard <-chan byte) {
	upgrader, first := gorillaws.Upgrader{}, make(chan byte, 100)
	var conns sync.Map
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		conns.Store(c, nil)
		frame := make([]byte, 1)
		if _, err := c.NetConn().Read(frame); err == nil {
			first <- frame[0]
		}
	}))
	t.Cleanup(func() {
		server.Close()
		conns.Range(func(c, _ any) bool { return c.(*gorillaws.Conn).Close() != nil || true })
	})
	return &url.URL{Scheme: "ws", Host: server.Listener.Addr().String()}, first
}

func TestAfterACloseThatIsGivenUpTheAdapterCanBeDialed(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		u, heard := deaf(t)
		for name, made := range map[string]func() (context.Context, context.CancelFunc){
			"deadline": func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), 20*time.Millisecond)
			},
			"passed": func() (context.Context, context.CancelFunc) { return context.WithTimeout(context.Background(), -1) },
			"cancelled": func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				return ctx, cancel
			},
		} {
			_, err := conn.Dial(within(t), *u)
			require.NoError(t, err, name)
			ctx, cancel := made()
			require.Error(t, conn.Close(ctx, wsadapters.NormalClosure, ""), name)
			cancel()
			require.Nil(t, conn.GetUnderlyingWebsocketConnection(), name)
			require.ErrorIs(t, conn.Ping(within(t)), net.ErrClosed, name)
		}
		require.Equal(t, byte(0x88), receive(t, heard), "a close frame was sent all the same")
	})
}

func TestOfTwoClosesOneSucceeds(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		u := echo(t)
		for range 50 {
			_, err := conn.Dial(within(t), *u)
			require.NoError(t, err)
			closed := make(chan error, 2)
			for range 2 {
				go func() { closed <- conn.Close(within(t), wsadapters.NormalClosure, "") }()
			}
			one, other := receive(t, closed), receive(t, closed)
			if one == nil {
				one = other
			} else {
				require.NoError(t, other)
			}
			require.ErrorIs(t, one, net.ErrClosed)
		}
	})
}
