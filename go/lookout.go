package wscengine

import (
	"sync"
	"time"
)

// lookout looks after links whose messages are coming: it tells the core of them, and finds callbacks that take long. It is one a process, and has a
// goroutine as long as there is something to look after.
var lookout watch

// lookEvery is how long a callback may hold back the next message.
const lookEvery = time.Millisecond

type watch struct {
	mu      sync.Mutex
	links   []*link
	running bool
}

// add takes a link that has become busy.
func (w *watch) add(l *link) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links = append(w.links, l)
	if !w.running {
		w.running = true
		go w.run()
	}
}

func (w *watch) run() {
	for w.look() {
		time.Sleep(lookEvery)
	}
}

// look says whether there is anything left to look after.
func (w *watch) look() bool {
	w.mu.Lock()
	links := w.links
	w.links = nil
	w.mu.Unlock()
	kept := links[:0]
	for _, l := range links {
		if l.look() {
			kept = append(kept, l)
		}
	}
	clear(links[len(kept):])
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links = append(kept, w.links...)
	w.running = len(w.links) > 0
	return w.running
}
