package core

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// caller is a goroutine that runs callbacks; inside is the engine whose callback it is in. So that Stop inside a callback, whatever
// its context, is known to be there.
type caller struct {
	goroutine uint64
	inside    atomic.Pointer[Engine]
}

var callers sync.Map // goroutine -> *caller

func enlist() *caller {
	c := &caller{goroutine: goroutineID()}
	callers.Store(c.goroutine, c)
	return c
}

func (c *caller) retire() { callers.Delete(c.goroutine) }

// Inside says whether the calling goroutine is in a callback of e.
func (e *Engine) Inside() bool {
	found, ok := callers.Load(goroutineID())
	return ok && found.(*caller).inside.Load() == e
}

// Call runs f as a callback of e on a goroutine that is none of this package's workers.
func (e *Engine) Call(f func()) {
	c := enlist()
	c.inside.Store(e)
	defer c.retire()
	f()
}

// goroutineID reads the number that the runtime prints above a stack; there is no other way to it. About a microsecond.
func goroutineID() uint64 {
	var b [64]byte
	text := b[len("goroutine "):runtime.Stack(b[:], false)]
	id := uint64(0)
	for _, digit := range text {
		if digit < '0' || digit > '9' {
			break
		}
		id = id*10 + uint64(digit-'0')
	}
	return id
}
