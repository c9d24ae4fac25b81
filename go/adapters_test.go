package wscengine_test

import (
	"context"
	"net"
	"runtime"
	"testing"

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
