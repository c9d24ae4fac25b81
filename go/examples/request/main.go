// Request asks a server and waits for the answer, in both ways that there are: request URL COUNT
//
// With the read mutex held the engine takes nothing, and who holds it reads the connection himself: simple, one question at a time. Without it,
// OnMessage finds who has asked by an id: many questions at once. Both expect {"id": n, …} for {"id": n}.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"

	wscengine "github.com/wscengine/wscengine/go"
	"github.com/wscengine/wscengine/go/wsadapters"
	"github.com/wscengine/wscengine/go/wsadapters/wslay"
	"github.com/wscengine/wscengine/go/wsclient"
)

type question struct {
	ID int `json:"id"`
}

type asker struct {
	wsclient.NoopClient
	engine  *wscengine.WebsocketEngine
	mu      sync.Mutex
	conn    wsadapters.WebsocketConnectionAdapterInterface // of the session that is open
	waiting map[int]chan string
}

func (a *asker) OnOpen(_ context.Context, _ *http.Response, conn wsadapters.WebsocketConnectionAdapterInterface, _ *sync.Mutex, _ context.CancelFunc, _ bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conn = conn
	return nil
}

func (a *asker) OnMessage(_ context.Context, _ wsadapters.WebsocketConnectionAdapterInterface, _ *sync.Mutex, _, _ context.CancelFunc, _ string, _ wsadapters.MessageType, msg []byte) {
	var q question
	if json.Unmarshal(msg, &q) != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if answer, ok := a.waiting[q.ID]; ok {
		answer <- string(msg)
		delete(a.waiting, q.ID)
	}
}

// paused asks with the read mutex held.
func (a *asker) paused(ctx context.Context, id int) (string, error) {
	mutex := a.engine.GetReadMutex()
	mutex.Lock()
	defer mutex.Unlock()
	a.mu.Lock()
	conn := a.conn
	a.mu.Unlock()
	if err := conn.Write(ctx, wsadapters.Text, fmt.Appendf(nil, `{"id": %d}`, id)); err != nil {
		return "", err
	}
	for {
		_, msg, err := conn.Read(ctx)
		if err != nil {
			return "", err
		}
		var q question
		if json.Unmarshal(msg, &q) == nil && q.ID == id {
			return string(msg), nil
		}
	}
}

// matched asks, and has OnMessage find the answer.
func (a *asker) matched(ctx context.Context, id int) (string, error) {
	answer := make(chan string, 1)
	a.mu.Lock()
	a.waiting[id] = answer
	a.mu.Unlock()
	if err := a.engine.Write(ctx, wsadapters.Text, fmt.Appendf(nil, `{"id": %d}`, id)); err != nil {
		return "", err
	}
	select {
	case text := <-answer:
		return text, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func run(target *url.URL, count int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	a := &asker{waiting: map[int]chan string{}}
	engine, err := wscengine.NewWebsocketEngine(target, wslay.NewWslayWebsocketConnectionAdapter(nil), a, nil, nil)
	if err != nil {
		return err
	}
	a.engine = engine
	if err := engine.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = engine.Stop(ctx) }()
	for id := range count {
		text, err := a.paused(ctx, id)
		if err != nil {
			return err
		}
		fmt.Println("paused:", text)
	}
	answers := make(chan error, count)
	for id := range count {
		go func() {
			text, err := a.matched(ctx, count+id)
			fmt.Println("matched:", text)
			answers <- err
		}()
	}
	for range count {
		if err := <-answers; err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: request URL COUNT")
	}
	target, err := url.Parse(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	count, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if err := run(target, count); err != nil {
		log.Fatal(err)
	}
}
