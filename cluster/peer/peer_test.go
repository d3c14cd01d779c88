package peer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perdure/perdure/cluster/peer"
	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

const secret = "0123456789abcdef"

// Counter counts, and does what tests need.
type Counter struct {
	st   *durable.State
	hold chan struct{} // an event that waits goes on when it receives
	in   chan struct{} // receives when an event waits
}

func (c *Counter) Add(ctx context.Context, by int) (int, error) {
	var n int
	if _, err := c.st.Storage().Get(ctx, "n", &n); err != nil {
		return 0, err
	}
	return n + by, c.st.Storage().Put(ctx, "n", n+by)
}

func (c *Counter) Nothing(context.Context) error { return nil }

func (c *Counter) Large(_ context.Context, n int) ([]byte, error) { return make([]byte, n), nil }

func (c *Counter) Echo(_ context.Context, b []byte) ([]byte, error) { return b, nil }

// Wait waits for the outside world, and says how its context ended.
func (c *Counter) Wait(ctx context.Context) error {
	return c.st.Await(ctx, func(ctx context.Context) error {
		c.in <- struct{}{}
		select {
		case <-c.hold:
			return nil
		case <-ctx.Done():
			c.in <- struct{}{}
			return ctx.Err()
		}
	})
}

func (c *Counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/echo":
		io.Copy(w, r.Body)
	case "/flood":
		piece := make([]byte, 256<<10)
		c.st.Await(r.Context(), func(context.Context) error {
			for {
				w.Write(piece)
				if err := http.NewResponseController(w).Flush(); err != nil {
					return err
				}
			}
		})
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		c.st.Await(r.Context(), func(ctx context.Context) error {
			for i := 0; ; i++ {
				fmt.Fprintf(w, "data: %d\n\n", i)
				if err := http.NewResponseController(w).Flush(); err != nil {
					return err
				}
				select {
				case <-c.hold:
				case <-ctx.Done():
					c.in <- struct{}{}
					return ctx.Err()
				}
			}
		})
	}
}

// pairOf are two nodes over one store: all objects live on the second, and the first is asked.
type pairOf struct {
	front, owner *durable.Runtime
	at           *side           // the owner's
	served       *peer.Transport // by the owner
	requests     atomic.Int64    // that the owner got
	to           *peer.Transport // of the front
	addr         string          // where the owner listens
	hold, in     chan struct{}

	mu     sync.Mutex
	dial   string // the address that the front uses
	missed chan error
}

type alwaysHere struct{}

func (alwaysHere) Check(context.Context) error { return nil }

// side is one node's placement.
type side struct {
	p       *pairOf
	place   *durable.Place // nil: at the other one
	refuses atomic.Int32   // so many events, as if it were elsewhere
}

func (s *side) Locate(context.Context, store.Object) (*durable.Place, error) {
	if s.refuses.Add(-1) >= 0 {
		return &durable.Place{Owner: "somebody", Epoch: 1}, nil
	}
	if s.place != nil {
		return s.place, nil
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	return &durable.Place{Peer: s.p.to.Peer(s.p.dial), Owner: "owner", Epoch: 1}, nil
}

func (s *side) Missed(_ store.Object, _ *durable.Place, err error) {
	select {
	case s.p.missed <- err:
	default:
	}
}

func (s *side) Shards() ([]uint32, <-chan struct{}) { return nil, nil }

type shared struct{ *memstore.Store }

func (shared) Close() error { return nil }

func newPair(t testing.TB, class *durable.ClassOptions, opts peer.Options) *pairOf {
	t.Helper()
	return newPairOf(t, class, opts, false)
}

// newPairOf is newPair; with noCalls the owner knows nothing of connections for calls.
func newPairOf(t testing.TB, class *durable.ClassOptions, opts peer.Options, noCalls bool) *pairOf {
	t.Helper()
	p := &pairOf{hold: make(chan struct{}), in: make(chan struct{}, 10), missed: make(chan error, 100)}
	st := shared{memstore.New(nil)}
	open := func(s *side) *durable.Runtime {
		c := durable.NewClass("Counter", func(_ context.Context, st *durable.State) (*Counter, error) {
			return &Counter{st, p.hold, p.in}, nil
		}, class)
		rt, err := durable.Open(st, &durable.Options{Classes: []durable.Class{c}, Placement: s})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { rt.Close() })
		return rt
	}
	p.front = open(&side{p: p})
	p.at = &side{p: p, place: &durable.Place{Lease: alwaysHere{}, Owner: "owner", Epoch: 1}}
	p.owner = open(p.at)
	if opts.Secret == "" {
		opts.Secret = secret
	}
	if opts.Silence == 0 {
		opts.Silence = time.Minute // tests may be slow
	}
	p.to = transport(t, opts)
	p.served = transport(t, opts)
	calls := p.owner.PeerCall
	if noCalls {
		calls = nil
	}
	p.addr = listen(t, p.served, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		p.owner.Peers().ServeHTTP(w, r)
	}), calls)
	p.dial = p.addr
	return p
}

