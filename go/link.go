package wscengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/wsadapters"
)

// link is one connection of a Go adapter, from its dial on.
//
// One goroutine at a time reads the connection. As a rule it is a reader, which lets go of that while its callback runs and takes it up again
// afterwards: nothing is handed over, no goroutine is woken. When the callbacks take long, or the engine is paused, or the user reads the connection
// himself, a feeder reads instead, into a bounded queue, so that pings are answered and the end of the link is seen; more readers, up to
// ReaderRoutinesCount, and the user's own reads take from there.
type link struct {
	host        *host
	session     *session
	response    *http.Response // of its dial
	predecessor *link
	ctx         context.Context
	end         context.CancelFunc

	mu        sync.Mutex
	changed   *sync.Cond
	state     linkState
	opened    bool // the adapter had a connection before the link was given up
	accepted  bool // OnOpen has: callbacks may be made
	stopped   bool // no more callbacks
	asks      int  // dials and closes of the adapter that are under way, the user's too
	busy      bool // somebody reads the connection
	feeding   bool // and that is the feeder
	readers   int  // goroutines that make callbacks
	idle      int  // of them, those that wait for the queue
	callbacks int  // of them, those that are in one
	queue     []message
	queued    int       // bytes
	failure   error     // of the last read: none succeeds after it
	reported  bool      // the core knows of it
	user      *ownClose // the user has closed the connection
	refuses   bool      // the user's reads fail: a stop waits for his callbacks
	stopToken uint64    // who is to be told when they are out
	gone      chan struct{}
	closed    bool // the adapter has been told to close it
	isGone    bool // gone is closed: the link is over and nobody uses the adapter for it

	messages, bytes uint64
	seen            uint64 // messages at the lookout's last look
	told            uint64 // messages that the core knows of
	watched         bool
}

type linkState int

const (
	linkDialing linkState = iota
	linkAbandoned
	linkOpen
	linkOver
)

type message struct {
	kind wsadapters.MessageType
	data []byte
}

type ownClose struct {
	code   wsadapters.StatusCode
	reason string
}

// newLink makes one whose dial is under way.
func newLink(h *host, predecessor *link) *link {
	l := &link{host: h, predecessor: predecessor, asks: 1, gone: make(chan struct{})}
	l.changed = sync.NewCond(&l.mu)
	l.ctx, l.end = context.WithCancel(h.engine.run.Load().ctx)
	return l
}

// ---- life ----

// dialed: the adapter has a connection; false: nobody wants it any more.
func (l *link) dialed(resp *http.Response) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != linkDialing {
		return false
	}
	l.state, l.opened, l.response = linkOpen, true, resp
	return true
}

// takeResponse gives the answer to the dial to whom it is for, and keeps it no longer.
func (l *link) takeResponse() *http.Response {
	l.mu.Lock()
	defer l.mu.Unlock()
	resp := l.response
	l.response = nil
	return resp
}

// abandon gives up a dial that is under way or has failed; false: it has succeeded. It holds of a link that is over, too: the next dial may have
// ended it before its own close was begun.
func (l *link) abandon() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == linkDialing {
		l.state = linkAbandoned
		l.end()
	}
	return !l.opened
}

// asked counts a close of the adapter; answered says that it, or the dial, has returned.
func (l *link) asked() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks++
}

func (l *link) answered() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asks--
	l.leave()
}

// closes is true for who is to have the adapter close it: the first that asks.
func (l *link) closes() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := !l.closed
	l.closed = true
	return first
}

func (l *link) closedByUser() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.user != nil
}

// accept starts the callbacks: OnOpen has returned.
func (l *link) accept() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.accepted = true
	l.addReader()
}

// retire: the session is over.
func (l *link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == linkDialing {
		l.end()
	}
	if l.state != linkOver {
		l.host.dropped.Add(uint64(len(l.queue)))
	}
	l.state, l.stopped = linkOver, true
	l.changed.Broadcast()
	l.leave()
}

// leave: somebody uses the adapter no more, perhaps nobody will. The lock is held.
func (l *link) leave() {
	if l.state == linkOver && !l.busy && l.asks == 0 && !l.isGone {
		l.isGone = true
		close(l.gone)
	}
}

func (l *link) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == linkOver || l.state == linkAbandoned
}

func (l *link) isOut() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.isGone
}

