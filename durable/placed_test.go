package durable_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/memstore"
)

// town is a few runtimes over one store, and who holds which shard as each sees it.
type town struct {
	t     testing.TB
	store *memstore.Store
	nodes map[string]*node

	asRequests bool // see callsAsRequests

	mu      sync.Mutex
	epoch   int64
	owners  map[uint32]*tenure
	changed chan struct{}
}

const townShards = 4

type tenure struct {
	node  *node
	shard uint32
	place *durable.Place // as the node itself sees it
	lost  atomic.Bool
	open  bool // Locate returns it; guarded by town.mu
}

// Check is the lease's.
func (e *tenure) Check(context.Context) error {
	if e.lost.Load() {
		return fmt.Errorf("%w: the test has taken the lease away", durable.ErrNotOwner)
	}
	return nil
}

// node is a runtime and its view of the town.
type node struct {
	*durable.Runtime
	town *town
	name string
	log  *logBuffer
	ran  atomic.Int64 // events

	mu     sync.Mutex
	stale  map[uint32]*tenure // what it believes instead of the truth, until a refusal
	down   error              // what requests to it fail with
	lost   error              // what its Locate fails with
	reads  bool               // what goes to it gets lost half way
	missed []error
	unsaid chan struct{} // closed when Shards changes
	slow   chan struct{} // not nil: Locate waits for it once it knows the answer
}

// shared is the one store of all, which outlives each runtime.
type shared struct{ *memstore.Store }

func (shared) Close() error { return nil }

func newTown(t testing.TB, h *hooks, opts *durable.Options, names ...string) *town {
	w := &town{
		t: t, asRequests: callsAsRequests, store: memstore.New(nil), nodes: make(map[string]*node), owners: make(map[uint32]*tenure), changed: make(chan struct{}),
	}
	for _, name := range names {
		n := &node{town: w, name: name, log: new(logBuffer), stale: make(map[uint32]*tenure), unsaid: make(chan struct{})}
		w.nodes[name] = n
		var o durable.Options
		if opts != nil {
			o = *opts
		}
		o.Logger = slog.New(slog.NewTextHandler(n.log, nil))
		o.Placement = n
		o.Vars = map[string]string{"node": name}
		o.Classes = append([]durable.Class{class("Obj", h)}, o.Classes...)
		rt, err := durable.Open(shared{w.store}, &o)
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		n.Runtime = rt
		t.Cleanup(func() { rt.Close() })
	}
	return w
}

func shardOf(o store.Object) uint32 { return uint32(o.ID[0]) % townShards }

func shardOfStub(s *durable.Stub) uint32 { return uint32(s.ID().Bytes()[0]) % townShards }

// give makes the node the owner of the shard.
func (w *town) give(shard uint32, name string) *tenure {
	w.mu.Lock()
	w.epoch++
	n := w.nodes[name]
	e := &tenure{node: n, shard: shard, open: true}
	e.place = &durable.Place{Lease: e, Owner: name, Epoch: w.epoch}
	w.owners[shard] = e
	close(w.changed)
	w.changed = make(chan struct{})
	w.mu.Unlock()
	for _, n := range w.nodes {
		n.say()
	}
	return e
}

func (w *town) giveAll(name string) {
	for s := range uint32(townShards) {
		w.give(s, name)
	}
}

func (n *node) say() {
	n.mu.Lock()
	close(n.unsaid)
	n.unsaid = make(chan struct{})
	n.mu.Unlock()
}

// shut makes everybody wait who comes to the shard's node.
func (w *town) shut(shard uint32) *tenure {
	w.mu.Lock()
	e := w.owners[shard]
	e.open = false
	w.mu.Unlock()
	e.node.say()
	return e
}

// handOver moves a shard in order.
func (w *town) handOver(ctx context.Context, shard uint32, to string) error {
	e := w.shut(shard)
	err := e.node.Vacate(ctx, e.place)
	e.lost.Store(true)
	w.give(shard, to)
	return err
}

// takeAway makes a node lose a shard, and tells it if tell is set.
func (w *town) takeAway(shard uint32, tell bool) *tenure {
	e := w.shut(shard)
	e.lost.Store(true)
	if tell {
		e.node.Drop(e.place)
	}
	return e
}

// hesitate makes the node's Locate slow from now on, until the returned function is called.
func (n *node) hesitate() (goOn func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	slow := make(chan struct{})
	n.slow = slow
	return func() {
		n.mu.Lock()
		n.slow = nil
		n.mu.Unlock()
		close(slow)
	}
}

// believe makes the node think that the shard is where it is now until it is told otherwise.
func (n *node) believe(shard uint32) {
	n.town.mu.Lock()
	e := n.town.owners[shard]
	n.town.mu.Unlock()
	n.mu.Lock()
	n.stale[shard] = e
	n.mu.Unlock()
}

func (n *node) Locate(ctx context.Context, o store.Object) (*durable.Place, error) {
	place, err := n.locate(ctx, o)
	n.mu.Lock()
	slow := n.slow
	n.mu.Unlock()
	if slow != nil {
		<-slow
	}
	return place, err
}

