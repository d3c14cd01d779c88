package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perdure/perdure/durable"
)

// member is the node's part in one database: it runs the core, carries out what
// that wants, and keeps the ways to objects up to date.
type member struct {
	n           *Node
	index       int
	shards      []uint32
	table       table
	callTimeout time.Duration
	renewEvery  time.Duration
	strict      strict

	lease  atomic.Pointer[lease]
	queued atomic.Bool // a step that reads the map is about to come
	wake   chan struct{}
	left   chan struct{} // closed when everything has been given up
	gave   sync.Once

	mu      sync.Mutex
	core    *Core              // guarded by mu
	tenures map[uint32]*tenure // guarded by mu
	routes  map[uint32]*route  // guarded by mu
	report  Report             // guarded by mu
}

// lease is the core's, for those who only want to look.
type lease struct {
	me    NodeID
	end   time.Duration
	clock elapsed
}

// route is a way to a shard on another node.
type route struct {
	owner  NodeID
	place  *durable.Place
	missed time.Duration // Boot, when a request did not get there; 0: never
}

func newMember(n *Node, index int, shards []uint32, t table, cfg Config) *member {
	cfg.Shards = shards
	m := &member{
		n: n, index: index, shards: shards, table: t,
		wake: make(chan struct{}, 1), left: make(chan struct{}),
		core: NewCore(cfg, n.opts.clocks()), tenures: make(map[uint32]*tenure), routes: make(map[uint32]*route),
	}
	m.callTimeout, m.renewEvery = m.core.cfg.CallTimeout, m.core.cfg.RenewEvery
	m.strict.m = m
	m.lease.Store(&lease{})
	return m
}

// run lets time pass for the core until the node is closed.
func (m *member) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-m.n.life.Done():
			return
		case <-timer.C:
		case <-m.wake:
		}
		timer.Reset(max(m.step(Tick{}), time.Millisecond))
	}
}

// step tells the core what has happened and does what it wants. It returns after
// what time it wants to be told of the time.
func (m *member) step(in Input) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.core.Step(m.n.opts.clocks(), in) {
		m.actLocked(a)
	}
	end, ok := m.core.Lease()
	l := &lease{end: end, clock: m.core.clock}
	if ok {
		l.me = m.core.me
	}
	m.lease.Store(l)
	m.routesLocked()
	if _, tick := in.(Tick); !tick {
		select {
		case m.wake <- struct{}{}:
		default:
		}
	}
	return m.core.Next()
}

// stale has the map read soon.
func (m *member) stale() {
	if m.queued.CompareAndSwap(false, true) {
		m.n.goFunc(func() {
			m.queued.Store(false)
			m.step(Stale{})
		})
	}
}

// leased reports whether an incarnation's lease runs as far as this node can tell.
func (m *member) leased(me NodeID) bool {
	l := m.lease.Load()
	return l.me == me && l.clock.at(m.n.opts.clocks()) < l.end
}

func (m *member) actLocked(a Action) {
	switch a := a.(type) {
	case Register:
		m.ask(a.Call, m.callTimeout, func(ctx context.Context) (r Reply) {
			r.Node, r.Seq, r.Map, r.Err = m.table.register(ctx, a.Name, a.Replaces)
			return r
		})
	case Renew:
		report := m.reportLocked()
		m.ask(a.Call, m.renewEvery, func(ctx context.Context) (r Reply) {
			r.Seq, r.Map, r.Err = m.table.renew(ctx, a.Node, report)
			return r
		})
	case Look:
		m.ask(a.Call, m.callTimeout, func(ctx context.Context) (r Reply) {
			r.Map, r.Err = m.table.look(ctx)
			return r
		})
	case End:
		m.ask(a.Call, m.callTimeout, func(ctx context.Context) (r Reply) {
			r.Ended, r.Err = m.table.end(ctx, a.Node, a.Seq)
			return r
		})
	case Mark:
		m.ask(a.Call, m.callTimeout, func(ctx context.Context) Reply { return Reply{Err: m.table.mark(ctx, a.Node)} })
	case Take:
		m.ask(a.Call, m.callTimeout, func(ctx context.Context) (r Reply) {
			r.Shards, r.Err = m.table.take(ctx, a.Node, a.Claims)
			return r
		})
	case Release:
		m.ask(a.Call, m.callTimeout, func(ctx context.Context) (r Reply) {
			r.Shards, r.Err = m.table.release(ctx, a.Node, a.Claims)
			return r
		})
	case Serve:
		m.serveLocked(a.Claims)
	case Vacate:
		m.vacateLocked(a.Claims)
	case Drop:
		m.dropLocked(a)
	case Tell:
		m.tell(a)
	case Left:
		m.gave.Do(func() { close(m.left) })
	}
}

