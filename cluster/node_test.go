package cluster

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perdure/perdure/durable"
	"github.com/perdure/perdure/store"
)

const (
	testTTL    = 5 * time.Second
	testShards = 16
)

// lan is what the nodes of a test share: the tables, and the network between them.
type lan struct {
	mu    sync.Mutex
	db    simTable         // guarded by mu
	down  map[string]error // what the tables answer to a node; guarded by mu
	nodes map[string]*testNode
}

func newLAN() *lan {
	l := &lan{down: make(map[string]error), nodes: make(map[string]*testNode)}
	l.db = simTable{w: new(world), shards: make([]simShard, testShards)}
	for i := range l.db.shards {
		l.db.shards[i].Shard = uint32(i)
	}
	return l
}

// testNode is a node with its runtime and engine, which write down what they are asked.
type testNode struct {
	*Node
	lan  *lan
	name string

	stopped atomic.Int64 // for how long its process did not notice the time

	mu       sync.Mutex
	fence    map[uint32]int64          // guarded by mu
	dropped  []*durable.Place          // guarded by mu
	vacated  []*durable.Place          // guarded by mu
	vacating func(ctx context.Context) // guarded by mu
}

func (l *lan) start(t *testing.T, name string, opts Options) *testNode {
	t.Helper()
	tn := &testNode{lan: l, name: name, fence: make(map[uint32]int64)}
	began := time.Now()
	opts.Name, opts.Peers = name, tn
	opts.clocks = func() Reading { return at(time.Since(began) + time.Duration(tn.stopped.Load())) }
	var err error
	if tn.Node, err = newNode(tn, testShards, testTTL, opts); err != nil {
		t.Fatal(err)
	}
	var shards []uint32
	for i := range uint32(testShards) {
		shards = append(shards, i)
	}
	tn.add(0, shards, &lanTable{l, name}, testTTL)
	l.nodes[name] = tn
	tn.Start(tn)
	t.Cleanup(func() { tn.Close() })
	return tn
}

// The node's engine.
func (tn *testNode) Hold(shard uint32, epoch int64) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	tn.fence[shard] = epoch
}

func (tn *testNode) Release(shards ...uint32) {
	tn.mu.Lock()
	defer tn.mu.Unlock()
	for _, s := range shards {
		delete(tn.fence, s)
	}
}

func (tn *testNode) ShardOf(o store.Object) uint32 { return uint32(o.ID[0]) % testShards }

// The node's runtime.
func (tn *testNode) Linger(context.Context, ...*durable.Place) {}

func (tn *testNode) VacateEach(ctx context.Context, left func(...*durable.Place), places ...*durable.Place) error {
	defer left(places...)
	for shard := range uint32(testShards) {
		if p := tn.slots[shard].Load().place; p != nil && slices.Contains(places, p) {
			panic("requests are still led to a shard that is given up")
		}
	}
	tn.mu.Lock()
	f := tn.vacating
	tn.vacated = append(tn.vacated, places...)
	tn.mu.Unlock()
	if f != nil {
		f(ctx)
	}
	return ctx.Err()
}

func (tn *testNode) Drop(places ...*durable.Place) {
	for _, p := range places {
		if p.Lease.Check(context.Background()) == nil {
			panic("the lease holds while its shard is dropped")
		}
	}
	tn.mu.Lock()
	defer tn.mu.Unlock()
	tn.dropped = append(tn.dropped, places...)
}

// The node's network.
func (tn *testNode) Peer(name string) durable.Peer { return testPeer(name) }

type testPeer string

func (testPeer) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.ErrUnsupported }

func (tn *testNode) Tell(ctx context.Context, name string, msg []byte) error {
	if to := tn.lan.nodes[name]; to != nil {
		to.Told(msg)
	}
	return nil
}

// lanTable is the tables as one node reaches them.
type lanTable struct {
	l    *lan
	name string
}

func do[T any](t *lanTable, f func() (T, error)) (T, error) {
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	if err := t.l.down[t.name]; err != nil {
		var none T
		return none, err
	}
	return f()
}

