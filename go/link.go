package wscengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"

	"github.com/wscengine/wscengine/go/internal/abi"
	"github.com/wscengine/wscengine/go/wsadapters"
)

// Who reads the connection.
const (
	nobody = iota // whoever comes first may
	reader        // somebody does
	noMore        // the engine does not want to; only the user may
)

// link is one connection of a Go adapter, from its dial on; as an adapter it is the view of it that callbacks get.
//
// One reader at a time reads the connection. It lets go of that while the callback runs, and takes it again afterwards; when the callback takes long
// the lookout makes another reader, up to ReaderRoutinesCount. While the engine is paused, what was read waits, and the holder of the pause gets it
// first and then reads itself.
type link struct {
	host        *host
	session     *session
	predecessor *link
	ctx         context.Context
	end         context.CancelFunc

	reads     atomic.Int32 // nobody, reader or noMore
	callbacks atomic.Int32 // that run
	messages  atomic.Uint64
	bytes     atomic.Uint64
	stopped   atomic.Bool
	watched   atomic.Bool

	mu         sync.Mutex
	state      linkState
	readers    int       // goroutines of read
	waiting    []message // read, and not yet taken
	arrived    *sync.Cond
	gone       chan struct{} // closed when it is over and no reader is left
	isGone     bool
	failed     bool   // OnReadError is under way
	stopToken  uint64 // who is to be told when the readers are out
	userClosed wsadapters.StatusCode

	seen uint64 // the lookout's
	told uint64
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
	err  error
}

func newLink(h *host, predecessor *link) *link {
	l := &link{host: h, predecessor: predecessor, gone: make(chan struct{})}
	l.arrived = sync.NewCond(&l.mu)
	l.ctx, l.end = context.WithCancel(h.engine.run.Load().ctx)
	return l
}

// ---- life ----

// dialed: the adapter has a connection; false: nobody wants it any more.
func (l *link) dialed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != linkDialing {
		return false
	}
	l.state = linkOpen
	return true
}

// abandon gives a dial up; false: it has succeeded.
func (l *link) abandon() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != linkDialing {
		return false
	}
	l.state = linkAbandoned
	l.end()
	return true
}

// accepted starts reading: OnOpen has returned.
func (l *link) accepted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.start()
}

// start makes a reader, if nobody reads. The lock is held.
func (l *link) start() {
	if l.state == linkOpen && l.reads.CompareAndSwap(nobody, reader) {
		l.readers++
		go l.read()
	}
}

// retire: the session is over for its callbacks.
func (l *link) retire() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over()
}

// over: nothing is read any more. The lock is held.
func (l *link) over() {
	l.state = linkOver
	l.stopped.Store(true)
	l.arrived.Broadcast()
	if l.readers == 0 && !l.isGone {
		l.isGone = true
		close(l.gone)
	}
}

func (l *link) closed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == linkOver || l.state == linkAbandoned
}

// out blocks until no reader is left.
func (l *link) out(ctx context.Context) error {
	l.retire()
	select {
	case <-l.gone:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the adapter's Read did not return after its Close: %w", ctx.Err())
	}
}

// predecessorOut blocks until the readers of the link before have left.
func (l *link) predecessorOut(ctx context.Context) error {
	before := l.predecessor
	l.predecessor = nil
	if before == nil || before.state == linkDialing || before.state == linkAbandoned {
		return nil
	}
	return before.out(ctx)
}

// stop takes no more messages, and answers when no callback runs.
func (l *link) stop(token uint64) {
	l.mu.Lock()
	l.stopToken = token
	l.stopped.Store(true)
	l.arrived.Broadcast()
	l.mu.Unlock()
	if l.callbacks.Load() == 0 {
		l.readersOut()
	}
}

func (l *link) readersOut() {
	l.mu.Lock()
	token := l.stopToken
	l.stopToken = 0
	l.mu.Unlock()
	if token != 0 {
		l.host.engine.core.Report(token, nil, nil, abi.StatusOk, 0)
	}
}

func (l *link) pumping() bool { return l.reads.Load() == reader }

// ---- reading ----

// read is a reader: it has the right to read, and lets go of it during callbacks.
func (l *link) read() {
	l.host.engine.core.Call(l.loop)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.readers--
	if l.readers == 0 && l.state == linkOver && !l.isGone {
		l.isGone = true
		close(l.gone)
	}
}

func (l *link) loop() {
	e, s := l.host.engine, l.session
	for {
		m := l.next()
		if m.err != nil {
			l.broken(m.err)
			return
		}
		l.messages.Add(1)
		l.bytes.Add(uint64(len(m.data)))
		if !l.watched.Load() {
			lookout.watch(l)
		}
		l.callbacks.Add(1)
		if m, ok := l.taken(m); ok {
			e.tracing.adapterMessage(s, m)
		}
		if l.callbacks.Add(-1) == 0 && l.stopped.Load() {
			l.readersOut()
		}
		if !l.reads.CompareAndSwap(nobody, reader) && !l.again() {
			return
		}
	}
}

// again is CompareAndSwap once more, under the lock that everybody else lets go of reading under.
func (l *link) again() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reads.CompareAndSwap(nobody, reader)
}

// taken gives the message that is this reader's to call back with, and lets others read. Without a pause that is m; otherwise m waits, and the user may
// get it first.
func (l *link) taken(m message) (message, bool) {
	e := l.host.engine
	if e.readMutex.TryLock() {
		l.mu.Lock()
		early := len(l.waiting) == 0 && !l.unwanted()
		l.mu.Unlock()
		if early {
			l.reads.Store(nobody)
			e.readMutex.Unlock()
			return m, true
		}
		e.readMutex.Unlock()
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, m)
	l.arrived.Broadcast()
	unwanted := l.unwanted()
	if unwanted {
		l.reads.Store(noMore)
	} else {
		l.reads.Store(nobody)
	}
	l.mu.Unlock()
	if unwanted {
		return message{}, false
	}
	l.callbacks.Add(-1) // nobody waits for one that waits for the mutex
	e.readMutex.Lock()
	l.callbacks.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	defer e.readMutex.Unlock()
	if len(l.waiting) == 0 || l.unwanted() {
		return message{}, false
	}
	m, l.waiting = l.waiting[0], l.waiting[1:]
	return m, true
}