// ask makes a call. The core gives it up after the same time.
func (m *member) ask(id CallID, timeout time.Duration, f func(context.Context) Reply) {
	m.n.goFunc(func() {
		ctx, cancel := context.WithTimeout(m.n.life, timeout)
		defer cancel()
		r := f(ctx)
		r.Call = id
		if r.Err != nil && m.n.life.Err() == nil {
			m.n.log.Debug("cluster: a call to the database failed", "database", m.index, "err", r.Err)
		}
		m.step(r)
	})
}

func (m *member) serveLocked(claims []Claim) {
	for _, c := range claims {
		t := &tenure{m: m, me: m.core.me, claim: c}
		t.place.Lease, t.place.Owner, t.place.Epoch = t, m.core.cfg.Name, c.Epoch
		m.tenures[c.Shard] = t
		m.n.fences.Hold(c.Shard, c.Epoch)
	}
	m.n.log.Info("cluster: shards taken over", "database", m.index, "node", m.core.me, "shards", len(claims))
}

// Shards are handed over in groups of groupSize, of which atOnce at the same time keep
// requests waiting; all others answer. A group that has to wait for a stream keeps no other one waiting.
const (
	groupSize = 64
	atOnce    = 4
)

// vacateLocked begins to give shards up in order.
func (m *member) vacateLocked(claims []Claim) {
	for group := range slices.Chunk(claims, groupSize) {
		var leaving []*tenure
		for _, c := range group {
			if t := m.tenures[c.Shard]; t != nil && t.claim == c {
				leaving = append(leaving, t)
			}
		}
		m.n.goFunc(func() { m.vacate(leaving) })
	}
}

// vacate gives up a group of tenures. They answer until what is long under way has
// ended, or most of the grace is over. Each is let go of as soon as nothing is left of it: an
// event of another one may wait for its objects to answer elsewhere.
func (m *member) vacate(leaving []*tenure) {
	places := make([]*durable.Place, len(leaving))
	for i, t := range leaving {
		places[i] = &t.place
	}
	grace := m.n.opts.Grace
	ctx, cancel := context.WithTimeout(m.n.orderly, grace-grace/4)
	m.n.rt.Linger(ctx, places...)
	cancel()

	m.n.vacating <- struct{}{}
	defer func() { <-m.n.vacating }()
	m.mu.Lock()
	for _, t := range leaving {
		t.closing = true
	}
	m.routesLocked()
	m.mu.Unlock()
	ctx, cancel = context.WithTimeout(m.n.orderly, grace/4)
	defer cancel()
	of := make(map[*durable.Place]*tenure, len(leaving))
	for _, t := range leaving {
		of[&t.place] = t
	}
	left := make(chan *tenure, len(leaving))
	go func() { // whose end is waited for here, also by a node that closes
		defer close(left)
		err := m.n.rt.VacateEach(ctx, func(places ...*durable.Place) {
			for _, p := range places {
				left <- of[p]
			}
		}, places...)
		if err != nil {
			m.n.log.Warn("cluster: events were cut off to hand shards over", "database", m.index, "shards", len(leaving), "err", err)
		}
	}()
	for t := range left {
		m.letGo(gather(t, left))
	}
}

