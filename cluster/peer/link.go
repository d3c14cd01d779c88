package peer

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/durable"
)

// way is the way of calls to one node: a connection while there is one, made by the
// first who needs it.
type way struct {
	t    *Transport
	addr string
	link atomic.Pointer[link] // takes calls; nil: to be made

	mu     sync.Mutex
	dial   *dialing  // under way
	absent time.Time // until then it is not asked again: the node takes no calls this way
}

// dialing is an attempt at a connection.
type dialing struct {
	done chan struct{} // closed once link and err are set
	link *link
	err  error
}

// askAgain is after how long a node that took no calls this way is asked again: it may have been
// replaced by a newer one.
const askAgain = 30 * time.Second

// idleTime is after how long a connection without calls is closed.
const idleTime = 5 * time.Minute

// Call passes a call on. See [durable.CallPeer].
func (n *node) Call(ctx context.Context, msg []byte, limit int) ([]byte, error) {
	if len(msg) > maxData {
		return nil, durable.ErrNotThisWay
	}
	for range 3 {
		l, err := n.way.open(ctx)
		if err != nil {
			return nil, err
		}
		answer, err := l.do(ctx, msg, limit)
		if err != errRetired {
			return answer, err
		}
	}
	return nil, durable.ErrNotThisWay
}

// errRetired: nothing was sent, since the link takes no more calls.
var errRetired = errors.New("peer: the connection takes no more calls")

// open returns the link, and makes it if there is none.
func (w *way) open(ctx context.Context) (*link, error) {
	if l := w.link.Load(); l != nil {
		return l, nil
	}
	w.mu.Lock()
	if l := w.link.Load(); l != nil {
		w.mu.Unlock()
		return l, nil
	}
	d := w.dial
	if d == nil {
		if time.Now().Before(w.absent) {
			w.mu.Unlock()
			return nil, durable.ErrNotThisWay
		}
		d = &dialing{done: make(chan struct{})}
		if !w.t.goFunc(func() { w.connect(d) }) {
			w.mu.Unlock()
			return nil, fmt.Errorf("%w: %w", durable.ErrNotDelivered, net.ErrClosed)
		}
		w.dial = d
	}
	w.mu.Unlock()
	select {
	case <-d.done:
		return d.link, d.err
	case <-ctx.Done():
		return nil, fmt.Errorf("%w: %w", durable.ErrNotDelivered, ctx.Err())
	}
}

// connect makes the link and keeps it until it ends.
func (w *way) connect(d *dialing) {
	l, err := w.t.dialLink(w.addr)
	switch {
	case err == errOtherWay:
		err = durable.ErrNotThisWay
	case isStranger(err):
		err = fmt.Errorf("%w: %w: %w", durable.ErrNotDelivered, ErrSecret, err)
	case err != nil:
		err = fmt.Errorf("%w: %w", durable.ErrNotDelivered, err)
	}
	if l != nil {
		l.leave = func() { w.link.CompareAndSwap(l, nil) }
	}
	w.mu.Lock()
	w.dial = nil
	if err == durable.ErrNotThisWay {
		w.absent = time.Now().Add(askAgain)
	}
	w.link.Store(l)
	w.mu.Unlock()
	d.link, d.err = l, err
	close(d.done)
	if l != nil {
		l.run(w.t.life, w.t.opts.Silence)
	}
}

// errOtherWay: the node is one, but has not heard of these connections, or not of their version.
var errOtherWay = errors.New("peer: the node takes calls as requests only")

// dialLink makes a connection for calls.
func (t *Transport) dialLink(addr string) (*link, error) {
	ctx, cancel := context.WithTimeout(t.life, t.opts.DialTimeout)
	defer cancel()
	c, err := (&tls.Dialer{Config: t.id.caller()}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn := c.(*tls.Conn)
	if conn.ConnectionState().NegotiatedProtocol != callsProto {
		conn.Close()
		return nil, errOtherWay
	}
	// The other end says nothing before it has looked at our certificate: from its
	// hello on, each of the two knows that the other is a node.
	stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Unix(1, 0)) })
	r := bufio.NewReaderSize(conn, maxWrite)
	f, err := readFrame(r)
	var h hello
	if err == nil {
		h, err = readHello(f)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err == nil && (h.version != callsVersion || h.window == 0) {
		err = errOtherWay
	}
	if err != nil {
		conn.NetConn().Close()
		return nil, err
	}
	return newLink(conn, func() { conn.NetConn().Close() }, r, h), nil
}

// link is a connection for calls, on the side that calls.
type link struct {
	*line
	hello hello
	from  *bufio.Reader
	leave func() // tells the way that this link takes no more calls

	// What follows is guarded by line.mu.

	calls   map[uint64]*call // that are not answered yet
	last    uint64           // id of a call
	retired bool             // takes no more
}