func (n *node) locate(ctx context.Context, o store.Object) (*durable.Place, error) {
	for {
		n.mu.Lock()
		e, lost := n.stale[shardOf(o)], n.lost
		n.mu.Unlock()
		if lost != nil {
			return nil, lost
		}
		n.town.mu.Lock()
		if e == nil {
			e = n.town.owners[shardOf(o)]
			if e != nil && !e.open && (e.node == n || e.lost.Load()) {
				e = nil // the others learn of a hand-over when it is done
			}
		}
		changed := n.town.changed
		n.town.mu.Unlock()
		switch {
		case e == nil:
		case e.node == n:
			return e.place, nil
		default:
			return &durable.Place{Peer: peerTo{e.node}, Owner: e.node.name, Epoch: e.place.Epoch}, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, errors.New("nobody holds the shard")
		}
	}
}

func (n *node) Missed(o store.Object, _ *durable.Place, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.missed = append(n.missed, err)
	delete(n.stale, shardOf(o))
}

func (n *node) Shards() ([]uint32, <-chan struct{}) {
	n.mu.Lock()
	changed := n.unsaid
	n.mu.Unlock()
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	var held []uint32
	for s, e := range n.town.owners {
		if e.node == n && e.open {
			held = append(held, s)
		}
	}
	return held, changed
}

func (n *node) obj(name string) *durable.Stub { return n.Namespace("Obj").Named(name) }

// peerTo carries requests to a node in memory, as HTTP/2 would.
type peerTo struct{ n *node }

func (p peerTo) RoundTrip(r *http.Request) (*http.Response, error) {
	p.n.mu.Lock()
	down, reads := p.n.down, p.n.reads
	p.n.mu.Unlock()
	if reads {
		r.Body.Read(make([]byte, 1))
		return nil, durable.ErrNotDelivered
	}
	if down != nil {
		return nil, down
	}
	ctx, cancel := context.WithCancel(context.Background()) // what else r's carries stays behind
	context.AfterFunc(r.Context(), cancel)
	got := r.Clone(ctx)
	if got.Body == nil {
		got.Body = http.NoBody
	}
	pr, pw := io.Pipe()
	w := &memWriter{pw: pw, h: make(http.Header), begun: make(chan struct{})}
	context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	go func() {
		defer func() {
			if p := recover(); p != nil {
				pw.CloseWithError(fmt.Errorf("stream reset: %v", p))
			}
		}()
		p.n.Peers().ServeHTTP(w, got)
		w.WriteHeader(http.StatusOK)
		w.end()
	}()
	select {
	case <-w.begun:
	case <-ctx.Done():
		return nil, r.Context().Err()
	}
	w.resp.Body = &memBody{pr, cancel}
	return &w.resp, nil
}

// callsAsRequests has newTown's nodes pass calls on as requests, as to a node that knows nothing else.
var callsAsRequests bool

// Call carries calls to a node in memory.
func (p peerTo) Call(ctx context.Context, msg []byte, limit int) ([]byte, error) {
	p.n.mu.Lock()
	down, reads := p.n.down, p.n.reads
	p.n.mu.Unlock()
	switch {
	case p.n.town.asRequests:
		return nil, durable.ErrNotThisWay
	case reads:
		return nil, durable.ErrNotDelivered
	case down != nil:
		return nil, down
	}
	there, cancel := context.WithCancel(context.Background()) // what else ctx carries stays behind
	defer context.AfterFunc(ctx, cancel)()
	got := make(chan []byte, 1)
	go func() { defer cancel(); got <- p.n.PeerCall(there, bytes.Clone(msg)) }()
	select {
	case answer := <-got:
		return answer[:min(len(answer), limit+1)], nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type memBody struct {
	*io.PipeReader
	cancel func()
}

func (b *memBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

type memWriter struct {
	pw    *io.PipeWriter
	h     http.Header
	once  sync.Once
	begun chan struct{}
	resp  http.Response
}

func (w *memWriter) Header() http.Header { return w.h }

func (w *memWriter) WriteHeader(code int) {
	w.once.Do(func() {
		w.resp = http.Response{StatusCode: code, Header: w.h.Clone(), Trailer: make(http.Header)}
		close(w.begun)
	})
}

func (w *memWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.pw.Write(p)
}

func (w *memWriter) Flush() { w.WriteHeader(http.StatusOK) }

func (w *memWriter) end() {
	for k, v := range w.h {
		if name, ok := strings.CutPrefix(k, http.TrailerPrefix); ok {
			w.resp.Trailer[name] = v
		}
	}
	w.pw.Close()
}

// running counts events of one object on all nodes, and notes where they ran.
type running struct {
	mu    sync.Mutex
	now   int
	worst int
}

func (r *running) in() {
	r.mu.Lock()
	r.now++
	r.worst = max(r.worst, r.now)
	r.mu.Unlock()
}

func (r *running) out() {
	r.mu.Lock()
	r.now--
	r.mu.Unlock()
}

// factsOf returns the facts of an error of the runtime.
func factsOf(t testing.TB, err error) *durable.Error {
	t.Helper()
	var e *durable.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T), want a *durable.Error", err, err)
	}
	return e
}
