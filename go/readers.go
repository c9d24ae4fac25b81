package wscengine

import (
	"github.com/wscengine/wscengine/go/internal/core"
	"github.com/wscengine/wscengine/go/wsadapters"
)

// Read is one reader of a batch. Messages are taken under the read mutex, so that holding it pauses the engine; callbacks run outside of it.
func (h *handler) Read(b *core.Batch, join func(*core.Batch)) {
	e := h.engine
	s := e.session.Load()
	if s == nil || !s.begin(b) {
		b.Finish()
		return
	}
	defer s.over(b)
	defer b.Finish()
	client, mutex, tracing, alone := e.client, &e.readMutex, e.tracing.Load(), e.readers == 1 // alone: there is nobody to call
	for {
		mutex.Lock()
		at, ok := b.Take()
		mutex.Unlock()
		if !ok {
			return
		}
		if b.Last(at) {
			b.Finish() // no callback holds back what comes next
		} else if !alone {
			alone = true // one reader calls one more
			join(b)
		}
		if tracing != nil {
			tracing.message(s, b, at)
			continue
		}
		kind, data := b.Message(at)
		client.OnMessage(s.ctx, s.conn, mutex, s.restart, s.exit, s.id, wsadapters.MessageType(kind), data)
	}
}

// begin makes b the batch that is being taken; false: the user reads the connection, and gets its messages first.
func (s *session) begin(b *core.Batch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading > 0 {
		return false
	}
	s.current = b
	s.received.Store(b.Received())
	return true
}

func (s *session) over(b *core.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == b {
		s.current = nil
	}
}