func transport(t testing.TB, opts peer.Options) *peer.Transport {
	t.Helper()
	tr, err := peer.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

func listen(t testing.TB, tr *peer.Transport, h http.Handler, calls peer.Calls) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- tr.Serve(l, h, calls) }()
	t.Cleanup(func() {
		tr.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func (p *pairOf) counter() *durable.Stub { return p.front.Namespace("Counter").Named("c") }

func TestForward(t *testing.T) {
	p := newPair(t, nil, peer.Options{})
	for i := range 3 {
		if n, err := durable.Call(t.Context(), p.counter(), (*Counter).Add, 1); n != i+1 || err != nil {
			t.Fatalf("Add = %d, %v, want %d", n, err, i+1)
		}
	}
	if n := p.requests.Load(); n != 0 {
		t.Errorf("%d requests for small calls, want none", n)
	}
	if got, err := durable.Call(t.Context(), p.counter(), (*Counter).Large, 1<<20); len(got) != 1<<20 || err != nil || p.requests.Load() != 0 {
		t.Errorf("Large: %d bytes, %v, %d requests, want 1 MiB and none", len(got), err, p.requests.Load())
	}
	p.at.refuses.Store(4) // which must not keep large bodies from arriving later
	big := bytes.Repeat([]byte("0123456789abcdef"), 8<<20/16-10)
	if got, err := durable.Call(t.Context(), p.counter(), (*Counter).Echo, big); !bytes.Equal(got, big) || err != nil {
		t.Errorf("Echo: %d bytes, %v, want %d", len(got), err, len(big))
	}
	p.at.refuses.Store(4)
	rec := httptest.NewRecorder()
	p.counter().ServeHTTP(rec, httptest.NewRequest("POST", "/echo", bytes.NewReader(big)))
	if rec.Code != 200 || !bytes.Equal(rec.Body.Bytes(), big) {
		t.Errorf("POST /echo = %d with %d bytes, want %d", rec.Code, rec.Body.Len(), len(big))
	}
}

// More requests at a time than a connection takes.
func TestManyAtOnce(t *testing.T) {
	p := newPair(t, nil, peer.Options{})
	const n = 3000
	errs := make(chan error, n)
	for i := range n {
		go func() {
			_, err := durable.Call(t.Context(), p.front.Namespace("Counter").Named(fmt.Sprint(i%50)), (*Counter).Add, 1)
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// A node that knows nothing of connections for calls gets requests.
func TestNodeWithoutCalls(t *testing.T) {
	p := newPairOf(t, nil, peer.Options{}, true)
	for i := range 3 {
		if n, err := durable.Call(t.Context(), p.counter(), (*Counter).Add, 1); n != i+1 || err != nil {
			t.Fatalf("Add = %d, %v, want %d", n, err, i+1)
		}
	}
	if n := p.requests.Load(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
	select {
	case err := <-p.missed:
		t.Errorf("an attempt failed with %v", err)
	default:
	}
}

// A node that shuts down ends what it runs; what comes later is known not to be delivered.
func TestShutdownDuringCalls(t *testing.T) {
	p := newPair(t, nil, peer.Options{})
	done := make(chan error, 1)
	go func() { done <- durable.Exec0(t.Context(), p.counter(), (*Counter).Wait) }()
	await(t, "the event to begin", p.in)
	down := make(chan error, 1)
	go func() { down <- p.served.Shutdown(context.Background()) }()
	ctx, cancel := context.WithCancel(t.Context())
	late := make(chan error, 1)
	// The node that is called takes what comes before it has closed its listener, and lets it wait for Wait.
	began := time.Now()
	for end := false; !end; {
		if time.Since(began) > time.Minute {
			t.Fatal("a node that shuts down takes calls for a minute")
		}
		go func() { late <- durable.Exec0(ctx, p.front.Namespace("Counter").Named("other"), (*Counter).Nothing) }()
		select {
		case err := <-p.missed:
			if !errors.Is(err, durable.ErrNotDelivered) {
				t.Errorf("a late call: %v, want ErrNotDelivered", err)
			}
			end = true
		case err := <-late:
			if err != nil {
				t.Fatalf("a late call: %v", err)
			}
		}
	}
	cancel()
	if err := await(t, "the late call", late); err == nil {
		t.Error("a call to a node that is gone was answered")
	}
	select {
	case err := <-down:
		t.Fatalf("Shutdown = %v before the call had ended", err)
	default:
	}
	p.hold <- struct{}{}
	if err := await(t, "the call under way", done); err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := await(t, "Shutdown", down); err != nil {
		t.Errorf("Shutdown = %v", err)
	}
}

// Close leaves no goroutine.
func TestNothingIsLeft(t *testing.T) {
	p := newPair(t, nil, peer.Options{})
	done := make(chan error, 1)
	go func() { done <- durable.Exec0(t.Context(), p.counter(), (*Counter).Wait) }()
	await(t, "the event to begin", p.in)
	p.to.Close()
	if err := await(t, "the call", done); !errors.Is(err, durable.ErrUnreachable) {
		t.Errorf("a call that Close cut off: %v", err)
	}
	await(t, "the event to be cancelled", p.in)
	if _, err := p.to.Peer(p.addr).(durable.CallPeer).Call(t.Context(), nil, 1); !errors.Is(err, durable.ErrNotDelivered) {
		t.Errorf("a call after Close: %v, want ErrNotDelivered", err)
	}
	p.served.Close()
	var stacks string
	for range 6000 {
		buf := make([]byte, 1<<20)
		stacks = string(buf[:runtime.Stack(buf, true)])
		if !strings.Contains(stacks, "peer.(*line)") && !strings.Contains(stacks, "peer.(*link)") && !strings.Contains(stacks, "peer.(*service)") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("goroutines are left:\n%s", stacks)
}

// Clients that read nothing of their streams do not keep others waiting.
func TestStreamsThatNobodyReads(t *testing.T) {
	p := newPair(t, nil, peer.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	counters := p.front.Namespace("Counter")
	for i := range 300 {
		r, _ := http.NewRequestWithContext(ctx, "GET", "http://do/flood", nil)
		resp, err := counters.Named(fmt.Sprint("flood", i)).RoundTrip(r)
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		defer resp.Body.Close()
		// What its owner can send of it is sent when it stands still.
		if _, err := io.ReadFull(resp.Body, make([]byte, 64<<10)); err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if _, err := durable.Call(ctx, counters.Named("other"), (*Counter).Add, 1); err != nil {
		t.Errorf("a call beside them: %v", err)
	}
}

// Each event of a stream arrives before the next is made; a client that leaves ends the stream at its source.
func TestServerSentEvents(t *testing.T) {
	p := newPair(t, nil, peer.Options{})
	srv := httptest.NewServer(p.counter())
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", srv.URL+"/events", nil)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("Content-Type %q", ct)
	}
	for i := range 3 {
		buf := make([]byte, len("data: 0\n\n"))
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != fmt.Sprintf("data: %d\n\n", i) {
			t.Fatalf("event %d = %q, %v", i, buf, err)
		}
		if i < 2 {
			p.hold <- struct{}{}
		}
	}
	cancel()
	await(t, "the stream's source to learn that its client left", p.in)
}

func await[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(time.Minute):
		t.Fatalf("waited a minute for %s", what)
	}
	return v
}

func TestCancellation(t *testing.T) {
	p := newPair(t, nil, peer.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- durable.Exec0(ctx, p.counter(), (*Counter).Wait) }()
	await(t, "the event to begin", p.in)
	cancel()
	await(t, "the event to be cancelled", p.in)
	if err := await(t, "its caller", done); !errors.Is(err, context.Canceled) {
		t.Errorf("caller got %v", err)
	}
}

// A body that streams is not sent before the owner takes it, so that a refused request
// can be sent again, and arrives.
func TestStreamedBody(t *testing.T) {
	p := newPair(t, &durable.ClassOptions{StreamBody: true}, peer.Options{})
	p.at.refuses.Store(2)
	pr, pw := io.Pipe()
	r := httptest.NewRequest("POST", "/echo", pr)
	r.ContentLength = -1
	rec := httptest.NewRecorder()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.counter().ServeHTTP(rec, r)
	}()
	for range 3 {
		io.WriteString(pw, "piece ")
	}
	pw.Close()
	await(t, "the answer", done)
	if rec.Body.String() != "piece piece piece " {
		t.Errorf("answer %d %q", rec.Code, rec.Body)
	}
}

// relay stands between two nodes, and can cut or freeze what passes.
type relay struct {
	l      net.Listener
	mu     sync.Mutex
	conns  []net.Conn
	frozen chan struct{} // closed: nothing passes any more
}

func newRelay(t testing.TB, to string) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	y := &relay{l: l, frozen: make(chan struct{})}
	t.Cleanup(func() { l.Close(); y.cut() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", to)
			if err != nil {
				c.Close()
				continue
			}
			y.mu.Lock()
			y.conns = append(y.conns, c, d)
			y.mu.Unlock()
			go y.copy(c, d)
			go y.copy(d, c)
		}
	}()
	return y
}

func (y *relay) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		select {
		case <-y.frozen:
			return // and leave both ends open
		default:
		}
		to.Write(buf[:n])
		if err != nil {
			to.Close()
			return
		}
	}
}

func (y *relay) cut() {
	y.mu.Lock()
	defer y.mu.Unlock()
	for _, c := range y.conns {
		c.Close()
	}
}

// An event that was under way when the connection broke, or went silent, may have run; what
// could not be sent is sent again.
func TestBrokenConnections(t *testing.T) {
	for name, c := range map[string]struct {
		silence time.Duration
		breakIt func(y *relay)
	}{
		"cut":    {0, (*relay).cut},
		"silent": {2 * time.Second, func(y *relay) { close(y.frozen) }}, // found by a ping
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, nil, peer.Options{Silence: c.silence})
			y := newRelay(t, p.addr)
			p.dial = y.l.Addr().String()
			done := make(chan error, 1)
			go func() { done <- durable.Exec0(t.Context(), p.counter(), (*Counter).Wait) }()
			await(t, "the event to begin", p.in)
			c.breakIt(y)
			err := await(t, "its caller", done)
			var e *durable.Error
			if !errors.As(err, &e) || e.Retryable || !errors.Is(err, durable.ErrUnreachable) {
				t.Errorf("error %v (%+v), want ErrUnreachable, not retryable", err, e)
			}
			await(t, "the event to be cancelled", p.in)
		})
	}

	p := newPair(t, nil, peer.Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.dial = l.Addr().String()
	l.Close()
	done := make(chan error, 1)
	go func() {
		_, err := durable.Call(t.Context(), p.counter(), (*Counter).Add, 1)
		done <- err
	}()
	if err := await(t, "the dial to fail", p.missed); !errors.Is(err, durable.ErrNotDelivered) {
		t.Errorf("dial failed with %v, want ErrNotDelivered", err)
	}
	p.mu.Lock()
	p.dial = p.addr
	p.mu.Unlock()
	if err := await(t, "the event", done); err != nil {
		t.Errorf("event whose node came back: %v", err)
	}
}

func TestTell(t *testing.T) {
	got := make(chan []byte, 1)
	p := newPair(t, nil, peer.Options{Told: func(msg []byte) { got <- msg }})
	if err := p.to.Tell(t.Context(), p.addr, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if msg := await(t, "the message", got); string(msg) != "hello" {
		t.Errorf("message %q", msg)
	}
	if err := p.to.Tell(t.Context(), p.addr, make([]byte, 64<<10+1)); err == nil {
		t.Error("a message over the limit was sent")
	}
	if err := p.to.Tell(t.Context(), "127.0.0.1:1", nil); !errors.Is(err, durable.ErrNotDelivered) {
		t.Errorf("Tell to nobody: %v", err)
	}
}

// Whoever does not have the secret gets nowhere, in either direction.
func TestStrangersAreRefused(t *testing.T) {
	reached := make(chan string, 10)
	addr := listen(t, transport(t, peer.Options{Secret: secret}), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached <- r.URL.Path }),
		func(context.Context, []byte) []byte { reached <- "a call"; return nil })
	ask := func(c *http.Transport, scheme string) error {
		defer c.CloseIdleConnections()
		r, _ := http.NewRequest("POST", scheme+"://"+addr+"/event", nil)
		resp, err := c.RoundTrip(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
	var h2 http.Protocols
	h2.SetHTTP2(true)
	client := func(cfg *tls.Config) *http.Transport { return &http.Transport{TLSClientConfig: cfg, Protocols: &h2} }
	for name, err := range map[string]error{
		"plain HTTP":                 ask(&http.Transport{}, "http"),
		"no certificate":             ask(client(&tls.Config{InsecureSkipVerify: true}), "https"),
		"a certificate of its own":   ask(client(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{selfSigned(t)}}), "https"),
		"an old TLS":                 ask(client(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}), "https"),
		"one that checks the server": ask(client(&tls.Config{ServerName: "node.perdure"}), "https"),
	} {
		if err == nil {
			t.Errorf("%s got in", name)
		}
	}
	for name, certs := range map[string][]tls.Certificate{"without a certificate": nil, "with a certificate of its own": {selfSigned(t)}} {
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: certs, NextProtos: []string{"perdure-calls"}})
		if err != nil {
			continue
		}
		conn.Write([]byte("\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x01"))
		if got, err := io.ReadAll(conn); len(got) > 0 || err == nil {
			t.Errorf("calls %s: read %q, %v", name, got, err)
		}
		conn.Close()
	}
	if _, err := transport(t, peer.Options{Secret: "fedcba9876543210"}).Peer(addr).(durable.CallPeer).Call(t.Context(), nil, 1); !errors.Is(err, durable.ErrNotDelivered) || !errors.Is(err, peer.ErrSecret) {
		t.Errorf("a call with another secret: %v, want ErrNotDelivered and ErrSecret", err)
	}
	if err := transport(t, peer.Options{Secret: "fedcba9876543210"}).Tell(t.Context(), addr, nil); !errors.Is(err, durable.ErrNotDelivered) || !errors.Is(err, peer.ErrSecret) {
		t.Errorf("another secret: %v, want ErrNotDelivered and ErrSecret", err)
	}
	select {
	case path := <-reached:
		t.Errorf("a stranger reached %s", path)
	default:
	}

	// A server that does not have the secret gets no request.
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached <- "stranger" }))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()
	if err := transport(t, peer.Options{Secret: secret}).Tell(t.Context(), srv.Listener.Addr().String(), nil); !errors.Is(err, durable.ErrNotDelivered) {
		t.Errorf("to a server without the secret: %v, want ErrNotDelivered", err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"perdure-calls"}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			reached <- "stranger"
		}
	}()
	if _, err := transport(t, peer.Options{Secret: secret}).Peer(l.Addr().String()).(durable.CallPeer).Call(t.Context(), nil, 1); !errors.Is(err, durable.ErrNotDelivered) || !errors.Is(err, peer.ErrSecret) {
		t.Errorf("a call to a server without the secret: %v, want ErrNotDelivered and ErrSecret", err)
	}
	select {
	case path := <-reached:
		t.Errorf("a stranger reached, or got, %s", path)
	default:
	}
}