// out ends the link and blocks until nobody uses the adapter for it.
func (l *link) out(ctx context.Context) error {
	l.retire()
	select {
	case <-l.gone:
		return nil
	case <-ctx.Done():
		return &Error{Status: abi.StatusErrTimeout, Message: "the adapter's Dial, Read or Close did not return", Cause: ctx.Err()}
	}
}

// predecessorOut blocks until nobody uses the adapter for the link before this one.
func (l *link) predecessorOut(ctx context.Context) error {
	before := l.predecessor
	l.predecessor = nil
	if before == nil {
		return nil
	}
	return before.out(ctx)
}

// stop makes no more callbacks, and answers when none runs. The user's reads fail if it is for a Stop.
func (l *link) stop(token uint64) {
	l.mu.Lock()
	l.stopToken, l.stopped = token, true
	l.refuses = l.host.engine.run.Load().stopping.Load()
	l.changed.Broadcast()
	l.mu.Unlock()
	l.settle()
}

// closing: OnClose may read what is left.
func (l *link) closing() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuses = false
}

// unwanted: the session is over, or about to be. The lock is held.
func (l *link) unwanted() bool {
	return l.stopped || atomic.LoadUint32(l.host.engine.core.Load().Control()) != 0
}

// settle tells the core what it waits for: that no callback runs; that the connection has failed, once all that came before was taken.
func (l *link) settle() {
	l.mu.Lock()
	token := uint64(0)
	if l.callbacks == 0 {
		token, l.stopToken = l.stopToken, 0
	}
	failed := l.failure != nil && !l.reported && len(l.queue) == 0 && !l.closed // of a close it is the answer that tells
	l.reported = l.reported || failed
	failure, user := l.failure, l.user
	l.mu.Unlock()
	if token != 0 {
		l.reportLife()
		l.host.engine.core.Load().Report(token, nil, nil, abi.StatusOk)
	}
	if failed {
		l.reportFailure(failure, user)
	}
}

func (l *link) reportFailure(err error, user *ownClose) {
	l.reportLife()
	var closed wsadapters.WebsocketCloseError
	status, code, reason := abi.StatusErrHost, 0, err.Error()
	switch {
	case user != nil:
		status, code, reason = abi.StatusErrCanceled, int(user.code), user.reason
	case errors.As(err, &closed):
		status, code, reason = abi.StatusErrClosed, int(closed.Code), closed.Reason
	case errors.Is(err, net.ErrClosed):
		status, code = abi.StatusErrClosed, int(wsadapters.AbnormalClosure)
	}
	l.host.engine.core.Load().ReportRead(l.session.epoch, err, reason, status, code)
}

// reportLife tells the core of messages since the last time: they are signs of life.
func (l *link) reportLife() {
	l.mu.Lock()
	messages, bytes := l.messages-l.told, l.bytes
	l.told, l.bytes = l.messages, 0
	l.mu.Unlock()
	if messages != 0 && l.session != nil {
		l.host.engine.core.Load().ReportAlive(l.session.epoch, messages, bytes)
	}
}

// ---- reading ----

// next reads one message of the adapter, whose panic is its error.
func (l *link) next() (m message, err error) {
	returned := false
	defer func() {
		if p := recover(); p != nil {
			err = panickedIn("Read", p)
		} else if !returned {
			l.readerEnded()
		}
	}()
	m.kind, m.data, err = l.host.conn.Read(l.ctx)
	returned = true
	if err == nil && m.kind != wsadapters.Text && m.kind != wsadapters.Binary {
		err = fmt.Errorf("the adapter's Read gave a message of type %d", m.kind)
	}
	return m, err
}

// readerEnded: the goroutine that reads the connection is ending in the adapter's Read. That has failed; a reader takes over.
func (l *link) readerEnded() {
	l.mu.Lock()
	if l.feeding {
		l.feeding = false
	} else {
		l.readers--
	}
	l.got(message{}, endedIn("Read"))
	l.addReader()
	l.leave()
	l.mu.Unlock()
	l.settle()
}

// got ends a read of the connection, well or not. The lock is held.
func (l *link) got(m message, err error) {
	l.busy = false
	if err != nil {
		l.failure, l.reported = err, false
		l.changed.Broadcast()
		return
	}
	l.messages++
	l.bytes += uint64(len(m.data))
	if !l.watched {
		l.watched = true
		lookout.add(l)
	}
}

// push queues a message. The lock is held.
func (l *link) push(m message) {
	l.queue = append(l.queue, m)
	l.queued += len(m.data)
	l.changed.Broadcast()
}

