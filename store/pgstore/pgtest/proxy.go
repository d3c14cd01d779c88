package pgtest

import (
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
)

// Fate is what becomes of a message from a client to the server.
type Fate int

const (
	Pass Fate = iota // it is passed on
	Drop             // the connection breaks before it
	Last             // it is passed on, and the client's connection breaks before anything comes back; the server is not told
	Late             // as Last, but it is passed on when Deliver is called, and what follows it up to a Sync with it
)

// Message is a message from a client: see "Message Formats" in PostgreSQL's manual.
type Message struct {
	Conn int  // number of the connection
	Type byte // 0 for what comes before the first typed one
	Body []byte
}

// IsCancel reports whether m asks the server to cancel another connection's statement.
func (m Message) IsCancel() bool {
	return m.Type == 0 && len(m.Body) >= 4 && binary.BigEndian.Uint32(m.Body) == 80877102
}

// Proxy is a way to a server that can break and stall. Its methods may be called by any
// number of goroutines at once.
type Proxy struct {
	Addr string // host and port, for [Server.DSN]

	target string
	ln     net.Listener

	mu     sync.Mutex
	thawed *sync.Cond // over mu
	conns  map[net.Conn]bool
	count  int
	cut    bool
	frozen bool
	hook   func(Message) Fate
	late   chan struct{} // closed by Deliver
}

// NewProxy returns a proxy to a host and port. It ends with the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: ln.Addr().String(), target: target, ln: ln, conns: map[net.Conn]bool{}, late: make(chan struct{})}
	p.thawed = sync.NewCond(&p.mu)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.Deliver()
		p.Thaw()
		p.Cut()
		wg.Wait()
	})
	return p
}

// Cut breaks all connections and takes no new ones until Heal.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	for c := range p.conns {
		c.Close()
	}
}

// Heal undoes Cut and takes the hook away.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.hook = false, nil
}

// Freeze stops what flows, in both directions, without breaking connections.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Thaw lets it flow again.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	p.thawed.Broadcast()
}

// Hook has f decide about each message from clients, one at a time; nil: all pass.
func (p *Proxy) Hook(f func(Message) Fate) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = f
}

// Deliver passes on what is late, and what will be.
func (p *Proxy) Deliver() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.late:
	default:
		close(p.late)
	}
}

// pass waits while the proxy is frozen.
func (p *Proxy) pass() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.frozen {
		p.thawed.Wait()
	}
}

// enter adds a connection unless connections are cut.
func (p *Proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) leave(c net.Conn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	c.Close()
}

func (p *Proxy) serve(client net.Conn) {
	defer p.leave(client)
	if !p.enter(client) {
		return
	}
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	defer p.leave(server)
	if !p.enter(server) {
		return
	}
	p.mu.Lock()
	p.count++
	number := p.count
	p.mu.Unlock()

	var wg sync.WaitGroup
	wg.Go(func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := server.Read(buf)
			p.pass()
			if n > 0 {
				if _, err := client.Write(buf[:n]); err != nil {
					io.Copy(io.Discard, server) // the server notices nothing
					return
				}
			}
			if err != nil {
				client.Close()
				return
			}
		}
	})
	if last := p.forward(number, client, server); last {
		client.Close()
		wg.Wait() // the server goes on until it has nothing more to say, or all is cut
		return
	}
	client.Close()
	server.Close()
	wg.Wait()
}

// forward passes messages from a client on until it ends, or its fate is Last.
func (p *Proxy) forward(number int, client, server net.Conn) (last bool) {
	typed := false
	for {
		header := make([]byte, 5)
		if !typed {
			header = header[1:]
		}
		if _, err := io.ReadFull(client, header); err != nil {
			return false
		}
		length := binary.BigEndian.Uint32(header[len(header)-4:])
		if length < 4 || length > 1<<30 {
			return false
		}
		body := make([]byte, length-4)
		if _, err := io.ReadFull(client, body); err != nil {
			return false
		}
		m := Message{Conn: number, Body: body}
		if typed {
			m.Type = header[0]
		}
		typed = true // no encryption is asked for: see DSN
		p.pass()
		p.mu.Lock()
		fate := Pass
		if p.hook != nil {
			fate = p.hook(m)
		}
		p.mu.Unlock()
		if fate == Drop {
			return false
		}
		message := append(header, body...)
		if fate == Late && m.Type != 'S' {
			rest, err := untilSync(client)
			if err != nil {
				return false
			}
			message = append(message, rest...)
		}
		if fate == Last || fate == Late {
			client.Close() // before the server can answer
		}
		if fate == Late {
			<-p.late
		}
		if _, err := server.Write(message); err != nil {
			return false
		}
		if fate == Last || fate == Late {
			return true
		}
	}
}

// untilSync reads messages up to a Sync.
func untilSync(client io.Reader) (all []byte, err error) {
	for {
		header := make([]byte, 5)
		if _, err := io.ReadFull(client, header); err != nil {
			return nil, err
		}
		body := make([]byte, max(4, binary.BigEndian.Uint32(header[1:]))-4)
		if _, err := io.ReadFull(client, body); err != nil {
			return nil, err
		}
		all = append(append(all, header...), body...)
		if header[0] == 'S' {
			return all, nil
		}
	}
}
