// Echoclient sends a message a second and prints what comes back, with a trace of everything: echoclient URL [COUNT].
//
// Spans go to an OpenTelemetry collector when OTEL_EXPORTER_OTLP_ENDPOINT is set (compose.yaml has Jaeger), to standard error otherwise.
package main

import (
	"context"
	"fmt"
	"log"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
)

// printer prints the echoes, and exits after the last.
type printer struct {
	wsclient.NoopClient
	left int
}

func (p *printer) OnMessage(_ context.Context, _ wsadapters.WebsocketConnectionAdapterInterface, _ *sync.Mutex, _, exit context.CancelFunc, _ string, _ wsadapters.MessageType, msg []byte) {
	fmt.Println(string(msg))
	if p.left--; p.left == 0 {
		exit()
	}
}

func tracing(ctx context.Context) (*sdk.TracerProvider, error) {
	var exporter sdk.SpanExporter
	var err error
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" {
		exporter, err = otlptracehttp.New(ctx)
	} else {
		exporter, err = stdouttrace.New(stdouttrace.WithWriter(os.Stderr))
	}
	if err != nil {
		return nil, err
	}
	return sdk.NewTracerProvider(sdk.WithBatcher(exporter)), nil
}

func run() error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	target, err := url.Parse(os.Args[1])
	if err != nil {
		return err
	}
	client := &printer{left: 10}
	if len(os.Args) > 2 {
		if client.left, err = strconv.Atoi(os.Args[2]); err != nil {
			return err
		}
	}
	provider, err := tracing(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = provider.Shutdown(context.WithoutCancel(ctx)) }() // sends the last spans
	opts := wscengine.NewWebsocketEngineConfigurationOptions().WithReaderRoutinesCount(1).WithStopWhenStartContextEnds(true)
	engine, err := wscengine.NewWebsocketEngine(target, wslay.NewWslayWebsocketConnectionAdapter(nil), client, opts, provider)
	if err != nil {
		return err
	}
	if err := engine.Start(ctx); err != nil {
		return err
	}
	for n, tick := 1, time.NewTicker(time.Second); ; n++ {
		if err := engine.Write(ctx, wsadapters.Text, fmt.Appendf(nil, "hello %d", n)); err != nil {
			log.Println(err) // between two sessions, for instance
		}
		select {
		case <-engine.Done():
			return engine.Err()
		case <-tick.C:
		}
	}
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: echoclient URL [COUNT]")
	}
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
