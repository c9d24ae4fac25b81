// Service holds a feed for others: GET /price gives the newest message, GET /health how the connection does. service ADDRESS URL
//
// The engine lives as long as the service, and reconnects by itself. On SIGTERM requests are answered to their end, the feed is closed with 1001, and
// the process ends with status 0.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
)

type prices struct {
	wsclient.NoopClient
	newest atomic.Pointer[[]byte]
}

func (p *prices) OnOpen(ctx context.Context, _ *http.Response, conn wsadapters.WebsocketConnectionAdapterInterface, _ *sync.Mutex, _ context.CancelFunc, _ bool) error {
	return conn.Write(ctx, wsadapters.Text, []byte("subscribe"))
}

func (p *prices) OnMessage(_ context.Context, _ wsadapters.WebsocketConnectionAdapterInterface, _ *sync.Mutex, _, _ context.CancelFunc, _ string, _ wsadapters.MessageType, msg []byte) {
	p.newest.Store(&msg)
}

func run(address string, target *url.URL) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	feed := &prices{}
	opts := wscengine.NewWebsocketEngineConfigurationOptions().WithReaderRoutinesCount(1).WithLogger(slog.Default())
	engine, err := wscengine.NewWebsocketEngine(target, wslay.NewWslayWebsocketConnectionAdapter(nil), feed, opts, nil)
	if err != nil {
		return err
	}
	if err := engine.Start(ctx); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /price", func(w http.ResponseWriter, _ *http.Request) {
		newest := feed.newest.Load()
		if newest == nil {
			http.Error(w, "no price yet", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(*newest)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"state": engine.State().String(), "reconnects": engine.Stats().Reconnects})
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err = <-failed: // it cannot listen
	case <-engine.Done():
		err = engine.Err()
	case <-ctx.Done():
	}
	last, done := context.WithTimeout(context.Background(), 10*time.Second)
	defer done()
	err = errors.Join(err, server.Shutdown(last))
	if engine.IsStarted() {
		err = errors.Join(err, engine.Stop(last))
	}
	return err
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: service ADDRESS URL")
	}
	target, err := url.Parse(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if err := run(os.Args[1], target); err != nil && !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
