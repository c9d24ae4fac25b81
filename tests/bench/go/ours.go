package main

import (
	"context"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	gorillaws "github.com/gorilla/websocket"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/gorilla"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
)

type client struct {
	wsclient.NoopClient
	b      *bench
	shared bool // by several readers
	count  atomic.Uint64
}

func (c *client) OnMessage(ctx context.Context, conn wsadapters.WebsocketConnectionAdapterInterface, _ *sync.Mutex, _, _ context.CancelFunc, _ string, _ wsadapters.MessageType, msg []byte) {
	if c.shared {
		c.count.Add(1)
		return
	}
	last := c.b.got(msg)
	switch {
	case last:
		c.b.report()
	case c.b.mode == "rtt":
		c.b.asked = time.Now()
		check(conn.Write(ctx, wsadapters.Binary, c.b.payload))
	}
}

func runOurs(b *bench, readers int, adapter string) {
	opts := wscengine.NewWebsocketEngineConfigurationOptions().WithReaderRoutinesCount(readers).WithAutoReconnect(false).
		WithMaxMessageBytes(64 << 20).WithKeepAliveIntervalMs(-1)
	target, err := url.Parse(b.url)
	check(err)
	ctx := context.Background()
	start := func() (*wscengine.WebsocketEngine, *client) {
		c := &client{b: b, shared: readers > 1}
		var conn wsadapters.WebsocketConnectionAdapterInterface = wslay.NewWslayWebsocketConnectionAdapter(nil)
		if adapter == "gorilla" {
			conn = gorilla.NewGorillaWebsocketConnectionAdapter(&gorillaws.Dialer{ReadBufferSize: 64 << 10}, nil)
		}
		e, err := wscengine.NewWebsocketEngine(target, conn, c, opts, nil)
		check(err)
		check(e.Start(ctx))
		return e, c
	}
	if b.mode == "idle" {
		engines := make([]*wscengine.WebsocketEngine, 0, b.count)
		for range b.count {
			e, _ := start()
			engines = append(engines, e)
		}
		b.idle()
		defer func() { _ = engines }()
		b.report()
	}
	e, c := start()
	switch b.mode {
	case "send":
		for range b.count {
			check(e.Write(ctx, wsadapters.Binary, b.payload))
		}
		check(e.Write(ctx, wsadapters.Text, []byte("count")))
	case "rtt":
		b.asked = time.Now()
		check(e.Write(ctx, wsadapters.Binary, b.payload))
	}
	if b.mode == "pause" {
		for range b.count {
			time.Sleep(time.Millisecond)
			b.asked = time.Now()
			e.GetReadMutex().Lock()
			b.latencies = append(b.latencies, time.Since(b.asked))
			e.GetReadMutex().Unlock()
		}
		b.report()
	}
	_ = e.Wait(ctx)
	b.messages += c.count.Load()
}