func (t *lanTable) register(ctx context.Context, name string, replaces NodeID) (NodeID, int64, *Map, error) {
	r, err := do(t, func() (Reply, error) {
		return t.l.db.register(Register{Name: name, TTL: testTTL, Replaces: replaces}), nil
	})
	return r.Node, r.Seq, r.Map, err
}

func (t *lanTable) renew(ctx context.Context, me NodeID, report []byte) (int64, *Map, error) {
	r, err := do(t, func() (Reply, error) { r := t.l.db.renew(Renew{Node: me}); return r, r.Err })
	return r.Seq, r.Map, err
}

func (t *lanTable) look(ctx context.Context) (*Map, error) {
	return do(t, func() (*Map, error) { return t.l.db.read(), nil })
}

func (t *lanTable) end(ctx context.Context, n NodeID, seq int64) (bool, error) {
	return do(t, func() (bool, error) { return t.l.db.end(End{Node: n, Seq: seq}).Ended, nil })
}

func (t *lanTable) mark(ctx context.Context, me NodeID) error {
	_, err := do(t, func() (Reply, error) { return t.l.db.mark(Mark{Node: me}), nil })
	return err
}

func (t *lanTable) take(ctx context.Context, me NodeID, claims []Claim) ([]ShardState, error) {
	return do(t, func() ([]ShardState, error) { r := t.l.db.take(Take{Node: me, Claims: claims}); return r.Shards, r.Err })
}

func (t *lanTable) release(ctx context.Context, me NodeID, claims []Claim) ([]ShardState, error) {
	return do(t, func() ([]ShardState, error) { return t.l.db.release(Release{Node: me, Claims: claims}).Shards, nil })
}

func (t *lanTable) confirm(ctx context.Context, me NodeID, claims []Claim) ([]uint32, error) {
	return do(t, func() (lost []uint32, err error) {
		for _, c := range claims {
			if !t.l.db.holds(me, c) {
				lost = append(lost, c.Shard)
			}
		}
		return lost, nil
	})
}

func (l *lan) set(name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down[name] = err
}

func object(shard uint32) store.Object { return store.Object{Namespace: 1, ID: [32]byte{byte(shard)}} }

// known is where a node would send an event for a shard, at once, "" if it would wait.
func (tn *testNode) known(shard uint32) string {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p, err := tn.Locate(ctx, object(shard))
	if err != nil {
		return ""
	}
	return p.Owner
}

// agreed checks that all nodes send each shard's events to one and the same of
// them, which has it, and returns how many each has.
func agreed(t *testing.T, nodes ...*testNode) map[string]int {
	t.Helper()
	count := make(map[string]int)
	for shard := range uint32(testShards) {
		owner := nodes[0].known(shard)
		count[owner]++
		for _, n := range nodes {
			if got := n.known(shard); got != owner {
				t.Errorf("shard %d: %s says %q, %s says %q", shard, nodes[0].name, owner, n.name, got)
			}
			held, _ := n.Shards()
			if got, want := slices.Contains(held, shard), n.name == owner; got != want {
				t.Errorf("shard %d is %q's: that %s holds it: %v", shard, owner, n.name, got)
			}
			n.mu.Lock()
			if _, fenced := n.fence[shard]; fenced != (n.name == owner) {
				t.Errorf("shard %d is %q's: that %s's engine holds it: %v", shard, owner, n.name, fenced)
			}
			n.mu.Unlock()
		}
	}
	return count
}

func TestNodesShareShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a := l.start(t, "a:1", Options{})
		time.Sleep(time.Second)
		if got := agreed(t, a); got["a:1"] != testShards {
			t.Errorf("one node has %v", got)
		}
		b, c := l.start(t, "b:1", Options{}), l.start(t, "c:1", Options{})
		time.Sleep(3 * time.Second)
		got := agreed(t, a, b, c)
		if len(got) != 3 || got[""] > 0 {
			t.Errorf("three nodes have %v", got)
		}
		if len(a.dropped) > 0 || len(a.vacated) != testShards-got["a:1"] {
			t.Errorf("a gave up %d shards in order and dropped %d, and has %d left", len(a.vacated), len(a.dropped), got["a:1"])
		}
	})
}

