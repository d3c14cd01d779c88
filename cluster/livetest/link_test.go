package livetest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// link is a way from one process to another that can be cut, stopped and slowed down.
type link struct {
	ln net.Listener

	mu     sync.Mutex
	moved  *sync.Cond // over mu
	target string     // guarded by mu
	cut    bool       // connections break; guarded by mu
	frozen bool       // nothing moves; guarded by mu
	delay  time.Duration
	conns  map[net.Conn]bool // guarded by mu
	closed bool              // guarded by mu
}

func newLink(t *testing.T, target string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{ln: ln, target: target, conns: make(map[net.Conn]bool)}
	l.moved = sync.NewCond(&l.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { l.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		l.set(func() { l.closed, l.cut, l.frozen = true, true, false })
		wg.Wait()
	})
	return l
}

func (l *link) addr() string { return l.ln.Addr().String() }

// set changes the link, and breaks connections if it is cut afterwards.
func (l *link) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
	if l.cut {
		for c := range l.conns {
			c.Close()
		}
	}
	l.moved.Broadcast()
}

// enter takes a connection in, unless the link is cut.
func (l *link) enter(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return false
	}
	l.conns[c] = true
	return true
}

func (l *link) leave(c net.Conn) {
	c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// pass waits while the link is frozen, and returns how long what was read takes.
func (l *link) pass() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.frozen {
		l.moved.Wait()
	}
	return l.delay
}

func (l *link) serve(c net.Conn) {
	defer l.leave(c)
	if !l.enter(c) {
		return
	}
	l.pass()
	l.mu.Lock()
	target := l.target
	l.mu.Unlock()
	to, err := net.DialTimeout("tcp", target, 5*time.Second)
	if err != nil {
		return
	}
	defer l.leave(to)
	if !l.enter(to) {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { l.copy(c, to) })
	l.copy(to, c)
	wg.Wait()
}

func (l *link) copy(dst, src net.Conn) {
	defer dst.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if d := l.pass(); d > 0 {
			time.Sleep(d) // this is what a slow link does
		}
		if _, werr := dst.Write(buf[:n]); err != nil || werr != nil {
			if err == io.EOF {
				return
			}
			src.Close()
			return
		}
	}
}