// gather waits a moment for more that can be let go of in the same transaction.
func gather(t *tenure, more <-chan *tenure) []*tenure {
	all := []*tenure{t}
	pause := time.NewTimer(5 * time.Millisecond)
	defer pause.Stop()
	for {
		select {
		case t, ok := <-more:
			if !ok {
				return all
			}
			all = append(all, t)
		case <-pause.C:
			return all
		}
	}
}

// letGo ends tenures of which nothing is in memory any more.
func (m *member) letGo(left []*tenure) {
	claims := make([]Claim, len(left))
	m.mu.Lock()
	for i, t := range left {
		claims[i] = t.claim
		t.over.Store(true)
		if m.tenures[t.claim.Shard] == t {
			delete(m.tenures, t.claim.Shard)
			m.n.fences.Release(t.claim.Shard)
		}
	}
	m.mu.Unlock()
	m.step(Vacated{claims})
}

// dropLocked gives up what is lost. The engine is told first: what waits there for the
// database would otherwise keep the objects' resets waiting.
func (m *member) dropLocked(d Drop) {
	var lost []*tenure
	if d.Claims == nil {
		for _, t := range m.tenures {
			lost = append(lost, t)
		}
	}
	for _, c := range d.Claims {
		if t := m.tenures[c.Shard]; t != nil {
			lost = append(lost, t)
		}
	}
	if len(lost) == 0 {
		return
	}
	var places []*durable.Place
	var shards []uint32
	for _, t := range lost {
		t.over.Store(true)
		delete(m.tenures, t.claim.Shard)
		places, shards = append(places, &t.place), append(shards, t.claim.Shard)
	}
	m.routesLocked()
	m.n.fences.Release(shards...)
	m.n.rt.Drop(places...)
	m.n.log.Warn("cluster: shards lost, their objects are reset", "database", m.index, "node", m.core.me, "shards", len(lost), "reason", d.Reason)
}

// message is what nodes tell each other.
type message struct {
	Database int
	Hint     Hint
}

func (m *member) tell(a Tell) {
	text, err := json.Marshal(message{m.index, a.Hint})
	if err != nil {
		return
	}
	m.n.goFunc(func() {
		ctx, cancel := context.WithTimeout(m.n.life, m.renewEvery)
		defer cancel()
		if err := m.n.opts.Peers.Tell(ctx, a.Name, text); err != nil {
			m.n.log.Debug("cluster: a peer was not told", "peer", a.Name, "err", err)
		}
	})
}

// routesLocked brings the ways to the shards up to what the core knows.
func (m *member) routesLocked() {
	changed := false
	for _, shard := range m.shards {
		place := m.placeLocked(shard)
		s := &m.n.slots[shard]
		old := s.Load()
		if old.place == place {
			continue
		}
		changed = changed || place != nil && place.Lease != nil || old.place != nil && old.place.Lease != nil
		s.Store(&slot{place: place, changed: make(chan struct{})})
		close(old.changed)
	}
	if changed {
		m.n.heldChanged(m)
	}
}

// placeLocked is where a shard is, nil if requests have to wait.
func (m *member) placeLocked(shard uint32) *durable.Place {
	if t := m.tenures[shard]; t != nil {
		if t.closing || t.over.Load() {
			return nil
		}
		return &t.place
	}
	owner, name, epoch := m.core.Owner(shard)
	if owner == Nobody || name == m.core.cfg.Name {
		return nil
	}
	r := m.routes[shard]
	if r == nil || r.owner != owner || r.place.Epoch != epoch {
		r = &route{owner: owner, place: &durable.Place{Peer: m.n.peer(name), Owner: name, Epoch: epoch}}
		m.routes[shard] = r
	}
	if r.missed != 0 {
		if m.core.mapAt <= r.missed {
			return nil // until a map says that it is still so
		}
		r.missed = 0
	}
	return r.place
}

// missed takes a way back that did not lead to a shard.
func (m *member) missed(shard uint32, p *durable.Place) {
	m.mu.Lock()
	r := m.routes[shard]
	current := r != nil && r.place == p && r.missed == 0
	if current {
		r.missed = max(m.core.boot, 1)
		m.routesLocked()
	}
	m.mu.Unlock()
	if current {
		m.stale()
	}
}