// call is one that waits for its answer. Its fields are guarded by line.mu until done receives.
type call struct {
	done   chan struct{} // receives once
	limit  int
	sent   bool // some of it may have left
	gone   bool // nobody waits any more
	answer []byte
	err    error
}

func newLink(conn net.Conn, cut func(), r *bufio.Reader, h hello) *link {
	return &link{line: newLine(conn, cut), hello: h, from: r, leave: func() {}, calls: make(map[uint64]*call)}
}

// do makes a call.
func (l *link) do(ctx context.Context, msg []byte, limit int) ([]byte, error) {
	c := &call{done: make(chan struct{}, 1), limit: limit}
	l.mu.Lock()
	switch {
	case l.err != nil || l.retired:
		l.mu.Unlock()
		return nil, errRetired
	case len(l.calls) >= l.hello.window || l.bytes > maxQueued || len(msg) > l.hello.largest:
		l.mu.Unlock()
		return nil, durable.ErrNotThisWay
	}
	l.last++
	id := l.last
	l.calls[id] = c
	l.pushLocked(frame{kindCall, id, msg, c})
	l.mu.Unlock()
	select {
	case <-c.done:
		return c.answer, c.err
	case <-ctx.Done():
		return l.abandon(id, c, ctx.Err())
	}
}

// abandon stops waiting for a call's answer. Its place in the window is free once the
// other node has answered, whatever that does with the cancellation.
func (l *link) abandon(id uint64, c *call, why error) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls[id] != c { // it was answered just now
		return c.answer, c.err
	}
	c.gone, c.answer = true, nil
	if !c.sent {
		delete(l.calls, id)
		l.closeIfDoneLocked()
		return nil, fmt.Errorf("%w: %w", durable.ErrNotDelivered, why)
	}
	l.pushLocked(frame{kind: kindCancel, id: id})
	return nil, why
}

// run carries the link's calls until it ends.
func (l *link) run(life context.Context, silence time.Duration) {
	var wg sync.WaitGroup
	wg.Go(l.write)
	idle := time.Duration(0)
	used := uint64(0)
	wg.Go(func() {
		l.watch(silence, func(step time.Duration) {
			l.mu.Lock()
			defer l.mu.Unlock()
			if idle += step; l.last != used || len(l.calls) > 0 {
				idle, used = 0, l.last
			}
			if idle >= idleTime {
				l.retireLocked()
			}
		})
	})
	stop := context.AfterFunc(life, func() { l.end(errEnded) })
	err := l.read()
	l.end(err)
	stop()
	l.leave()
	l.mu.Lock()
	for id, c := range l.calls {
		if c.err = l.err; !c.sent {
			c.err = fmt.Errorf("%w: %w", durable.ErrNotDelivered, l.err)
		}
		delete(l.calls, id)
		c.done <- struct{}{}
	}
	l.mu.Unlock()
	wg.Wait()
}

// retireLocked makes the link take no more calls, and ends it once those under way are answered.
func (l *link) retireLocked() {
	l.retired = true
	l.leave()
	l.closeIfDoneLocked()
}

func (l *link) closeIfDoneLocked() {
	if l.retired && len(l.calls) == 0 {
		l.endLocked(errEnded)
	}
}

// read takes the other node's frames until the connection ends.
func (l *link) read() error {
	for {
		f, err := readFrame(l.from)
		if err != nil {
			return err
		}
		l.heard.Add(1)
		switch f.kind {
		case kindAnswer, kindPiece, kindFailed:
			if !l.answered(f) {
				return fmt.Errorf("%w: an answer to call %d, which was not made", errProtocol, f.id)
			}
		case kindPing:
			l.owe(&l.pong)
		case kindPong:
		case kindClosing:
			l.mu.Lock()
			l.retireLocked()
			l.mu.Unlock()
		default:
			return fmt.Errorf("%w: a frame of kind %d", errProtocol, f.kind)
		}
	}
}

// answered gives a call its answer, or a piece of it.
func (l *link) answered(f frame) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.calls[f.id]
	if c == nil || !c.sent {
		return false
	}
	switch {
	case c.gone:
	case c.answer == nil && len(f.data) <= c.limit+1:
		c.answer = f.data
	default:
		c.answer = append(c.answer, f.data[:min(len(f.data), c.limit+1-len(c.answer))]...)
	}
	if f.kind == kindPiece {
		return true
	}
	if f.kind == kindFailed {
		c.err = errNoAnswer
	}
	delete(l.calls, f.id)
	c.done <- struct{}{}
	l.closeIfDoneLocked()
	return true
}

var errNoAnswer = errors.New("peer: the node could not answer")
