package wscengine

import (
	"sync"
	"time"
)

// lookout watches links whose messages are coming: it tells the core of them, and finds callbacks that take long, whose link then gets another reader.
// It sleeps when none come, and is one a process.
var lookout = &watch{wake: make(chan struct{}, 1)}

// lookEvery is how long a callback may hold back the next message.
const lookEvery = time.Millisecond

type watch struct {
	once  sync.Once
	wake  chan struct{}
	mu    sync.Mutex
	links []*link
}

// watch adds a link that has become busy.
func (w *watch) watch(l *link) {
	if !l.watched.CompareAndSwap(false, true) {
		return
	}
	w.once.Do(func() { go w.run() })
	w.mu.Lock()
	w.links = append(w.links, l)
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *watch) run() {
	for range w.wake {
		for w.look() {
			time.Sleep(lookEvery)
		}
	}
}

// look says whether there is anything left to watch.
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
	return len(w.links) > 0
}

// look gives a link another reader if the ones it has are all in callbacks that take long; false: it is quiet.
func (l *link) look() bool {
	n := l.messages.Load()
	quiet := n == l.seen
	l.seen = n
	l.report()
	if !quiet {
		return true
	}
	if l.callbacks.Load() == 0 {
		l.watched.Store(false) // whoever reads the next message comes back
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.readers < l.host.engine.readers && !l.unwanted() && !l.failed && len(l.waiting) == 0 {
		l.start()
	}
	return l.state == linkOpen
}
