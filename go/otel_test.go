package wscengine_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsclient"
)

// recorded runs a session of a start inside a span of the user's, one message there and back, and a stop.
func recorded(t *testing.T, conn adapterI, open error) tracetest.SpanStubs {
	exporter := tracetest.NewInMemoryExporter()
	provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
	came := make(chan trace.SpanContext, 1)
	c := &client{
		onOpen: func(ctx context.Context, c adapterI, _ context.CancelFunc, _ bool) error {
			if open != nil {
				return open
			}
			return c.Write(ctx, wsadapters.Text, []byte("hello"))
		},
		onMessage: func(ctx context.Context, _ adapterI, _, _ context.CancelFunc, _ []byte) {
			came <- trace.SpanContextFromContext(ctx)
		},
	}
	e, err := wscengine.NewWebsocketEngine(echo(t), conn, c, nil, provider)
	require.NoError(t, err)
	ctx, users := provider.Tracer("user").Start(within(t), "mine")
	err = e.Start(ctx)
	users.End()
	if open != nil {
		require.ErrorIs(t, err, open)
	} else {
		require.NoError(t, err)
		require.True(t, receive(t, came).IsValid(), "the callback's context carries its span")
		require.NoError(t, e.Stop(within(t)))
	}
	require.Eventually(t, func() bool { // the last ones end behind Stop
		return len(exporter.GetSpans()) > 0 && slices.ContainsFunc(exporter.GetSpans(), named("wscengine.start"))
	}, 20e9, 1e6)
	return exporter.GetSpans()
}

func named(name string) func(tracetest.SpanStub) bool {
	return func(s tracetest.SpanStub) bool { return s.Name == name }
}

func find(t *testing.T, spans tracetest.SpanStubs, name string) tracetest.SpanStub {
	t.Helper()
	i := slices.IndexFunc(spans, named(name))
	require.GreaterOrEqual(t, i, 0, "no span %s", name)
	return spans[i]
}

func TestSpansOfASession(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		spans := recorded(t, conn, nil)
		parents := map[string]string{
			"wscengine.start": "mine", "wscengine.background.start": "wscengine.start", "websocket.dial": "wscengine.background.start",
			"wscengine.callback.on_open": "wscengine.background.start", "websocket.write": "wscengine.callback.on_open",
			"wscengine.background.run": "mine", "websocket.read": "wscengine.background.run",
			"wscengine.callback.on_message": "wscengine.background.run", "wscengine.background.shutdown": "wscengine.background.run",
			"wscengine.callback.on_close": "wscengine.background.shutdown", "websocket.close": "wscengine.background.shutdown",
			"wscengine.stop": "",
		}
		for name, parent := range parents {
			span := find(t, spans, name)
			above := ""
			if i := slices.IndexFunc(spans, func(s tracetest.SpanStub) bool { return s.SpanContext.SpanID() == span.Parent.SpanID() }); i >= 0 {
				above = spans[i].Name
			}
			require.Equal(t, parent, above, "parent of %s", name)
			require.Equal(t, codes.Ok, span.Status.Code, name)
			kind := trace.SpanKindInternal
			if name[:10] == "websocket." {
				kind = trace.SpanKindClient
			}
			require.Equal(t, kind, span.SpanKind, name)
		}
		require.Len(t, spans, len(parents)+1, "each span once, and the user's")
		message := find(t, spans, "wscengine.callback.on_message")
		require.Contains(t, message.Attributes, attribute.Int64("wscengine.message.length", 5))
		require.Contains(t, message.Attributes, attribute.Int64("wscengine.message.opcode", 1))
		run := find(t, spans, "wscengine.background.run")
		names := []string{}
		for _, event := range run.Events {
			names = append(names, event.Name)
		}
		require.Contains(t, names, "wscengine.exit")
		require.Contains(t, names, "wscengine.worker_exit")
		require.Equal(t, "websocket.message.received", find(t, spans, "websocket.read").Events[0].Name)
	})
}

func TestSpansOfAStartThatFails(t *testing.T) {
	mine := errors.New("mine")
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		spans := recorded(t, conn, mine)
		for _, name := range []string{"wscengine.start", "wscengine.background.start", "wscengine.callback.on_open"} {
			span := find(t, spans, name)
			require.Equal(t, codes.Error, span.Status.Code, name)
			require.Equal(t, "exception", span.Events[0].Name, name)
		}
	})
}

func TestASendThatIsRefusedSaysWhyOnItsSpan(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	e, err := wscengine.NewWebsocketEngine(echo(t), adapters["wslay"](), wsclient.NoopClient{}, nil, sdk.NewTracerProvider(sdk.WithSyncer(exporter)))
	require.NoError(t, err)
	require.NoError(t, e.Start(within(t)))
	require.Error(t, e.Write(within(t), wsadapters.Text, []byte{0xff}))
	require.NoError(t, e.Stop(within(t)))
	span := find(t, exporter.GetSpans(), "websocket.write")
	require.Equal(t, codes.Error, span.Status.Code)
	require.Contains(t, span.Attributes, attribute.String("error.type", "ERR_INVALID"))
}

