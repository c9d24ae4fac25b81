package wscengine

import (
	"context"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
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

// Start has made its run, but not begun it: there is nothing to stop yet, and what fails must not end the callbacks' contexts.
func TestAStopThatComesTooEarlyDoesNotEndTheStart(t *testing.T) {
	e, err := NewWebsocketEngine(
		&url.URL{Scheme: "ws", Host: "nowhere.invalid"}, wslay.NewWslayWebsocketConnectionAdapter(nil), wsclient.NoopClient{}, nil, nil)
	require.NoError(t, err)
	r, err := e.begin(context.Background())
	require.NoError(t, err)
	require.ErrorContains(t, e.Stop(context.Background()), "not started")
	ctx, cancel := r.attempting(context.Background())
	defer cancel()
	require.NoError(t, ctx.Err())
	r.opening.Store(false)
	e.startFailed(r)
}
