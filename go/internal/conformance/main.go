// The Go driver of the conformance suite (tests/conformance/README.md has the line protocol): --adapter wslay (the default), gorilla or nhooyr.
//
// Lanes are goroutines. What Go has no word for (NULL handles, fork) is left out of the features.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wscengine/wscengine/go/internal/abi"
)

type fields = map[string]any

var (
	adapterName = flag.String("adapter", "wslay", "wslay, gorilla or nhooyr")
	output      sync.Mutex
	numbered    int
	began       = time.Now()
)

func emit(f fields) {
	output.Lock()
	defer output.Unlock()
	numbered++
	f["seq"], f["t"] = numbered, time.Since(began).Nanoseconds()
	line, err := json.Marshal(f)
	if err != nil {
		panic(err)
	}
	if _, err := os.Stdout.Write(append(line, '\n')); err != nil {
		os.Exit(4)
	}
}

type command struct {
	ID      int            `json:"id"`
	Lane    string         `json:"lane"`
	Cmd     string         `json:"cmd"`
	URL     string         `json:"url"`
	Options map[string]any `json:"options"`
	On      map[string][]rule
	Trace   bool     `json:"trace"`
	Type    string   `json:"type"`
	Text    string   `json:"text"`
	Hex     string   `json:"hex"`
	Size    int      `json:"size"`
	Count   int      `json:"count"`
	Numbers int      `json:"numbered"`
	Timeout *int64   `json:"timeout_ms"`
	Cancel  string   `json:"cancel"`
	Via     string   `json:"via"`
	Code    int      `json:"code"`
	Reason  string   `json:"reason"`
	Name    string   `json:"name"`
	Texts   []string `json:"texts"`

	Header            string `json:"header"`
	Subprotocol       string `json:"subprotocol"`
	ClearHeaders      string `json:"clear_headers"`
	ClearSubprotocols string `json:"clear_subprotocols"`
	DelayMs           *int64 `json:"delay_ms"`
	RetryDelayMs      *int64 `json:"retry_delay_ms"`
	Reset             string `json:"reset"`
}

type rule struct {
	Call int       `json:"call"`
	Text *string   `json:"text"`
	Do   []command `json:"do"`
}

// lane runs its commands one after another.
type lane struct {
	commands chan command
	busy     sync.WaitGroup
}

var laneCount atomic.Int32

func newLane() *lane {
	laneCount.Add(1)
	l := &lane{commands: make(chan command, 1024)}
	go func() {
		for c := range l.commands {
			result := carryOut(&c, &scope{})
			result["event"], result["id"], result["cmd"] = "result", c.ID, c.Cmd
			emit(result)
			l.busy.Done()
		}
	}()
	return l
}

// standardInput is read by way of the netpoller: no thread is blocked in a read.
//
// With Go 1.26 that matters. A goroutine that enters a blocking system call in the very moment in which another one stops the world (runtime.GC) can
// be missed by both sides: entersyscall looks whether the world is being stopped before the goroutine counts as in a system call, no longer behind that. The
// world then stops when the call returns, or a minute later, when the runtime's monitor wakes up.
func standardInput() *bufio.Reader {
	in := os.Stdin
	if syscall.SetNonblock(0, true) == nil {
		in = os.NewFile(0, "standard input")
	}
	return bufio.NewReaderSize(in, 1<<20)
}

func main() {
	flag.Parse()
	features := []string{"threads", "readers", "pause", "attempt", "latches", "tracer", "connection", "cancel"}
	if *adapterName == "wslay" {
		features = append(features, "wire", "built_in")
	}
	emit(fields{"event": "hello", "driver": "go-" + *adapterName, "version": abi.Version, "features": features})
	lanes := map[string]*lane{}
	in := standardInput()
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			break
		}
		c := command{Lane: "main", Count: 1}
		if err := json.Unmarshal(line, &c); err != nil {
			fmt.Fprintln(os.Stderr, "driver:", err, string(line))
			os.Exit(4)
		}
		if c.Cmd == "quit" {
			break
		}
		if lanes[c.Lane] == nil {
			lanes[c.Lane] = newLane()
		}
		lanes[c.Lane].busy.Add(1)
		lanes[c.Lane].commands <- c
	}
	for name, l := range lanes {
		done := make(chan struct{})
		go func() { l.busy.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(time.Second):
			fmt.Fprintf(os.Stderr, "driver: lane %s is still busy at the end\n", name)
			os.Exit(3)
		}
	}
	carryOut(&command{Cmd: "free"}, &scope{})
}
