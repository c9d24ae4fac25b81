package wscengine

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// The core asks to close a link, and then to dial the next one. Whichever goroutine comes first: a link whose dial has not succeeded closes itself.
func TestALinkThatTheNextDialEndsIsStillToldFromAnOpenOne(t *testing.T) {
	h := &host{engine: &WebsocketEngine{}}
	h.engine.run.Store(&run{ctx: context.Background()})
	given, opened := newLink(h, nil), newLink(h, nil)
	require.True(t, opened.dialed(nil))
	for _, l := range []*link{given, opened} {
		l.asked()
		l.retire()
	}
	require.True(t, given.abandon(), "it was dialing: its own dial closes what it may yet open")
	require.Error(t, given.ctx.Err(), "the dial is told to end")
	require.False(t, given.dialed(nil))
	require.False(t, opened.abandon(), "it was open: the close closes it")
}