// TestNobodyWaitsLongForAHandOver: an event for any shard finds its owner within a second while a node leaves.
func TestNobodyWaitsLongForAHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a, b := l.start(t, "a:1", Options{}), l.start(t, "b:1", Options{})
		time.Sleep(3 * time.Second)
		agreed(t, a, b)
		a.vacating = func(context.Context) { time.Sleep(100 * time.Millisecond) } // events that run
		left := make(chan error, 1)
		go func() { left <- a.Leave(context.Background()) }()
		var wg sync.WaitGroup
		for i := range 300 {
			for _, n := range []*testNode{a, b} {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 10 * time.Millisecond)
					began := time.Now()
					if _, err := n.Locate(context.Background(), object(uint32(i))); err != nil {
						t.Errorf("shard %d: %v", i%testShards, err)
					}
					if d := time.Since(began); d > time.Second {
						t.Errorf("shard %d had no owner for %v", i%testShards, d)
					}
				})
			}
		}
		wg.Wait()
		if err := <-left; err != nil {
			t.Error(err)
		}
		for shard := range uint32(testShards) {
			if a.known(shard) != "b:1" || b.known(shard) != "b:1" {
				t.Errorf("shard %d: a says %q, b says %q", shard, a.known(shard), b.known(shard))
			}
		}
		if len(a.dropped) > 0 {
			t.Errorf("%d shards were dropped", len(a.dropped))
		}
	})
}

func TestLeaveEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a := l.start(t, "a:1", Options{Grace: time.Hour})
		time.Sleep(time.Second)
		a.vacating = func(ctx context.Context) { <-ctx.Done() } // an event that does not end
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := a.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Leave = %v, want a deadline exceeded", err)
		}
		if d := time.Since(began); d > 6*time.Second {
			t.Errorf("Leave took %v", d)
		}
		if !l.db.nodes[0].Ended {
			t.Error("the incarnation has not ended")
		}
	})
}

// TestDrainedNodeStaysAndPassesOn: a drain asked for in the tables moves everything, and can be taken back.
func TestDrainedNodeStaysAndPassesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a, b := l.start(t, "a:1", Options{}), l.start(t, "b:1", Options{})
		time.Sleep(3 * time.Second)
		drain := func(on bool) {
			l.mu.Lock()
			for i := range l.db.nodes {
				if l.db.nodes[i].Name == "a:1" {
					l.db.nodes[i].Draining = on
				}
			}
			l.mu.Unlock()
			time.Sleep(5 * time.Second)
		}
		before := agreed(t, a, b)
		drain(true)
		if got := agreed(t, a, b); got["b:1"] != testShards {
			t.Errorf("drained, they have %v", got)
		}
		drain(false)
		if got := agreed(t, a, b); fmt.Sprint(got) != fmt.Sprint(before) {
			t.Errorf("taken back, they have %v, before they had %v", got, before)
		}
	})
}

