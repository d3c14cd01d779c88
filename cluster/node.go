package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
	"github.com/perdure/perdure/store/pgstore"
)

// ErrNoOwner is returned by [Node.Locate] when no node has taken an object's shard in time: its
// database is down, or there is no node left that takes shards.
var ErrNoOwner = errors.New("cluster: nobody holds the object's shard")

// ErrClosed is returned by a closed node.
var ErrClosed = errors.New("cluster: the node is closed")

// Options configures a [Node].
type Options struct {
	// Name is the address under which the other nodes reach this one, HOST:PORT. It also
	// decides which shards the node gets, so a node that starts again under the same name gets the same.
	Name string

	// Peers is the way to the other nodes.
	Peers Peers

	// Strict has the database confirm a shard's epoch before anything leaves it: for
	// clocks that nobody trusts, at the price of a round trip, shared by what waits for one at the same time.
	Strict bool

	// Margin is how much earlier than its length in the database the node thinks its
	// lease over. Default: a tenth of the lease. See docs/cluster.md for what it covers.
	Margin time.Duration

	// Grace is how long events that are under way may take when a shard is handed over:
	// three quarters of it while the shard still answers all requests, a quarter while
	// those that have not started wait. Then they are cut off. Default: 20 s.
	Grace time.Duration

	// Wait is how long Locate waits for a shard's owner. Default: twice the lease.
	Wait time.Duration

	// Logger is told what the node gains and loses. Nil discards.
	Logger *slog.Logger

	clocks func() Reading
}

// Peers is the way to other nodes, by their names.
type Peers interface {
	Peer(name string) durable.Peer
	// Tell sends a small message, which may get lost, to what the other node has registered for [Node.Told].
	Tell(ctx context.Context, name string, msg []byte) error
}

// Runtime is what the node asks of the runtime whose objects it places; a [durable.Runtime] is one.
type Runtime interface {
	Linger(ctx context.Context, places ...*durable.Place)
	VacateEach(ctx context.Context, left func(...*durable.Place), places ...*durable.Place) error
	Drop(places ...*durable.Place)
}

// fences is what the node asks of the engine.
type fences interface {
	Hold(shard uint32, epoch int64)
	Release(shards ...uint32)
	ShardOf(o store.Object) uint32
}

// A Node is this process's membership in a cluster. It is the [durable.Placement] of its
// runtime. Its methods may be called by any number of goroutines at once.
type Node struct {
	opts    Options
	log     *slog.Logger
	fences  fences
	members []*member // one for each database
	slots   []atomic.Pointer[slot]
	rt      Runtime // since Start

	life    context.Context // ends when the node is closed
	die     context.CancelFunc
	orderly context.Context // ends when shards are no longer given up in order
	hurry   context.CancelFunc

	vacating chan struct{} // holds a value for each group of shards that keeps requests waiting

	here, away atomic.Int64 // events located on this node and on others

	mu      sync.Mutex
	peers   map[string]durable.Peer // guarded by mu
	held    []uint32                // guarded by mu
	heldNew chan struct{}           // guarded by mu
	started bool                    // guarded by mu
	closed  bool                    // guarded by mu
	wg      sync.WaitGroup          // added to under mu
}

var (
	_ durable.Placement = (*Node)(nil)
	_ Runtime           = (*durable.Runtime)(nil)
)

// slot is the way to one shard.
type slot struct {
	place   *durable.Place // nil: nobody is known to hold it
	changed chan struct{}  // closed when there is another slot
}

// New returns a node that has not joined yet: Locate waits. It does not own the store.
func New(s *pgstore.Store, opts *Options) (*Node, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	n, err := newNode(s, int(s.Shards()), s.Lease(), o)
	if err != nil {
		return nil, err
	}
	for i, d := range s.Databases() {
		n.add(i, d.Shards(), &postgres{db: d}, s.Lease())
	}
	return n, nil
}

func newNode(f fences, shards int, ttl time.Duration, o Options) (*Node, error) {
	if o.Name == "" || o.Peers == nil {
		return nil, errors.New("cluster: a node needs a name and a way to its peers")
	}
	if o.Margin < 0 || o.Margin >= ttl/2 {
		return nil, fmt.Errorf("cluster: a margin of %v does not go with a lease of %v: it must be less than half of it", o.Margin, ttl)
	}
	if o.Grace <= 0 {
		o.Grace = 20 * time.Second
	}
	if o.Wait <= 0 {
		o.Wait = 2 * ttl
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.clocks == nil {
		o.clocks = readClocks
	}
	n := &Node{opts: o, log: o.Logger, fences: f, slots: make([]atomic.Pointer[slot], shards), peers: make(map[string]durable.Peer), heldNew: make(chan struct{}), vacating: make(chan struct{}, atOnce)}
	for i := range n.slots {
		n.slots[i].Store(&slot{changed: make(chan struct{})})
	}
	n.life, n.die = context.WithCancel(context.Background())
	n.orderly, n.hurry = context.WithCancel(n.life)
	return n, nil
}

func (n *Node) add(index int, shards []uint32, t table, ttl time.Duration) {
	n.members = append(n.members, newMember(n, index, shards, t, Config{Name: n.opts.Name, TTL: ttl, Margin: n.opts.Margin}))
}

// Start joins the cluster on behalf of a runtime, which has been opened with the node as its placement.
func (n *Node) Start(rt Runtime) {
	n.mu.Lock()
	again := n.started || n.closed
	if !again {
		n.started, n.rt = true, rt
	}
	n.mu.Unlock()
	if again {
		return
	}
	for _, m := range n.members {
		n.goFunc(m.run)
	}
}

func (n *Node) running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.started && !n.closed
}