func selfSigned(t testing.TB) tls.Certificate {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"node.perdure"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, pub, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// While the secret is changed, nodes with the old one, both, and the new one understand each other.
func TestSecretsCanBeChanged(t *testing.T) {
	const old, new = "the old secret 00", "the new secret 00"
	ok := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{old, old + "," + new, true},
		{old + "," + new, old, true},
		{new + "," + old, old + "," + new, true},
		{new, new + ", " + old, true},
		{old, new, false},
		{new, old + "," + new, false}, // which shows the old one
		{old, new + "," + old, false}, // which shows the new one
		{new, old, false},
		{old + "," + new, new, false}, // which does not believe the old one
	} {
		to := transport(t, peer.Options{Secret: c.to, Told: func([]byte) {}})
		addr := listen(t, to, ok, func(_ context.Context, msg []byte) []byte { return msg })
		from := transport(t, peer.Options{Secret: c.from})
		answer, err := from.Peer(addr).(durable.CallPeer).Call(t.Context(), []byte("call"), 10)
		if c.want && (err != nil || string(answer) != "call") {
			t.Errorf("call from %q to %q: %q, %v", c.from, c.to, answer, err)
		} else if !c.want && (!errors.Is(err, peer.ErrSecret) || !errors.Is(err, durable.ErrNotDelivered)) {
			t.Errorf("call from %q to %q: %v, want ErrSecret and ErrNotDelivered", c.from, c.to, err)
		}
		if err := from.Tell(t.Context(), addr, nil); (err == nil) != c.want {
			t.Errorf("from %q to %q: %v", c.from, c.to, err)
		}
		if err := from.Ping(t.Context(), addr); (err == nil) != c.want || errors.Is(err, peer.ErrSecret) == c.want {
			t.Errorf("ping from %q to %q: %v, want ErrSecret: %v", c.from, c.to, err, !c.want)
		}
	}
}