// front takes the first of the queue. The lock is held.
func (l *link) front() message {
	m := l.queue[0]
	l.queue[0] = message{}
	l.queue = l.queue[1:]
	l.queued -= len(m.data)
	return m
}

// addReader starts a reader if there may be one more. The lock is held.
func (l *link) addReader() {
	if l.accepted && l.state == linkOpen && l.readers < l.host.engine.readers && !l.unwanted() {
		l.readers++
		go l.host.engine.core.Load().Call(l.read)
	}
}

// read is a reader: takes messages, from the queue or from the connection, and makes their callbacks. One that ends its goroutine is replaced.
func (l *link) read() {
	inside := false
	defer func() {
		if inside {
			l.mu.Lock()
			l.callbacks--
			l.readerLeaves()
			l.mu.Lock()
			l.addReader()
			l.mu.Unlock()
		}
	}()
	l.mu.Lock()
	for !l.unwanted() {
		var m message
		var ok bool
		switch {
		case len(l.queue) > 0:
			m, ok = l.pop()
		case l.failure != nil || l.busy && !l.feeding:
			l.readerLeaves()
			return
		case l.busy:
			l.idle++
			l.changed.Wait()
			l.idle--
		default:
			m, ok = l.fetch()
		}
		if !ok {
			continue
		}
		inside = true
		l.mu.Unlock()
		l.host.engine.tracing.Load().adapterMessage(l.session, m)
		l.mu.Lock()
		inside = false
		l.callbacks--
		if l.stopToken != 0 || l.failure != nil {
			l.mu.Unlock()
			l.settle()
			l.mu.Lock()
		}
	}
	l.readerLeaves()
}

func (l *link) readerLeaves() {
	l.readers--
	l.leave()
	l.mu.Unlock()
	l.settle()
}

// fetch reads one message, which is this reader's if the engine is not paused; otherwise it is queued. The lock is held, but not meanwhile.
func (l *link) fetch() (m message, ok bool) {
	l.busy = true
	l.mu.Unlock()
	m, err := l.next()
	mutex := &l.host.engine.readMutex
	running := err == nil && mutex.TryLock()
	l.mu.Lock()
	l.got(m, err)
	switch {
	case running && !l.unwanted():
		l.callbacks++
		ok = true
	case err == nil:
		l.push(m)
	}
	if running {
		mutex.Unlock()
	}
	return m, ok
}

// pop takes the first of the queue under the read mutex, if it is still wanted then. The lock is held, but not while the engine is paused.
func (l *link) pop() (m message, ok bool) {
	l.mu.Unlock()
	l.host.engine.readMutex.Lock()
	defer l.host.engine.readMutex.Unlock()
	l.mu.Lock()
	if len(l.queue) == 0 || l.unwanted() {
		return m, false
	}
	l.callbacks++
	return l.front(), true
}

// startFeeder has the connection read if nobody does. The lock is held.
func (l *link) startFeeder() {
	if l.busy || l.failure != nil || l.state != linkOpen || l.queued >= l.host.queueBytes() {
		return
	}
	l.busy, l.feeding = true, true
	go l.feed()
}

// feed reads into the queue until readers wait for it, who then read themselves, or until the queue is full.
func (l *link) feed() {
	for {
		m, err := l.next()
		l.mu.Lock()
		l.got(m, err)
		if err == nil {
			l.push(m)
		}
		if l.idle == 0 {
			l.addReader()
		}
		if err != nil || l.idle >= len(l.queue) || l.queued >= l.host.queueBytes() || l.state != linkOpen {
			break
		}
		l.busy = true
		l.mu.Unlock()
	}
	l.feeding = false
	l.leave()
	l.mu.Unlock()
	l.settle()
}

// listens has the connection read, if it is not; false: the queue is full.
func (l *link) listens() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.startFeeder()
	return l.busy
}

// readOn: OnReadError has returned.
func (l *link) readOn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = nil
	l.addReader()
}

// look is the lookout's: a link whose callbacks take long, or that is paused, is read by a feeder; false: it is quiet.
func (l *link) look() bool {
	l.reportLife()
	l.mu.Lock()
	defer l.mu.Unlock()
	quiet := l.messages == l.seen
	l.seen = l.messages
	if quiet && !l.unwanted() {
		l.startFeeder()
	}
	l.watched = !quiet
	return l.watched
}