// unwanted: the session is over, or about to be.
func (l *link) unwanted() bool {
	return l.stopped.Load() || atomic.LoadUint32(l.host.engine.core.Control()) != 0
}

// next reads one message of the adapter.
func (l *link) next() (m message) {
	defer recovered("Read", &m.err)
	m.kind, m.data, m.err = l.host.conn.Read(l.ctx)
	if m.err == nil && m.kind != wsadapters.Text && m.kind != wsadapters.Binary {
		m.err = fmt.Errorf("the adapter's Read gave a message of type %d", m.kind)
	}
	return m
}

// broken tells the core of a read that failed. An error that is no close leaves the connection open: reading goes on when OnReadError has
// returned.
func (l *link) broken(err error) {
	l.report()
	l.mu.Lock()
	l.reads.Store(noMore)
	l.failed = true
	l.waiting = append(l.waiting, message{err: err}) // for who reads the connection themselves
	l.arrived.Broadcast()
	user := l.userClosed
	l.mu.Unlock()
	var closed wsadapters.WebsocketCloseError
	status, code, reason := abi.StatusErrHost, 0, err.Error()
	switch {
	case errors.As(err, &closed):
		status, code, reason = abi.StatusErrClosed, int(closed.Code), closed.Reason
	case errors.Is(err, net.ErrClosed):
		status, code = abi.StatusErrClosed, int(wsadapters.AbnormalClosure)
	}
	if status == abi.StatusErrClosed && user != 0 {
		code = int(user)
	}
	l.host.engine.core.ReportRead(l.session.epoch, err, reason, status, code)
}

// readOn: OnReadError has returned.
func (l *link) readOn() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = false
	l.waiting = nil
	if !l.unwanted() && l.reads.CompareAndSwap(noMore, nobody) {
		l.start()
	}
}

// report tells the core of messages since the last time: they are signs of life.
func (l *link) report() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.messages.Load(); n != l.told && l.session != nil {
		b := l.bytes.Swap(0)
		l.host.engine.core.ReportAlive(l.session.epoch, n-l.told, b)
		l.told = n
	}
}

// ---- as an adapter: what callbacks get ----

var _ wsadapters.WebsocketConnectionAdapterInterface = (*link)(nil)

func (l *link) usable(verb string) error {
	if l.closed() {
		return fmt.Errorf("wscengine: %s: the session is over: %w", verb, net.ErrClosed)
	}
	return nil
}

// Dial fails: it is open.
func (l *link) Dial(context.Context, url.URL) (*http.Response, error) {
	return nil, errors.New("wscengine: a connection is open already")
}

// Close closes the connection; the engine then connects anew.
func (l *link) Close(ctx context.Context, code wsadapters.StatusCode, reason string) error {
	if err := l.usable("close"); err != nil {
		return err
	}
	l.mu.Lock()
	l.userClosed = code
	l.mu.Unlock()
	return l.host.conn.Close(ctx, code, reason)
}

// Ping blocks until the pong.
func (l *link) Ping(ctx context.Context) error {
	if err := l.usable("ping"); err != nil {
		return err
	}
	return l.host.conn.Ping(ctx)
}

// Read gives the next message: what has been read and not taken comes first.
func (l *link) Read(ctx context.Context) (wsadapters.MessageType, []byte, error) {
	if err := l.usable("read"); err != nil {
		return 0, nil, err
	}
	stop := context.AfterFunc(ctx, l.wake)
	defer stop()
	l.mu.Lock()
	for {
		if len(l.waiting) > 0 {
			m := l.waiting[0]
			if m.err == nil {
				l.waiting = l.waiting[1:]
			}
			l.mu.Unlock()
			return m.kind, m.data, m.err
		}
		before := l.reads.Load()
		if before != reader && l.reads.CompareAndSwap(before, reader) {
			break
		}
		if ctx.Err() != nil || l.state == linkOver {
			l.mu.Unlock()
			if ctx.Err() != nil {
				return 0, nil, fmt.Errorf("wscengine: read: %w", ctx.Err())
			}
			return 0, nil, l.usable("read")
		}
		l.arrived.Wait()
	}
	l.mu.Unlock()
	kind, data, err := l.host.conn.Read(ctx)
	l.mu.Lock()
	l.reads.Store(nobody)
	l.messages.Add(1)
	if err != nil && ctx.Err() == nil || l.unwanted() {
		l.reads.Store(noMore)
	}
	l.arrived.Broadcast()
	if l.session != nil && !l.session.calling.Load() && l.callbacks.Load() == 0 && l.readers == 0 {
		l.start()
	}
	l.mu.Unlock()
	if err != nil && ctx.Err() == nil {
		l.broken(err)
	}
	return kind, data, err
}

func (l *link) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived.Broadcast()
}

// Write sends one message.
func (l *link) Write(ctx context.Context, msgType wsadapters.MessageType, msg []byte) error {
	if err := l.usable("write"); err != nil {
		return err
	}
	return l.host.conn.Write(ctx, msgType, msg)
}

// GetUnderlyingWebsocketConnection is the adapter's.
func (l *link) GetUnderlyingWebsocketConnection() any {
	return l.host.conn.GetUnderlyingWebsocketConnection()
}