func TestSecretsThatAreRefused(t *testing.T) {
	for _, s := range []string{"", "short", "0123456789abcde", secret + ",", strings.Repeat(secret+",", 4) + secret} {
		if _, err := peer.New(peer.Options{Secret: s}); err == nil || strings.Contains(err.Error(), "0123") {
			t.Errorf("New with secret %q: %v", s, err)
		}
	}
}

func TestServeAfterClose(t *testing.T) {
	tr := transport(t, peer.Options{Secret: secret})
	tr.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Serve(l, http.NotFoundHandler(), nil); err != nil {
		t.Errorf("Serve after Close: %v", err)
	}
}

func BenchmarkForward(b *testing.B) {
	p := newPair(b, nil, peer.Options{})
	for name, rt := range map[string]*durable.Runtime{"here": p.owner, "there": p.front} {
		s := rt.Namespace("Counter").Named("c")
		b.Run("call/"+name, func(b *testing.B) {
			for b.Loop() {
				if _, err := durable.Call(b.Context(), s, (*Counter).Add, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("call-64/"+name, func(b *testing.B) {
			var n atomic.Int64
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				s := rt.Namespace("Counter").Named(fmt.Sprint(n.Add(1)))
				for pb.Next() {
					if _, err := durable.Call(b.Context(), s, (*Counter).Add, 1); err != nil {
						b.Error(err)
					}
				}
			})
		})
		b.Run("request/"+name, func(b *testing.B) {
			body := strings.Repeat("x", 1000)
			for b.Loop() {
				s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/echo", strings.NewReader(body)))
			}
		})
		b.Run("request-64/"+name, func(b *testing.B) {
			body := strings.Repeat("x", 1000)
			b.SetParallelism(32)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					s.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/echo", strings.NewReader(body)))
				}
			})
		})
	}
}
