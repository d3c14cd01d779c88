package peer

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A line is one end of a connection that carries frames. One goroutine writes: all
// that is queued when it comes round, in one piece. So a frame alone goes at once, and
// the busier the nodes are, the more calls share a write, a record of TLS and a system call.
//
// Invariants kept here:
//
//   - A frame is marked as sent, under mu, before its first byte can leave. What is not
//     marked when the line ends has certainly not been delivered.
//   - Whoever reads from the connection never waits for the queue. So both ends always
//     read, and no two lines can wait for each other.
//   - The queue is bounded: by maxQueued for calls and answers, which wait or go another way,
//     and by the window for cancels. Pings, pongs and the closing are flags.
type line struct {
	conn net.Conn
	cut  func() // closes the socket at once
	wake chan struct{}
	done chan struct{} // closed once err is set

	heard atomic.Uint64 // frames that have arrived

	mu                  sync.Mutex
	queue               []frame
	bytes               int  // of queue
	ping, pong, closing bool // are to be sent
	err                 error
	room                sync.Cond // the queue has become shorter, or the line has ended
}

const (
	maxQueued = 4 << 20  // bytes in a queue, beyond which it takes no more calls and answers
	maxWrite  = 64 << 10 // bytes, about, that are marked as sent at a time
)

var (
	errSilent   = errors.New("peer: the connection has gone silent")
	errEnded    = errors.New("peer: the connection was closed")
	errProtocol = errors.New("peer: the other node breaks the protocol of calls")
)

func newLine(conn net.Conn, cut func()) *line {
	l := &line{conn: conn, cut: cut, wake: make(chan struct{}, 1), done: make(chan struct{})}
	l.room.L = &l.mu
	return l
}

// end breaks the line off, for the first reason that is given.
func (l *line) end(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endLocked(why)
}

func (l *line) endLocked(why error) {
	if l.err == nil {
		l.err = why
		close(l.done)
		l.room.Broadcast()
		l.cut()
	}
}

// pushLocked queues a frame.
func (l *line) pushLocked(f frame) {
	if len(l.queue) == 0 {
		l.signal()
	}
	l.queue = append(l.queue, f)
	l.bytes += f.size()
}

// owe has one of the flags' frames sent.
func (l *line) owe(flag *bool) {
	l.mu.Lock()
	*flag = true
	l.mu.Unlock()
	l.signal()
}

func (l *line) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// write sends what is queued until the line ends.
func (l *line) write() {
	var buf []byte
	for {
		if buf = l.take(buf[:0]); len(buf) > 0 {
			if _, err := l.conn.Write(buf); err != nil {
				l.end(err)
				return
			}
			continue
		}
		select {
		case <-l.wake:
			// Those that are about to queue something, often woken by one and the same commit, come first.
			runtime.Gosched()
		case <-l.done:
			return
		}
	}
}

// take appends what is to be written next and marks it as sent.
func (l *line) take(b []byte) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return b
	}
	n := 0
	for ; n < len(l.queue) && len(b) < maxWrite; n++ {
		f := &l.queue[n]
		l.bytes -= f.size()
		if c := f.call; c != nil {
			if c.gone {
				continue
			}
			c.sent = true
		}
		b = f.append(b)
	}
	if l.ping || l.pong || l.closing {
		for _, owed := range []struct {
			flag *bool
			kind kind
		}{{&l.ping, kindPing}, {&l.pong, kindPong}, {&l.closing, kindClosing}} {
			if *owed.flag {
				*owed.flag = false
				b = (&frame{kind: owed.kind}).append(b)
			}
		}
	}
	rest := copy(l.queue, l.queue[n:])
	clear(l.queue[rest:]) // or what was sent would be kept
	l.queue = l.queue[:rest]
	if rest == 0 && cap(l.queue) > 2*maxWindow {
		l.queue = nil
	}
	if n > 0 && l.bytes <= maxQueued {
		l.room.Broadcast()
	}
	return b
}

// watch asks whether the other end is there when nothing has arrived for as long as
// silence, and ends the line if nothing arrives for as long again. It calls look, with the
// time between two calls, each time that it looks, and returns when the line has ended.
func (l *line) watch(silence time.Duration, look func(step time.Duration)) {
	p := pulse{step: max(silence/looks, time.Millisecond), last: time.Now()}
	t := time.NewTicker(p.step)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-l.done:
			return
		}
		look(p.step)
		switch ask, over := p.look(time.Now(), l.heard.Load()); {
		case ask:
			l.owe(&l.ping)
		case over:
			l.end(errSilent)
			return
		}
	}
}

// looks is how many times one looks within the silence.
const looks = 5

// pulse counts how many looks in a row have found nothing new. The one that finds the last frame
// comes a step after it, so asking and ending are due one before the looks are full.
//
// A look that comes late is not counted, unless the one before it did too: while this process stood
// still nobody read, and what has arrived meanwhile is about to be.
type pulse struct {
	step  time.Duration
	last  time.Time
	late  bool
	heard uint64
	quiet int
}

func (p *pulse) look(now time.Time, heard uint64) (ask, over bool) {
	late := now.Sub(p.last) >= 2*p.step
	skip := late && !p.late
	p.last, p.late = now, late
	switch {
	case heard != p.heard:
		p.heard, p.quiet = heard, 0
		return false, false
	case skip:
		return false, false
	}
	p.quiet++
	return p.quiet == looks-1, p.quiet >= 2*looks-1
}
