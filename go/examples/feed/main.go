// Feed is a market-data bot: it follows a numbered feed through everything its server does. It subscribes in OnOpen from the number it wants next,
// so no message is missed and none comes twice, whatever happens in between.
//
//	feed URL --count N [--ca FILE] [--ping-interval S] [--ping-timeout S]
//
// It prints progress, and as its last line one JSON object (tests/demo/README.md). Status 0: N messages, no gap, no duplicate.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
)

type reconnect struct {
	Cause   string  `json:"cause"`
	DelayMs float64 `json:"delay_ms"`
	waiting bool
}

type summary struct {
	Messages   int         `json:"messages"`
	Sessions   int         `json:"sessions"`
	Gaps       int         `json:"gaps"`
	Duplicates int         `json:"duplicates"`
	RTTMs      *float64    `json:"rtt_ms"`
	Reconnects []reconnect `json:"reconnects"`
}

// feed has one reader: its callbacks come one after another.
type feed struct {
	wsclient.NoopClient
	count, last int
	lostAt      time.Time
	summary
	shown sync.Mutex // of what main prints meanwhile
}

func (f *feed) OnOpen(ctx context.Context, _ *http.Response, conn wsadapters.WebsocketConnectionAdapterInterface, _ *sync.Mutex, _ context.CancelFunc, _ bool) error {
	f.Sessions++
	fmt.Printf("session %d: subscribes from %d\n", f.Sessions, f.last+1)
	return conn.Write(ctx, wsadapters.Text, fmt.Appendf(nil, `{"from": %d}`, f.last+1))
}

func (f *feed) OnMessage(_ context.Context, _ wsadapters.WebsocketConnectionAdapterInterface, _ *sync.Mutex, _, exit context.CancelFunc, _ string, _ wsadapters.MessageType, msg []byte) {
	var row struct{ Seq int }
	if err := json.Unmarshal(msg, &row); err != nil || f.Messages == f.count {
		return
	}
	f.shown.Lock()
	defer f.shown.Unlock()
	f.Messages++
	if row.Seq <= f.last {
		f.Duplicates++
	}
	f.Gaps += max(0, row.Seq-f.last-1)
	f.last = max(f.last, row.Seq)
	if f.Messages == f.count {
		exit()
	}
}

func (f *feed) OnClose(ctx context.Context, _ wsadapters.WebsocketConnectionAdapterInterface, _ *sync.Mutex, how *wsclient.CloseMessageDetails) *wsclient.CloseMessageDetails {
	if how == nil {
		return &wsclient.CloseMessageDetails{CloseReason: wsadapters.NormalClosure, CloseMessage: "done"}
	}
	verb := "closed"
	if how.CloseReason == wsadapters.AbnormalClosure {
		verb = "lost"
	}
	f.note(fmt.Sprintf("%s: %d %s", verb, how.CloseReason, how.CloseMessage))
	return nil
}

func (f *feed) OnRestartError(_ context.Context, _ context.CancelFunc, err error, _ int) {
	f.note(err.Error())
}

// BeforeAttempt notes how long the engine has waited.
func (f *feed) BeforeAttempt(context.Context, wsclient.Attempt) error {
	if n := len(f.Reconnects); n > 0 && f.Reconnects[n-1].waiting {
		f.Reconnects[n-1].waiting = false
		f.Reconnects[n-1].DelayMs = float64(time.Since(f.lostAt)) / 1e6
	}
	return nil
}

func (f *feed) note(cause string) {
	fmt.Println(cause)
	f.lostAt = time.Now()
	f.Reconnects = append(f.Reconnects, reconnect{Cause: cause, waiting: true})
}

func run() error {
	f := &feed{}
	flags := flag.NewFlagSet("feed", flag.ExitOnError)
	flags.IntVar(&f.count, "count", 0, "messages to wait for")
	ca := flags.String("ca", "", "trust the certificates in this file")
	interval := flags.Float64("ping-interval", 0, "seconds")
	timeout := flags.Float64("ping-timeout", 0, "seconds")
	if len(os.Args) < 2 {
		return fmt.Errorf("usage: feed URL --count N [--ca FILE] [--ping-interval S] [--ping-timeout S]")
	}
	if err := flags.Parse(os.Args[2:]); err != nil {
		return err
	}
	target, err := url.Parse(os.Args[1])
	if err != nil {
		return err
	}
	opts := wscengine.NewWebsocketEngineConfigurationOptions().WithReaderRoutinesCount(1).WithCaFile(*ca).
		WithKeepAliveIntervalMs(int64(*interval * 1000)).WithKeepAliveTimeoutMs(int64(*timeout * 1000))
	engine, err := wscengine.NewWebsocketEngine(target, wslay.NewWslayWebsocketConnectionAdapter(nil), f, opts, nil)
	if err != nil {
		return err
	}
	if err := engine.Start(context.Background()); err != nil {
		return err
	}
	for over := false; !over; {
		select {
		case <-engine.Done():
			over = true
		case <-time.After(time.Second):
			f.shown.Lock()
			fmt.Printf("%d messages, last number %d\n", f.Messages, f.last)
			f.shown.Unlock()
		}
	}
	if rtt := engine.Stats().RTTSmoothed; rtt >= 0 {
		ms := float64(rtt) / 1e6
		f.RTTMs = &ms
	}
	line, err := json.Marshal(f.summary)
	fmt.Println(string(line))
	if err == nil && (f.Messages != f.count || f.Gaps > 0 || f.Duplicates > 0) {
		err = fmt.Errorf("%d messages of %d, %d gaps, %d duplicates", f.Messages, f.count, f.Gaps, f.Duplicates)
	}
	return err
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "feed:", err)
		os.Exit(1)
	}
}