// TestCutOffNode: a node that can't reach the database answers until its lease is
// over and nothing then; the other one takes over; and it comes back as another incarnation.
func TestCutOffNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a, b := l.start(t, "a:1", Options{}), l.start(t, "b:1", Options{})
		time.Sleep(3 * time.Second)
		before := agreed(t, a, b)
		var places []*durable.Place
		held, changed := a.Shards()
		for _, shard := range held {
			p, err := a.Locate(context.Background(), object(shard))
			if err != nil {
				t.Fatal(err)
			}
			places = append(places, p)
		}
		l.set("a:1", errors.New("no route to host"))
		time.Sleep(testTTL * 6 / 10)
		for _, p := range places {
			if err := p.Lease.Check(context.Background()); err != nil {
				t.Errorf("before the lease's end: %v", err)
			}
		}
		time.Sleep(testTTL * 3 / 10)
		for _, p := range places {
			if err := p.Lease.Check(context.Background()); !errors.Is(err, durable.ErrNotOwner) {
				t.Errorf("after it: %v", err)
			}
		}
		synctest.Wait()
		if len(a.dropped) != len(places) {
			t.Errorf("%d shards were dropped, want %d", len(a.dropped), len(places))
		}
		if len(a.fence) > 0 {
			t.Errorf("the engine still holds %v", a.fence)
		}
		select {
		case <-changed:
		default:
			t.Error("nobody was told that the shards held here have changed")
		}
		time.Sleep(testTTL)
		for shard := range uint32(testShards) {
			if got := b.known(shard); got != "b:1" {
				t.Errorf("shard %d: b says %q", shard, got)
			}
		}
		l.set("a:1", nil)
		time.Sleep(5 * time.Second)
		if got := agreed(t, a, b); fmt.Sprint(got) != fmt.Sprint(before) {
			t.Errorf("afterwards they have %v, before they had %v", got, before)
		}
		for _, p := range places {
			if err := p.Lease.Check(context.Background()); !errors.Is(err, durable.ErrNotOwner) {
				t.Errorf("a lease of the earlier incarnation: %v", err)
			}
		}
	})
}

// TestNodeThatWakes: what was asked of it while it was stopped is refused, before the
// node itself has done anything.
func TestNodeThatWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a := l.start(t, "a:1", Options{})
		time.Sleep(time.Second)
		p, err := a.Locate(context.Background(), object(1))
		if err != nil {
			t.Fatal(err)
		}
		a.stopped.Store(int64(testTTL))
		if err := p.Lease.Check(context.Background()); !errors.Is(err, durable.ErrNotOwner) {
			t.Errorf("Check = %v, want ErrNotOwner", err)
		}
	})
}

func TestLocateWaitsAndGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		l.set("a:1", errors.New("no route to host"))
		a := l.start(t, "a:1", Options{Wait: 7 * time.Second})
		began := time.Now()
		if _, err := a.Locate(context.Background(), object(1)); !errors.Is(err, ErrNoOwner) || time.Since(began) != 7*time.Second {
			t.Errorf("Locate = %v after %v, want ErrNoOwner after 7s", err, time.Since(began))
		}
		time.AfterFunc(3*time.Second, func() { l.set("a:1", nil) })
		if p, err := a.Locate(context.Background(), object(1)); err != nil || p.Lease == nil {
			t.Errorf("Locate = %v, %v, want a place here once the database is back", p, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := a.Locate(ctx, object(1)); err != nil {
			t.Errorf("with a context that has ended Locate = %v, though the place is known", err)
		}
	})
}

// TestMissedWaitsForTheMap: a way that did not lead there is not taken again before
// the database has been asked.
func TestMissedWaitsForTheMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a, b := l.start(t, "a:1", Options{}), l.start(t, "b:1", Options{})
		time.Sleep(3 * time.Second)
		held, _ := b.Shards()
		o := object(held[0])
		p, err := a.Locate(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		l.set("a:1", errors.New("no route to host"))
		a.Missed(o, p, durable.ErrNotDelivered)
		time.Sleep(time.Second)
		if got := a.known(held[0]); got != "" {
			t.Errorf("it goes to %q, without a look at the map", got)
		}
		l.set("a:1", nil)
		if again, err := a.Locate(context.Background(), o); err != nil || again != p {
			t.Errorf("Locate = %v, %v, want the place of before once the map confirms it", again, err)
		}
	})
}

func TestStrictAsksTheDatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a := l.start(t, "a:1", Options{Strict: true})
		time.Sleep(time.Second)
		p, err := a.Locate(context.Background(), object(1))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Lease.Check(context.Background()); err != nil {
			t.Errorf("Check = %v", err)
		}
		l.mu.Lock()
		l.db.shards[1].Epoch++ // as another would, whose clock ran away
		l.mu.Unlock()
		if err := p.Lease.Check(context.Background()); !errors.Is(err, durable.ErrNotOwner) {
			t.Errorf("after a take-over Check = %v, want ErrNotOwner", err)
		}
		l.set("a:1", errors.New("no route to host"))
		q, err := a.Locate(context.Background(), object(2))
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Lease.Check(context.Background()); !errors.Is(err, durable.ErrNotOwner) {
			t.Errorf("without the database Check = %v, want ErrNotOwner", err)
		}
	})
}

