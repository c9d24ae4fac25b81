// The Go clients of ci/bench: client MODE HOST PORT PATH COUNT SIZE NAME[/PROCS], where NAME is of the table below. MODE is recv, send, rtt or
// idle; at the end comes a line of JSON.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// bench is one run: what is to be done, and what was.
type bench struct {
	mode, url   string
	count       int
	payload     []byte
	messages    uint64
	latencies   []time.Duration
	asked       time.Time
	began       time.Time
	used        time.Duration
	resident    int
	allocations uint64
}

var clients = map[string]func(*bench){
	"gws":                 runGws,
	"gorilla":             runGorilla,
	"coder":               runCoder,
	"gobwas":              runGobwas,
	"wscengine":           func(b *bench) { runOurs(b, 1, "wslay") },
	"wscengine-4":         func(b *bench) { runOurs(b, 4, "wslay") },
	"wscengine-gorilla":   func(b *bench) { runOurs(b, 1, "gorilla") },
	"wscengine-gorilla-4": func(b *bench) { runOurs(b, 4, "gorilla") },
}

func main() {
	a := os.Args
	name, procs, _ := strings.Cut(a[7], "/")
	if n, err := strconv.Atoi(procs); err == nil {
		runtime.GOMAXPROCS(n)
	}
	b := &bench{mode: a[1], url: "ws://" + a[2] + ":" + a[3] + a[4]}
	b.count, _ = strconv.Atoi(a[5])
	size, _ := strconv.Atoi(a[6])
	b.payload = []byte(strings.Repeat("x", size))
	b.latencies = make([]time.Duration, 0, b.count)
	runtime.GC()
	debug.FreeOSMemory()
	b.resident, b.began, b.used, b.allocations = status("VmRSS:"), time.Now(), cpu(), mallocs()
	clients[name](b)
	b.report()
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

func status(key string) int {
	text, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, key) {
			n, _ := strconv.Atoi(strings.Fields(line)[1])
			return n
		}
	}
	return -1
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

// got counts a message that was received; true: it was the last of a run that has a last one.
func (b *bench) got(message []byte) bool {
	switch b.mode {
	case "send": // the sink says how many came
		n, err := strconv.ParseUint(strings.Fields(string(message))[0], 10, 64)
		check(err)
		b.messages = n
		return true
	case "pause":
		return false // counted are the pauses
	case "rtt":
		b.latencies = append(b.latencies, time.Since(b.asked))
		return len(b.latencies) == b.count
	}
	b.messages++
	return false
}

// idle waits with what is open.
func (b *bench) idle() {
	b.messages = uint64(b.count)
	time.Sleep(500 * time.Millisecond)
}

func (b *bench) report() {
	wall, used, made := time.Since(b.began), cpu()-b.used, mallocs()-b.allocations
	out := map[string]any{"wall": wall.Seconds(), "cpu": used.Seconds(), "messages": b.messages}
	if n := len(b.latencies); n > 0 {
		slices.Sort(b.latencies)
		out["messages"] = n
		out["p50_us"] = float64(b.latencies[n/2]) / 1e3
		out["p99_us"] = float64(b.latencies[n*99/100]) / 1e3
	}
	out["allocations"] = float64(made) / float64(max(b.messages, 1))
	if b.mode == "idle" {
		runtime.GC()
		debug.FreeOSMemory()
		fds, _ := os.ReadDir("/proc/self/fd")
		out["rss0_kb"], out["rss1_kb"] = b.resident, status("VmRSS:")
		out["threads"], out["goroutines"], out["fds"] = status("Threads:"), runtime.NumGoroutine(), len(fds)
	}
	line, _ := json.Marshal(out)
	fmt.Println(string(line))
	os.Exit(0)
}
