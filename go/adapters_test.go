package wscengine_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wscengine/wscengine/go/wsadapters"
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
