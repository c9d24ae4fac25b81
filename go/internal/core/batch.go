package core

/*
#include "shim.h"
#cgo noescape shim_taken
*/
import "C"

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

const (
	slabMost   = 64 << 10 // a slab that one message could keep alive is not larger
	sharedMost = 2 << 10  // messages that are larger on average are copied singly: what the allocator has at hand is cheaper than a slab
	seized     = 1 << 31  // the cursor of a batch whose rest has gone back
)

// Batch is messages that came together. Readers take them one by one; what nobody takes goes back to the library.
type Batch struct {
	ev      *Event
	control *uint32 // not 0: take no more
	records []C.wsc_record
	slab    []byte
	base    uint64 // the slab's place in the arena
	count   uint32
	refs    atomic.Int32 // readers
	cursor  atomic.Uint32
}

func (b *Batch) open(control *uint32) {
	c := b.ev.c
	b.control, b.count = control, uint32(c.count)
	b.records = unsafe.Slice(c.records, int(c.count))
	first, last := &b.records[0], &b.records[b.count-1]
	b.base, b.slab = uint64(first.offset), nil
	if size := uint64(last.offset) + uint64(last.length) - b.base; b.count > 1 && size <= slabMost && size/uint64(b.count) <= sharedMost {
		b.slab = copied(b.at(b.base), size)
	}
	b.refs.Store(1)
	b.cursor.Store(0)
}

func (b *Batch) at(offset uint64) *C.uint8_t {
	return (*C.uint8_t)(unsafe.Add(unsafe.Pointer(b.ev.c.arena), offset))
}

// Take gives the next message that is this reader's; false: there is none, or the engine wants no more to be taken. Between readers and
// whoever reads the connection itself it is the cursor that decides.
func (b *Batch) Take() (uint32, bool) {
	if atomic.LoadUint32(b.control) != 0 {
		return 0, false
	}
	at := b.cursor.Add(1) - 1
	return at, at < b.count
}

// Last says whether at is the last message.
func (b *Batch) Last(at uint32) bool { return at+1 == b.count }

// Message gives one that was taken, in memory that is the caller's for ever: a part of a slab of at most 64 KiB, capped, or its own.
func (b *Batch) Message(at uint32) (kind int, data []byte) {
	r := &b.records[at]
	if b.slab == nil {
		return int(r._type), copied(b.at(uint64(r.offset)), uint64(r.length))
	}
	from := uint64(r.offset) - b.base
	to := from + uint64(r.length)
	return int(r._type), b.slab[from:to:to]
}

// Finish gives back what has not been taken; more than once does nothing. Once the last is taken it lets the library go on.
func (b *Batch) Finish() {
	at := b.cursor.Swap(seized)
	if at >= seized {
		return
	}
	C.shim_taken(b.ev.c, C.uint32_t(min(at, b.count)))
}

// Received is when the messages were read from the socket, in Unix nanoseconds.
func (b *Batch) Received() int64 { return int64(b.ev.c.received_ns) }

// release is a reader's end; the last one's frees the event.
func (b *Batch) release() {
	if b.refs.Add(-1) == 0 {
		b.ev.free()
	}
}

// deliver runs the readers of a batch, the first of them on this goroutine, and gives the event that the worker goes on with.
func (e *Engine) deliver(ev *Event) *Event {
	b := &ev.batch
	b.open(e.control)
	ev.shim.entered = true
	e.handler.Read(b, e.join)
	runtime.Gosched() // who waits to pause the engine gets it now
	if b.refs.Load() == 1 {
		return ev // the next crossing ends it
	}
	C.shim_leave(ev.shim)
	if b.refs.Add(-1) == 0 {
		return ev
	}
	return newEvent() // the other readers end with this one
}

// join starts one reader more for what is left of the batch, if one is to be had.
func (e *Engine) join(b *Batch) {
	mine := newEvent()
	if !C.shim_join(b.ev.shim, mine.c) {
		mine.free()
		return
	}
	b.refs.Add(1)
	go e.Call(func() {
		defer func() {
			C.wsc_event_leave(mine.c)
			mine.free()
			b.release()
		}()
		e.handler.Read(b, e.join)
	})
}