// goFunc runs f on a goroutine that Close waits for, if the node is not closed yet.
func (n *Node) goFunc(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.closed {
		n.wg.Go(f)
	}
}

// Locate implements [durable.Placement].
func (n *Node) Locate(ctx context.Context, o store.Object) (*durable.Place, error) {
	shard := n.fences.ShardOf(o)
	s := n.slots[shard].Load()
	if s.place == nil {
		var err error
		if s, err = n.await(ctx, shard, s); err != nil {
			return nil, err
		}
	}
	if s.place.Lease != nil {
		n.here.Add(1)
	} else {
		n.away.Add(1)
	}
	return s.place, nil
}

// await waits until there is a way to a shard.
func (n *Node) await(ctx context.Context, shard uint32, s *slot) (*slot, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%w: shard %d: %w", ErrNoOwner, shard, ctx.Err())
	}
	timer := time.NewTimer(n.opts.Wait)
	defer timer.Stop()
	for s.place == nil {
		select {
		case <-s.changed:
			s = n.slots[shard].Load()
		case <-timer.C:
			return nil, fmt.Errorf("%w: shard %d, for %v", ErrNoOwner, shard, n.opts.Wait)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-n.life.Done():
			return nil, ErrClosed
		}
	}
	return s, nil
}

// Missed implements [durable.Placement]: the way is closed until the database has
// been asked whether it is still right.
func (n *Node) Missed(o store.Object, p *durable.Place, err error) {
	shard := n.fences.ShardOf(o)
	n.log.Debug("cluster: an event did not reach its owner", "shard", shard, "owner", p.Owner, "epoch", p.Epoch, "err", err)
	n.memberOf(shard).missed(shard, p)
}

// Lost tells the node that the engine found a shard's fence to be down. A nil node takes no notice.
func (n *Node) Lost(shard uint32, epoch int64) {
	if n != nil && n.running() {
		n.memberOf(shard).stale()
	}
}

func (n *Node) memberOf(shard uint32) *member { return n.members[int(shard)%len(n.members)] }

// Shards implements [durable.Placement].
func (n *Node) Shards() ([]uint32, <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held, n.heldNew
}

// heldChanged makes a new list of the shards that are held, of which one member's, whose
// lock the caller has, may have changed.
func (n *Node) heldChanged(m *member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var held []uint32
	for i := range n.slots {
		if p := n.slots[i].Load().place; p != nil && p.Lease != nil {
			held = append(held, uint32(i))
		}
	}
	if slices.Equal(held, n.held) {
		return
	}
	n.held = held
	close(n.heldNew)
	n.heldNew = make(chan struct{})
}

func (n *Node) peer(name string) durable.Peer {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.peers[name]
	if p == nil {
		p = n.opts.Peers.Peer(name)
		n.peers[name] = p
	}
	return p
}

// maxMessage is the longest message of a peer that is looked at.
const maxMessage = 1 << 20

// Told takes a message from another node's [Peers.Tell]. A nil node takes no notice.
func (n *Node) Told(msg []byte) {
	if n == nil || len(msg) > maxMessage || !n.running() {
		return
	}
	var m message
	if err := json.Unmarshal(msg, &m); err != nil || m.Database < 0 || m.Database >= len(n.members) {
		n.log.Warn("cluster: a message of a peer was not understood", "bytes", len(msg), "err", err)
		return
	}
	n.members[m.Database].step(Told{m.Hint})
}

// Drain gives all shards to other nodes and takes no more; the node goes on passing
// requests on. It returns at once.
func (n *Node) Drain() {
	if !n.running() {
		return
	}
	for _, m := range n.members {
		m.step(Drain{})
	}
}

// Leave gives up all shards, one group after the other, and the membership. When ctx ends,
// events that still run are cut off; Leave returns ctx's error then. The
// node does not take part any more, but still passes requests on until Close.
func (n *Node) Leave(ctx context.Context) error {
	if !n.running() {
		return nil
	}
	defer context.AfterFunc(ctx, n.hurry)()
	for _, m := range n.members {
		m.step(Leave{})
	}
	// After the grace there are a few round trips left to do, if the database is there.
	late, stop := context.WithCancel(context.Background())
	defer stop()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(2*n.members[0].callTimeout, stop) })()
	for _, m := range n.members {
		select {
		case <-m.left:
		case <-late.Done():
			return ctx.Err()
		case <-n.life.Done():
			return ErrClosed
		}
	}
	return ctx.Err()
}

// Close ends everything at once: what is still held is dropped unanswered, and the
// incarnation is ended, so that others need not wait for its lease. It does nothing the second time.
func (n *Node) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	started := n.started
	n.mu.Unlock()
	n.die()
	n.wg.Wait()
	if !started {
		return nil
	}
	var errs []error
	for _, m := range n.members {
		errs = append(errs, m.close())
	}
	return errors.Join(errs...)
}

// close gives up what is left.
func (m *member) close() error {
	m.mu.Lock()
	m.dropLocked(Drop{Reason: "the node is closed"})
	me, gone := m.core.me, m.core.stage == left
	m.lease.Store(&lease{})
	m.mu.Unlock()
	if gone || me == Nobody {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.callTimeout)
	defer cancel()
	_, err := m.table.end(ctx, me, AnyRenewal)
	return err
}
