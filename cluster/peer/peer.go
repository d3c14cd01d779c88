// Package peer is the way from node to node: HTTP/2 over TLS 1.3 between processes
// that share a secret, and no one else.
//
// # Trust
//
// From the secret each node derives the same certificate authority, and signs a
// certificate of its own for a key that lives as long as the process. Both ends
// of a connection must show one. So traffic is encrypted, nothing can be replayed,
// and whoever has the secret is a node: it can read and do everything, as anybody can
// who has the database. An attacker who can reach the port may try to guess
// the secret by what a node shows of itself; guesses are made slow, and short
// secrets are refused.
//
// What is passed on carries no identity of a user that this package, or the receiver,
// would believe: the node that faces the client has settled who that is.
//
// # Calls
//
// Requests go as requests of HTTP/2, in both directions as they come. Typed calls are
// whole and mostly small: they share a connection for each direction between two nodes, as
// frames, of which one write takes as many as there are (line.go). What does not fit there
// goes as a request: what is large, what is too much at a time, and what is
// for a node that does not know such connections.
//
// # Failure
//
// A request fails with [durable.ErrNotDelivered] if nothing of it was sent: the
// node does not listen, or has another secret. Any other failure leaves open what
// happened. Connections that have gone silent are found by pings.
package peer

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/durable"
)

// Options configures a [Transport]. Fields other than Secret may be zero.
type Options struct {
	// Secret is what all nodes share: at least 16 bytes, best random ones. To change it
	// without stopping all nodes at once, give the new one and the old one, separated by
	// a comma: nodes trust both and show the first.
	Secret string

	// Told gets the messages of [Transport.Tell] of other nodes, several at once
	// perhaps. It owns them.
	Told func(msg []byte)

	// DialTimeout is how long a connection may take to come about. Default: 3 s.
	DialTimeout time.Duration

	// Silence is after how long a connection on which nothing arrives is asked whether it
	// is still alive, and again how long it has to answer. Default: 5 s. Much less, and a
	// machine that is short of processors loses connections that are sound.
	Silence time.Duration

	// Logger receives what no caller can be told. Nil discards.
	Logger *slog.Logger
}

// Limits of what nodes ask of each other.
const (
	maxMessage = 64 << 10
	maxHeaders = 4 << 20 // those of a client's request, in base64, and what goes with them
	maxStreams = 2048    // of one connection; beyond that there are more connections
	maxConns   = 4096
	maxUnread  = 256 << 20 // of one connection. A stream has its share of it: those that nobody reads must not hold up the others
)

// Transport is a node's way to the others, and theirs to it. It may be used by any
// number of goroutines.
type Transport struct {
	opts   Options
	log    *slog.Logger
	client *http.Transport
	id     *identity

	life context.Context // ends with Close
	end  context.CancelFunc
	wg   sync.WaitGroup // of what calls need

	mu       sync.Mutex
	servers  []*http.Server
	services map[*service]bool
	ways     map[string]*way // by address
	closed   bool            // no more is served
	over     bool            // no more calls are made
}

// New returns a transport. It takes about a tenth of a second: see secret.go.
func New(opts Options) (*Transport, error) {
	if opts.DialTimeout <= 0 {
		opts.DialTimeout = 3 * time.Second
	}
	if opts.Silence <= 0 {
		opts.Silence = 5 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	id, err := newIdentity(opts.Secret)
	if err != nil {
		return nil, err
	}
	opts.Secret = ""
	var h2 http.Protocols
	h2.SetHTTP2(true)
	dialer := &net.Dialer{Timeout: opts.DialTimeout}
	t := &Transport{opts: opts, log: opts.Logger, id: id, services: make(map[*service]bool), ways: make(map[string]*way)}
	t.life, t.end = context.WithCancel(context.Background())
	t.client = &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        id.client(),
		TLSHandshakeTimeout:    opts.DialTimeout,
		Protocols:              &h2,
		HTTP2:                  t.http2(),
		DisableCompression:     true,
		IdleConnTimeout:        5 * time.Minute,
		ExpectContinueTimeout:  time.Minute, // events wait in queues no longer
		MaxResponseHeaderBytes: maxHeaders,
	}
	return t, nil
}

func (t *Transport) http2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		SendPingTimeout:               t.opts.Silence,
		PingTimeout:                   t.opts.Silence,
		MaxReceiveBufferPerStream:     maxUnread / maxStreams,
		MaxReceiveBufferPerConnection: maxUnread,
	}
}

// node is another node.
type node struct {
	t    *Transport
	addr string
	way  *way
}

// Peer returns the way to the node that listens at addr (HOST:PORT): a [durable.CallPeer].
func (t *Transport) Peer(addr string) durable.Peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := t.ways[addr]
	if w == nil {
		w = &way{t: t, addr: addr}
		t.ways[addr] = w
	}
	return &node{t, addr, w}
}

// goFunc runs f on a goroutine that Close waits for, and reports whether it does: not after Close.
func (t *Transport) goFunc(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.wg.Go(f)
	return true
}

// ErrSecret: the other node does not have this one's secret, or does not show it. That it
// does not believe ours is only sure to be found out by [Transport.Ping].
var ErrSecret = errors.New("peer: the node has another secret")