func TestNoProviderMakesNoSpans(t *testing.T) {
	for name, provider := range map[string]trace.TracerProvider{"global": nil, "noop": noop.NewTracerProvider()} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan bool, 1)
			e, err := wscengine.NewWebsocketEngine(echo(t), adapters["wslay"](), &client{
				onOpen: func(ctx context.Context, _ adapterI, _ context.CancelFunc, _ bool) error {
					seen <- trace.SpanContextFromContext(ctx).IsValid()
					return nil
				},
			}, nil, provider)
			require.NoError(t, err)
			require.NoError(t, e.Start(within(t)))
			require.False(t, receive(t, seen))
			require.NoError(t, e.Stop(within(t)))
		})
	}
}

func TestAGlobalProviderThatComesLaterCountsFromTheNextStart(t *testing.T) {
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		otel.SetTracerProvider(noop.NewTracerProvider())
		e := newEngine(t, echo(t), conn, &client{}, nil)
		exporter := tracetest.NewInMemoryExporter()
		otel.SetTracerProvider(sdk.NewTracerProvider(sdk.WithSyncer(exporter)))
		asked := make(chan struct{})
		go func() { // others may ask meanwhile
			defer close(asked)
			for range 1000 {
				e.State()
				e.Stats()
			}
		}()
		require.NoError(t, e.Start(within(t)))
		require.NoError(t, e.Stop(within(t)))
		receive(t, asked)
		find(t, exporter.GetSpans(), "wscengine.start")
	})
}

func TestADecoratedAdapterTellsOnce(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		exporter := tracetest.NewInMemoryExporter()
		provider := sdk.NewTracerProvider(sdk.WithSyncer(exporter))
		decorated, err := wsadapters.NewWebsocketConnectionAdapterInstrumentationDecorator(conn, provider)
		require.NoError(t, err)
		e, err := wscengine.NewWebsocketEngine(echo(t), decorated, wsclient.NoopClient{}, nil, provider)
		require.NoError(t, err)
		require.NoError(t, e.Start(within(t)))
		require.NoError(t, e.Stop(within(t)))
		count := 0
		for _, span := range exporter.GetSpans() {
			if span.Name == "websocket.dial" {
				count++
			}
		}
		require.Equal(t, 1, count)
	})
}

func TestATracedEngineIsCollected(t *testing.T) {
	everyAdapter(t, func(t *testing.T, conn adapterI) {
		u, provider := echo(t), sdk.NewTracerProvider(sdk.WithSyncer(tracetest.NewNoopExporter()))
		const engines = 10
		var collected atomic.Int32
		for range engines {
			c := &client{}
			runtime.AddCleanup(c, func(n *atomic.Int32) { n.Add(1) }, &collected)
			e, err := wscengine.NewWebsocketEngine(u, conn, c, nil, provider)
			require.NoError(t, err)
			require.NoError(t, e.Start(within(t)))
			require.NoError(t, e.Stop(within(t)))
		}
		require.Eventually(t, func() bool {
			runtime.GC()
			return collected.Load() >= engines-1 // the stack may still hold one
		}, 20*time.Second, time.Millisecond)
	})
}

func TestADecoratedClientsSpansSayHowTheyEnded(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	refused := errors.New("refused")
	c := &client{onOpen: func(context.Context, adapterI, context.CancelFunc, bool) error { return refused }}
	decorated, err := wscengine.NewWebsocketClientInstrumentationDecorator(c, sdk.NewTracerProvider(sdk.WithSyncer(exporter)))
	require.NoError(t, err)
	ctx := context.Background()
	require.ErrorIs(t, decorated.OnOpen(ctx, nil, nil, nil, nil, false), refused)
	require.Equal(t, codes.Error, find(t, exporter.GetSpans(), "wscengine.callback.on_open").Status.Code)
	exporter.Reset()
	c.onOpen = nil
	require.NoError(t, decorated.OnOpen(ctx, nil, nil, nil, nil, false))
	decorated.OnMessage(ctx, nil, nil, nil, nil, "", wsadapters.Text, nil)
	decorated.OnReadError(ctx, nil, nil, nil, nil, refused)
	decorated.OnClose(ctx, nil, nil, nil)
	decorated.OnCloseError(ctx, refused)
	decorated.OnRestartError(ctx, nil, refused, 1)
	require.Len(t, exporter.GetSpans(), 6)
	for _, span := range exporter.GetSpans() {
		require.Equal(t, codes.Ok, span.Status.Code, span.Name)
	}
}