func TestCloseEndsTheIncarnation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a := l.start(t, "a:1", Options{})
		time.Sleep(time.Second)
		p, err := a.Locate(context.Background(), object(1))
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := a.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := p.Lease.Check(context.Background()); err == nil {
			t.Error("a closed node answers")
		}
		if !l.db.nodes[0].Ended {
			t.Error("the incarnation has not ended")
		}
		a.Drain()
		a.Told([]byte(`{}`))
		a.Lost(1, 1)
		if _, err := a.Locate(context.Background(), object(1)); !errors.Is(err, ErrClosed) {
			t.Errorf("Locate = %v, want ErrClosed", err)
		}
	})
}

func TestMessagesThatMakeNoSense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a := l.start(t, "a:1", Options{})
		time.Sleep(time.Second)
		for _, msg := range []string{"", "{", `{"Database":7}`, `{"Database":-1}`, `{"Database":0,"Hint":{"Node":99,"Name":"x:1","Shards":[{"Shard":1,"Epoch":99,"Owner":99},{"Shard":77}]}}`} {
			a.Told([]byte(msg))
		}
		time.Sleep(testTTL)
		if got := agreed(t, a); got["a:1"] != testShards {
			t.Errorf("it has %v", got)
		}
	})
}

// TestAllAreDraining: somebody has to serve, whatever was asked for.
func TestAllAreDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLAN()
		a, b := l.start(t, "a:1", Options{}), l.start(t, "b:1", Options{})
		time.Sleep(3 * time.Second)
		a.Drain()
		b.Drain()
		time.Sleep(3 * time.Second)
		l.set("a:1", errors.New("no route to host")) // and one dies
		time.Sleep(3 * testTTL)
		for shard := range uint32(testShards) {
			if got := b.known(shard); got != "b:1" {
				t.Errorf("shard %d: b says %q", shard, got)
			}
		}
	})
}

// TestOneOfTwoDatabasesIsDown: its shards stand still, the others' do not.
func TestOneOfTwoDatabasesIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		even, odd := newLAN(), newLAN()
		tn := &testNode{lan: even, name: "a:1", fence: make(map[uint32]int64)}
		began := time.Now()
		var err error
		tn.Node, err = newNode(tn, testShards, testTTL, Options{Name: "a:1", Peers: tn, Wait: time.Second, clocks: func() Reading { return at(time.Since(began)) }})
		if err != nil {
			t.Fatal(err)
		}
		for i, l := range []*lan{even, odd} {
			var shards []uint32
			for s := uint32(i); s < testShards; s += 2 {
				shards = append(shards, s)
			}
			tn.add(i, shards, &lanTable{l, "a:1"}, testTTL)
		}
		defer tn.Close()
		tn.Start(tn)
		time.Sleep(time.Second)
		odd.set("a:1", errors.New("no route to host"))
		time.Sleep(2 * testTTL)
		for shard := range uint32(testShards) {
			p, err := tn.Locate(context.Background(), object(shard))
			if shard%2 == 0 && (err != nil || p.Lease.Check(context.Background()) != nil) {
				t.Errorf("shard %d: Locate = %v, %v, want it here", shard, p, err)
			}
			if shard%2 == 1 && !errors.Is(err, ErrNoOwner) {
				t.Errorf("shard %d of the database that is down: Locate = %v, %v, want ErrNoOwner", shard, p, err)
			}
		}
		if len(tn.dropped) != testShards/2 {
			t.Errorf("%d shards were dropped, want %d", len(tn.dropped), testShards/2)
		}
		odd.set("a:1", nil)
		time.Sleep(time.Second)
		if held, _ := tn.Shards(); len(held) != testShards {
			t.Errorf("with both databases it holds %d shards", len(held))
		}
	})
}