// RoundTrip passes a request on. See [durable.Peer].
func (n *node) RoundTrip(r *http.Request) (*http.Response, error) {
	var sent atomic.Bool
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }})
	out := r.WithContext(ctx)
	out.URL = &url.URL{Scheme: "https", Host: n.addr, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	out.Host = serverName
	resp, err := n.t.client.RoundTrip(out)
	switch {
	case err == nil:
		return resp, nil
	case isStranger(err):
		err = fmt.Errorf("%w: %w", ErrSecret, err)
	}
	if !sent.Load() {
		err = fmt.Errorf("%w: %w", durable.ErrNotDelivered, err)
	}
	return nil, err
}

// isStranger reports whether one end of a handshake did not believe the other.
func isStranger(err error) bool {
	var ours *tls.CertificateVerificationError
	var theirs *net.OpError // what package tls makes of an alert
	return errors.As(err, &ours) || (errors.As(err, &theirs) && theirs.Op == "remote error")
}

// Ping returns nil once a node at addr believes this one, or why it does not:
// [ErrSecret] if one of the two does not trust the other.
func (t *Transport) Ping(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, t.opts.DialTimeout)
	defer cancel()
	conn, err := (&tls.Dialer{Config: t.id.client()}).DialContext(ctx, "tcp", addr)
	if err == nil {
		defer conn.Close()
		defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
		// The other end says nothing before it has looked at our certificate, which is
		// after the handshake's end on this side.
		_, err = conn.Read(make([]byte, 1))
	}
	if isStranger(err) {
		err = fmt.Errorf("%w: %w", ErrSecret, err)
	}
	if err != nil {
		return fmt.Errorf("peer: ping %s: %w", addr, err)
	}
	return nil
}

// Tell sends a small message to another node. It returns once the node has it, and
// an error if it is not known to have it.
func (t *Transport) Tell(ctx context.Context, addr string, msg []byte) error {
	if len(msg) > maxMessage {
		return fmt.Errorf("peer: message of %d bytes, limit %d", len(msg), maxMessage)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+serverName+tellPath, bytes.NewReader(msg))
	if err != nil {
		return err
	}
	resp, err := t.Peer(addr).RoundTrip(r)
	if err != nil {
		return fmt.Errorf("peer: tell %s: %w", addr, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("peer: tell %s: it answers %s", addr, resp.Status)
	}
	return nil
}

const tellPath = "/tell"

// Serve takes what other nodes pass on until Close: for [durable.Runtime.Peers] and
// [durable.Runtime.PeerCall] usually. Without calls these come as requests too. It closes
// the listener, and returns nil after Close.
func (t *Transport) Serve(l net.Listener, events http.Handler, calls Calls) error {
	var h2 http.Protocols
	h2.SetHTTP2(true)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+tellPath, t.told)
	mux.Handle("/", events)
	srv := &http.Server{
		Handler:           mux,
		TLSConfig:         t.id.server(),
		Protocols:         &h2,
		HTTP2:             t.http2(),
		ReadHeaderTimeout: 10 * time.Second, // for the handshake too
		IdleTimeout:       10 * time.Minute,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(t.log.Handler(), slog.LevelWarn),
	}
	if calls != nil {
		// First, since it is the server's order that counts.
		srv.TLSConfig.NextProtos = append([]string{callsProto}, srv.TLSConfig.NextProtos...)
		srv.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
			callsProto: func(_ *http.Server, conn *tls.Conn, _ http.Handler) { t.serveCalls(conn, calls) },
		}
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		l.Close()
		return nil
	}
	t.servers = append(t.servers, srv)
	t.mu.Unlock()
	err := srv.ServeTLS(&limited{Listener: l, room: make(chan struct{}, maxConns)}, "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (t *Transport) told(w http.ResponseWriter, r *http.Request) {
	msg, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	case t.opts.Told == nil:
		http.Error(w, "this node takes no messages", http.StatusNotImplemented)
		return
	}
	t.opts.Told(msg)
	w.WriteHeader(http.StatusNoContent)
}

// Shutdown stops taking requests and waits for those under way, until ctx ends:
// then they are cut off and ctx's error is returned. What this node asks of others goes on until Close.
func (t *Transport) Shutdown(ctx context.Context) error {
	var errs []error
	servers := t.close()
	t.mu.Lock()
	for s := range t.services {
		s.owe(&s.closing)
	}
	t.mu.Unlock()
	for _, srv := range servers {
		if err := srv.Shutdown(ctx); err != nil {
			srv.Close()
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close ends everything at once.
func (t *Transport) Close() error {
	for _, srv := range t.close() {
		srv.Close()
	}
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.end()
	t.wg.Wait()
	t.client.CloseIdleConnections()
	return nil
}

func (t *Transport) close() []*http.Server {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	return t.servers
}

// limited is a listener that holds so many connections at most.
type limited struct {
	net.Listener
	room chan struct{}
}

func (l *limited) Accept() (net.Conn, error) {
	l.room <- struct{}{}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.room
		return nil, err
	}
	return &limitedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.room })}, nil
}

type limitedConn struct {
	net.Conn
	leave func()
}

func (c *limitedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
