package main

import (
	"net"
	"sync"
)

// line is a listener for connections within this process.
type line struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newLine() *line { return &line{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (l *line) dial() (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		client.Close()
		server.Close()
		return nil, net.ErrClosed
	}
}

// Accept implements [net.Listener].
func (l *line) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (l *line) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements [net.Listener].
func (l *line) Addr() net.Addr { return lineAddr{} }

type lineAddr struct{}

func (lineAddr) Network() string { return "line" }
func (lineAddr) String() string  { return "in process" }
